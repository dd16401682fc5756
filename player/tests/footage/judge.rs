//! What other programs find in a file: ffmpeg, ffprobe, and two parsers that are not this project's.

use crate::support::verify;
use keha_player::footage::Format;
use std::path::Path;
use std::process::Command;

/// Runs a program that may have nothing to say, and gives what it prints.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((said.as_str(), output.status.code()), ("", Some(0)), "{program} {arguments:?}");
    output.stdout
}

/// ffprobe and ffmpeg read, decode and copy the file without a word.
pub(crate) fn plays(path: &Path) {
    let path = path.to_str().unwrap();
    run("ffprobe", &["-v", "warning", "-show_streams", "-show_packets", "-o", "/dev/null", path]);
    run("ffmpeg", &["-nostdin", "-v", "error", "-i", path, "-map", "0", "-f", "null", "-"]);
    run("ffmpeg", &["-nostdin", "-v", "error", "-i", path, "-map", "0", "-c", "copy", "-f", "null", "-"]);
}

/// The hash of each decoded picture of a track, in the order of their showing.
pub(crate) fn pictures(path: &Path, video: usize) -> Vec<String> {
    let map = format!("0:v:{video}");
    let all =
        ["-nostdin", "-v", "error", "-i", path.to_str().unwrap(), "-map", &map, "-fps_mode", "passthrough"];
    let text = run("ffmpeg", &[&all[..], &["-f", "framemd5", "-"]].concat());
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// All sound as linear samples.
pub(crate) fn sound(path: &Path) -> Vec<u8> {
    run(
        "ffmpeg",
        &["-nostdin", "-v", "error", "-i", path.to_str().unwrap(), "-map", "0:a", "-f", "s16le", "-"],
    )
}

/// A sample that a parser found: its bytes, and when it is shown, in nanoseconds of the track's own axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub at_ns: i64,
    pub data: Vec<u8>,
}

/// The samples of each track, by the numbers of the tracks from 1, in decode order.
pub(crate) fn tracks(path: &Path, format: Format) -> Vec<Vec<Found>> {
    if format == Format::Mkv {
        let blocks = verify::blocks(path);
        let tracks = blocks.iter().map(|block| block.track).max().unwrap();
        let of = |track: u64| blocks.iter().filter(move |block| block.track == track);
        let found =
            |track| of(track).map(|block| Found { at_ns: block.at_ns, data: block.data.clone() }).collect();
        return (1..=tracks).map(found).collect();
    }
    let file = std::fs::read(path).unwrap();
    let mp4 = re_mp4::Mp4::read_bytes(&file).unwrap();
    let found = mp4.tracks().values().map(|track| {
        let samples = track.samples.iter().map(|sample| {
            // This parser takes the offsets of a `trun` of version 1 for unsigned; they are signed.
            let offset = (sample.composition_timestamp - sample.decode_timestamp) as i32;
            let ticks = sample.decode_timestamp + i64::from(offset);
            let at_ns = (i128::from(ticks) * 1_000_000_000 / i128::from(track.timescale)) as i64;
            Found { at_ns, data: file[sample.byte_range()].to_vec() }
        });
        samples.collect()
    });
    found.collect()
}

/// What ffprobe says of one entry, line by line.
pub(crate) fn probed(path: &Path, entries: &str) -> Vec<String> {
    let all = ["-v", "error", "-show_entries", entries, "-of", "csv=p=0", path.to_str().unwrap()];
    String::from_utf8(run("ffprobe", &all)).unwrap().lines().map(str::to_owned).collect()
}
