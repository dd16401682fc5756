//! Clips as tail items and as what a recorder writes, and what ffmpeg makes of fragments.

use crate::support::clip::{AAC, Clip, H264, H265, MULAW, encode};
use bytes::Bytes;
use keha_fs::{
    Anchor, ChunkNumber, CreateOptions, Rejected, RunId, Sample, SampleFlags, StoredSample, StreamName,
    StreamWriter, Tail, TailItem, TrackKind, Uuid, Volume, WallTime, Writer, WriterOptions,
};
use keha_player::Result;
use keha_player::live::{Init, LiveHub, LiveOptions, LiveSource, Message, Viewer};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// 2026-03-01T12:00:00Z and a crooked part.
pub(crate) const NOON: WallTime = WallTime(1_772_366_400_123_456_789);
pub(crate) const SECOND_NS: i64 = 1_000_000_000;
/// How long anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn h264_aac() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(3, "320x180", H264, AAC))
}

pub(crate) fn h265_mulaw() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(3, "320x180", H265, MULAW))
}

pub(crate) fn smaller() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(1, "160x96", H264, AAC))
}

/// A clip as the tail gives it, in a run of its own.
pub(crate) fn items(clip: &Clip, run: u128, wall: WallTime) -> Vec<TailItem> {
    let hash = clip.configuration.hash();
    let anchors: Vec<Anchor> = clip.anchors(wall, 0).collect();
    let samples = clip.samples.iter().map(|sample| {
        let anchor = anchors.iter().find(|anchor| anchor.track == sample.track).unwrap();
        TailItem::Sample(StoredSample {
            track: sample.track,
            ticks: sample.ticks,
            wall: anchor.wall_of(sample.ticks),
            flags: sample.flags,
            data: sample.data.clone(),
            run: RunId(Uuid::from_u128(run)),
            configuration: hash,
            chunk: ChunkNumber(0),
        })
    });
    let configuration = TailItem::Configuration(hash, Arc::new(clip.configuration.clone()));
    [configuration].into_iter().chain(samples).collect()
}

/// The clip's pictures, each as the samples of it.
pub(crate) fn pictures_in(clip: &Clip) -> usize {
    let video = clip.configuration.tracks.iter().find(|track| track.kind == TrackKind::Video).unwrap();
    clip.samples.iter().filter(|sample| sample.track == video.track).count()
}

/// What one init segment serves.
pub(crate) struct Period {
    pub(crate) init: Arc<Init>,
    pub(crate) fragments: Vec<keha_player::live::Fragment>,
}

impl Period {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let fragments = self.fragments.iter().map(|fragment| &fragment.bytes);
        [&self.init.bytes].into_iter().chain(fragments).flat_map(|bytes| bytes.to_vec()).collect()
    }

    pub(crate) fn samples(&self) -> u64 {
        self.fragments.iter().map(|fragment| fragment.samples).sum()
    }
}

/// Messages by init segment; others are left out. The first fragment of each must be a keyframe's.
pub(crate) fn periods(messages: &[Message]) -> Vec<Period> {
    let mut periods: Vec<Period> = Vec::new();
    for message in messages {
        match message {
            Message::Init(init) => periods.push(Period { init: Arc::clone(init), fragments: Vec::new() }),
            Message::Fragment(fragment) => {
                let period = periods.last_mut().expect("an init segment comes first");
                assert!(fragment.sync || !period.fragments.is_empty(), "decoding begins with a keyframe");
                period.fragments.push(fragment.clone());
            }
            _ => {}
        }
    }
    periods
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// The hashes of all pictures that ffmpeg decodes, in the order in which they are shown.
pub(crate) fn pictures(file: &[u8], extension: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made").with_extension(extension);
    std::fs::write(&path, file).unwrap();
    let path = path.to_str().unwrap();
    let arguments = ["-nostdin", "-v", "error", "-i", path, "-map", "0:v", "-fps_mode", "passthrough"];
    let text = run("ffmpeg", &[&arguments[..], &["-f", "framemd5", "-"]].concat());
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// How many samples of sound ffmpeg decodes, as 16-bit numbers.
pub(crate) fn sound(file: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made.mp4");
    std::fs::write(&path, file).unwrap();
    let path = path.to_str().unwrap();
    run("ffmpeg", &["-nostdin", "-v", "error", "-i", path, "-map", "0:a", "-f", "s16le", "-"])
}

/// The clip's pictures, decoded without any container.
pub(crate) fn source_pictures(clip: &Clip) -> Vec<String> {
    use mp4_atom::Atom;
    let video = clip.configuration.tracks.iter().find(|track| track.kind == TrackKind::Video).unwrap();
    let mut out = Vec::new();
    let mut put = |unit: &[u8]| {
        out.extend([0, 0, 0, 1]);
        out.extend_from_slice(unit);
    };
    let extension = if &video.codec == b"avc1" {
        let avcc = mp4_atom::Avcc::decode_body(&mut &video.private[..]).unwrap();
        avcc.sequence_parameter_sets.iter().chain(&avcc.picture_parameter_sets).for_each(|set| put(set));
        "h264"
    } else {
        let hvcc = mp4_atom::Hvcc::decode_body(&mut &video.private[..]).unwrap();
        hvcc.arrays.iter().flat_map(|array| &array.nalus).for_each(|set| put(set));
        "h265"
    };
    for sample in clip.samples.iter().filter(|sample| sample.track == video.track) {
        let mut rest = &sample.data[..];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (unit, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
            put(unit);
            rest = tail;
        }
    }
    pictures(&out, extension)
}

/// A volume, its writer, and a hub on both.
pub(crate) struct Rig {
    directory: tempfile::TempDir,
    writer: Mutex<Option<Writer>>,
    /// How often the volume was opened for reading.
    pub(crate) opened: Mutex<usize>,
}

impl Rig {
    pub(crate) fn new(flush_interval: Duration) -> Arc<Rig> {
        let directory = tempfile::tempdir().unwrap();
        let options = CreateOptions { size_bytes: 64 << 20, ..CreateOptions::default() };
        let path = directory.path().join("live.ring");
        keha_fs::create(&path, &options, &mut |_, _| ControlFlow::Continue(())).unwrap();
        let rig = Rig { directory, writer: Mutex::new(None), opened: Mutex::new(0) };
        rig.reopen(flush_interval);
        Arc::new(rig)
    }

    /// Closes the volume, if it is open, and opens it again for writing.
    pub(crate) fn reopen(&self, flush_interval: Duration) {
        let mut writer = self.writer.lock().unwrap();
        if let Some(writer) = writer.take() {
            writer.close().unwrap();
        }
        let options = WriterOptions { flush_interval, ..WriterOptions::default() };
        *writer = Some(Writer::open(&self.path(), options, Box::new(|_| ())).unwrap());
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("live.ring")
    }

    pub(crate) fn stream(&self) -> StreamWriter {
        self.writer.lock().unwrap().as_ref().unwrap().stream(&name()).unwrap()
    }

    pub(crate) fn hub(self: &Arc<Rig>, options: LiveOptions) -> LiveHub {
        LiveHub::new(Arc::clone(self) as Arc<dyn LiveSource>, options)
    }
}

impl LiveSource for Rig {
    fn tail(&self, stream: &StreamName) -> Option<Tail> {
        self.writer.lock().unwrap().as_ref()?.holder().tail(stream)
    }

    fn volume(&self, _: &StreamName) -> Result<Volume> {
        *self.opened.lock().unwrap() += 1;
        Ok(Volume::open(Path::new(&self.path()))?)
    }

    fn place(&self, _: &StreamName) -> String {
        "attic".to_owned()
    }
}

pub(crate) fn name() -> StreamName {
    StreamName::new("front").unwrap()
}

/// A run of a clip begins.
pub(crate) fn begin(stream: &mut StreamWriter, clip: &Clip, run: u128, wall: WallTime) {
    stream.configure(&clip.configuration).unwrap();
    stream.begin_run(RunId(Uuid::from_u128(run)));
    clip.anchors(wall, 0).for_each(|anchor| stream.anchor(anchor));
}

/// Records these samples of a clip, in the pieces in which packets bring them.
pub(crate) fn record(stream: &mut StreamWriter, clip: &Clip, samples: std::ops::Range<usize>) {
    for sample in &clip.samples[samples] {
        let (head, tail) = sample.data.split_at(sample.data.len() / 2);
        let data = [head, tail].into_iter().filter(|piece| !piece.is_empty()).map(Bytes::copy_from_slice);
        let (track, ticks, flags) = (sample.track, sample.ticks, sample.flags);
        let sample = Sample { track, ticks, flags, data: data.collect() };
        loop {
            match stream.push(sample.clone()) {
                Ok(()) => break,
                Err(Rejected::Full) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Whether a sample is one with which decoding can begin.
pub(crate) fn is_key(clip: &Clip, index: usize) -> bool {
    let sample = &clip.samples[index];
    let video = clip.configuration.tracks.iter().find(|track| track.kind == TrackKind::Video).unwrap();
    sample.track == video.track && sample.flags.contains(SampleFlags::SYNC)
}

/// What a viewer is told, until `enough`.
pub(crate) fn watch(viewer: &mut Viewer, mut enough: impl FnMut(&[Message]) -> bool) -> Vec<Message> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut told = Vec::new();
        while !enough(&told) {
            let next = tokio::time::timeout(PATIENCE, viewer.next()).await;
            told.push(
                next.unwrap_or_else(|_| panic!("nothing more came after {} messages", told.len()))
                    .expect("the hub is there"),
            );
        }
        told
    })
}

/// How many samples these messages gave.
pub(crate) fn given(messages: &[Message]) -> u64 {
    let samples = messages.iter().map(|message| match message {
        Message::Fragment(fragment) => fragment.samples,
        _ => 0,
    });
    samples.sum()
}

/// One group of pictures that is longer than anything is kept.
pub(crate) fn long_group() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    let video = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "250", "-sc_threshold", "0"];
    CLIP.get_or_init(|| encode(3, "160x96", &video, MULAW))
}

/// A run begins, and the viewer is given its first keyframe before more is recorded. Returns the number of the next sample, and what
/// the viewer was told; all that came before the keyframe is not given.
pub(crate) fn begin_watched(
    stream: &mut StreamWriter,
    viewer: &mut Viewer,
    clip: &Clip,
    run: u128,
    wall: WallTime,
) -> (usize, Vec<Message>) {
    begin(stream, clip, run, wall);
    let key = (0..clip.samples.len()).find(|index| is_key(clip, *index)).unwrap();
    record(stream, clip, key..key + 1);
    (key + 1, watch(viewer, |told| given(told) > 0))
}

/// Whether the last thing told is that nothing is recorded.
pub(crate) fn waits(told: &[Message]) -> bool {
    matches!(told.last(), Some(Message::Waiting { .. }))
}
