//! The harness itself, proven with ffmpeg as the recorder: what is served is the clip, and what is lost is found.

use anyhow::{Context, Result};
use keha_tests::crowd::Crowd;
use keha_tests::flaky::{Flaky, Mode};
use keha_tests::footage::{self, unbroken_run};
use keha_tests::media::{ClipKind, Codec, nal};
use keha_tests::power;
use keha_tests::probe::{self, Mkv};
use keha_tests::process::now_ns;
use keha_tests::server::{Auth, CameraServer, Options, SenderReports};
use keha_tests::tried::where_possible;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

fn ffmpeg_records(url: &str, seconds: u32, to: &Path) -> Result<Output> {
    Ok(Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-rtsp_transport", "tcp", "-timeout", "5000000", "-i", url])
        .args(["-t", &seconds.to_string(), "-map", "0", "-c", "copy"])
        .arg(to)
        .output()?)
}

fn recorded(server: &CameraServer, name: &str) -> Result<Mkv> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("out.mkv");
    let output = ffmpeg_records(&server.url(name), 4, &file)?;
    probe::read_mkv(&file).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_clip_is_served_nal_for_nal() -> Result<()> {
    let kinds = [
        ("main", ClipKind::Main),
        ("two-pps", ClipKind::TwoPps),
        ("small", ClipKind::Small),
        ("aac", ClipKind::WithAac),
        ("g711", ClipKind::WithG711),
    ];
    let mut server = CameraServer::start(&Options::default())?;
    for (name, kind) in kinds {
        let clip = kind.clip()?;
        server.add(name, &clip)?;
        let mkv = recorded(&server, name)?;
        let run = footage::video_run(&mkv, &clip).with_context(|| name.to_owned())?;
        assert!(run.len > 75, "{name}: only {} NAL units", run.len);
        if let Some(track) = clip.track(Codec::Aac) {
            let run = unbroken_run(&mkv.track(Codec::Aac)?.hashes(), &clip.hashes(track).concat())?;
            assert!(run.len > 100, "{} samples of AAC", run.len);
        }
        if let Some(track) = clip.track(Codec::Pcmu) {
            let run = footage::payload_run(&mkv.track(Codec::Pcmu)?.payload(), &clip.payload(track))?;
            assert!(run.len > 3 * 8000, "{} bytes of G.711", run.len);
        }
    }
    Ok(())
}

/// Ten cameras, of which the last begins a second before the end of the clip and goes on with the next lap.
#[test]
fn a_crowd_of_cameras_plays_its_clip_nal_for_nal() -> Result<()> {
    let clip = ClipKind::Small.clip()?;
    let crowd = Crowd::start(&clip)?;
    let scratch = tempfile::tempdir()?;
    let file = |number: usize| scratch.path().join(format!("{number}.mkv"));
    std::thread::scope(|scope| {
        let records = |number| ffmpeg_records(&crowd.url("camera"), 4, &file(number));
        let all: Vec<_> = (0..10).map(|number| scope.spawn(move || records(number))).collect();
        all.into_iter().all(|one| one.join().is_ok_and(|output| output.is_ok()))
    });
    for number in 0..10 {
        let run = footage::video_run(&probe::read_mkv(&file(number))?, &clip)?;
        assert!(run.len > 75, "only {} NAL units", run.len);
    }
    assert!(crowd.sent().pictures() > 10 * 75);
    Ok(())
}

#[test]
fn clips_with_reordered_pictures_are_served_nal_for_nal() -> Result<()> {
    let mut server = CameraServer::start(&Options::default())?;
    let scratch = tempfile::tempdir()?;
    for (name, kind, format) in
        [("cra", ClipKind::H265Cra, "hevc"), ("reordered", ClipKind::Reordered, "h264")]
    {
        let clip = kind.clip()?;
        server.add(name, &clip)?;
        // Not into Matroska: ffmpeg has no decode times for reordered pictures from a live source.
        let file = scratch.path().join(format!("{name}.{format}"));
        ffmpeg_records(&server.url(name), 4, &file)?;
        let run = unbroken_run(&probe::read_annex_b(&file)?, &clip.hashes(clip.video()?).concat());
        assert!(run.with_context(|| name.to_owned())?.len > 75, "{name}");
    }
    Ok(())
}

#[test]
fn a_missing_nal_of_a_real_recording_is_found() -> Result<()> {
    let clip = ClipKind::TwoPps.clip()?;
    let server = CameraServer::with_cameras([("cam", &clip)])?;
    let exported = recorded(&server, "cam")?.video()?.nal_hashes()?.concat();
    let ring = clip.hashes(clip.video()?).concat();
    unbroken_run(&exported, &ring)?;
    for lost in 0..exported.len() - 1 {
        let mut broken = exported.clone();
        broken.remove(lost);
        // Losing the first of a run is not a hole in it.
        assert_eq!(unbroken_run(&broken, &ring).is_ok(), lost == 0, "NAL unit {lost} lost");
    }
    Ok(())
}

#[test]
fn clips_have_the_traits_they_are_named_for() -> Result<()> {
    let kinds_of = |kind: ClipKind| -> Result<Vec<Vec<u8>>> {
        let clip = kind.clip()?;
        let track = clip.video()?;
        let kinds =
            |s| nal::split_annex_b(clip.bytes(s)).into_iter().map(|n| nal::kind(track.codec, n)).collect();
        Ok(track.samples.iter().map(kinds).collect())
    };
    let cra = kinds_of(ClipKind::H265Cra)?;
    let pictures = |wanted: u8| cra.iter().filter(|sample| sample.contains(&wanted)).count();
    assert_eq!((pictures(20) + pictures(19), pictures(21)), (1, 9), "one IDR, then a CRA a second");
    assert!(pictures(8) + pictures(9) > 0, "leading pictures that need the GOP before");

    let two_pps = kinds_of(ClipKind::TwoPps)?;
    assert!(two_pps.iter().all(|sample| sample[0] == 9 && sample.contains(&6)), "AUD first, an SEI in each");
    let sets = two_pps[0].iter().filter(|kind| **kind == 8).count();
    assert_eq!(sets, 2, "two PPS before a keyframe");

    let reordered = ClipKind::Reordered.clip()?;
    assert!(reordered.video()?.samples.windows(2).any(|pair| pair[1].pts_ns < pair[0].pts_ns));

    let main = ClipKind::Main.clip()?;
    let bits = main.payload(main.video()?).len() * 8 / 10;
    assert!((3_600_000..4_400_000).contains(&bits), "{bits} bit/s");
    let small = ClipKind::Small.clip()?;
    let bits = small.payload(small.video()?).len() * 8 / 10;
    assert!((48_000..96_000).contains(&bits), "{bits} bit/s");
    Ok(())
}

#[test]
fn every_clip_decodes_without_a_word() -> Result<()> {
    for kind in [ClipKind::Main, ClipKind::H265Cra, ClipKind::TwoPps, ClipKind::Reordered, ClipKind::Small] {
        let clip = kind.clip()?;
        let format = if clip.video()?.codec == Codec::H265 { "hevc" } else { "h264" };
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "warning", "-nostdin", "-f", format, "-i"]).arg(clip.path.with_extension("bin"));
        probe::run_silent(ffmpeg.args(["-f", "null", "-"])).with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

#[test]
fn the_send_log_tells_what_a_client_received() -> Result<()> {
    let clip = ClipKind::Small.clip()?;
    let server = CameraServer::with_cameras([("cam", &clip)])?;
    let mkv = recorded(&server, "cam")?;
    let numbers = footage::number_samples(&mkv.video()?.nal_hashes()?, &clip.hashes(clip.video()?))?;
    let sent = server.sent_by("cam", 0)?;
    let first = sent.iter().position(|sent| sent.number == numbers[0]).context("never sent")?;
    let logged: Vec<u64> = sent[first..].iter().take(numbers.len()).map(|sent| sent.number).collect();
    assert_eq!(numbers, logged);
    assert!(sent.windows(2).all(|pair| pair[0].wall_ns <= pair[1].wall_ns));
    Ok(())
}

#[test]
fn a_camera_goes_on_with_the_next_keyframe_after_a_client_left() -> Result<()> {
    let clip = ClipKind::Small.clip()?;
    let mut server = CameraServer::with_cameras([("cam", &clip)])?;
    recorded(&server, "cam")?;
    server.await_clients("cam", 0, Duration::from_secs(10))?;
    recorded(&server, "cam")?;
    let sent = server.sent_by("cam", 0)?;
    assert!(sent.iter().any(|sent| sent.session == 2));
    assert!(sent.windows(2).all(|pair| pair[0].number < pair[1].number), "no sample is sent twice");
    Ok(())
}

#[test]
fn both_ways_of_logging_in_let_in_only_who_knows_the_password() -> Result<()> {
    let clip = ClipKind::Small.clip()?;
    let scratch = tempfile::tempdir()?;
    for auth in [Auth::Basic, Auth::Digest] {
        let login = Some(("viewer".to_owned(), "s3cret".to_owned(), auth));
        let mut server = CameraServer::start(&Options { login, ..Options::default() })?;
        server.add("cam", &clip)?;
        assert!(ffmpeg_records(&server.url("cam"), 1, &scratch.path().join("in.mkv"))?.status.success());
        let wrong = server.url("cam").replace("s3cret", "guess");
        let refused = ffmpeg_records(&wrong, 1, &scratch.path().join("out.mkv"))?;
        assert!(String::from_utf8_lossy(&refused.stderr).contains("401"), "{auth:?}");
    }
    Ok(())
}

#[test]
fn the_clock_camera_shows_the_time_at_which_it_sent() -> Result<()> {
    let mut server = CameraServer::start(&Options {
        sender_reports: SenderReports::OffBySeconds(3600),
        ..Options::default()
    })?;
    server.add_clock("clock")?;
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("out.mkv");
    let began_ms = now_ns() / 1_000_000;
    ffmpeg_records(&server.url("clock"), 4, &file)?;
    let ended_ms = now_ns() / 1_000_000;
    let times = keha_tests::barcode::read_times_ms(&file)?;
    assert!(times.len() > 50, "{} pictures", times.len());
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
    let sent = server.sent_by("clock", 0)?;
    // Between drawing and sending lies the encoder, for however long a busy machine makes it wait: each picture is sent after it
    // was drawn, and after the one before it.
    for (index, time) in times.iter().enumerate() {
        let after = sent.iter().filter(|sent| sent.wall_ns / 1_000_000 >= *time).count();
        assert!((began_ms..=ended_ms).contains(time), "{time} is not between {began_ms} and {ended_ms}");
        assert!(after >= times.len() - index, "{time} was drawn after it was sent");
    }
    Ok(())
}

#[test]
fn the_flaky_proxy_passes_and_cuts_on_command() -> Result<()> {
    let clip = ClipKind::Small.clip()?;
    let server = CameraServer::with_cameras([("cam", &clip)])?;
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("out.mkv");
    let flaky = Flaky::start(Mode::Pass, Some(server.port()))?;
    assert!(ffmpeg_records(&flaky.url("cam"), 1, &file)?.status.success());
    for (mode, sign) in [
        (Mode::Refuse, "refused"),
        (Mode::NotFound, "404"),
        (Mode::Unauthorized, "401"),
        (Mode::Cut, "Invalid data"),
    ] {
        flaky.set(mode);
        // The kernel may still complete a handshake begun before; the condition is the answer, not the moment.
        keha_tests::wait::until(sign, Duration::from_secs(10), || {
            let output = ffmpeg_records(&flaky.url("cam"), 1, &file)?;
            Ok(String::from_utf8_lossy(&output.stderr).contains(sign).then_some(()))
        })
        .with_context(|| format!("{mode:?}"))?;
    }
    flaky.set(Mode::Pass);
    assert!(ffmpeg_records(&flaky.url("cam"), 1, &file)?.status.success());
    Ok(())
}

#[test]
fn a_power_cut_loses_what_was_not_made_durable_and_nothing_else() -> Result<()> {
    where_possible(power::possible, a_power_cut)
}

fn a_power_cut() -> Result<()> {
    let scratch = keha_tests::rig::scratch()?;
    let disk = power::Mounted::make(scratch.path(), 32)?;
    let (durable, hoped) = (disk.path().join("durable"), disk.path().join("hoped"));
    std::fs::write(&durable, "x".repeat(100_000))?;
    std::fs::File::open(&durable)?.sync_all()?;
    std::fs::File::open(disk.path())?.sync_all()?;
    std::fs::write(&hoped, "x".repeat(100_000))?;
    disk.cut()?;
    assert!(std::fs::write(&hoped, "more").is_err(), "the disk is gone");
    disk.unmount()?;
    disk.mount()?;
    assert_eq!(std::fs::metadata(&durable)?.len(), 100_000);
    assert!(!hoped.exists(), "nobody asked for this to be durable");
    disk.unmount()
}
