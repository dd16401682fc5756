//! Cameras come and go while others are recorded, and addresses are tried without recording.

use keha_fs::{
    CreateOptions, Gap, GapReason, Item, StreamName, TimeRange, Volume, WallTime, Writer, WriterOptions,
};
use keha_recorder::{
    CameFrom, Camera, CameraUrl, Coming, Credentials, NoOffer, Recorder, Secret, StartError, StreamState,
    offer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

const SMALL: &str = "testsrc://?size=320x180&fps=50&gop=5";
const OTHER: &str = "testsrc://?size=640x360&fps=50&gop=5";
const PATIENCE: Duration = Duration::from_secs(30);

/// A volume that is being recorded into.
struct Rig {
    _directory: tempfile::TempDir,
    path: PathBuf,
    writer: Writer,
    recorder: Recorder,
}

impl Rig {
    fn new(cameras: &[Camera]) -> Rig {
        Rig::with(cameras, WriterOptions::default())
    }

    fn with(cameras: &[Camera], options: WriterOptions) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.ring");
        let size = CreateOptions { size_bytes: 64 << 20, ..CreateOptions::default() };
        keha_fs::create(&path, &size, &mut |_, _| ControlFlow::Continue(())).unwrap();
        let writer = Writer::open(&path, options, Box::new(|_| {})).unwrap();
        let recorder = Recorder::start(&writer, cameras).unwrap();
        Rig { _directory: directory, path, writer, recorder }
    }

    fn samples(&self, stream: &str) -> u64 {
        let status = self.recorder.status();
        status.iter().find(|status| status.name.as_str() == stream).map_or(0, |status| status.samples)
    }

    fn await_samples(&self, stream: &str, more: u64) {
        let wanted = self.samples(stream) + more;
        for _ in 0..6_000 {
            if self.samples(stream) >= wanted {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{stream} has {} samples", self.samples(stream));
    }

    fn state(&self, stream: &str) -> Option<StreamState> {
        let status = self.recorder.status();
        status.into_iter().find(|status| status.name.as_str() == stream).map(|status| status.state)
    }

    fn last_sample(&self, stream: &str) -> Option<WallTime> {
        let status = self.recorder.status();
        status.into_iter().find(|status| status.name.as_str() == stream).and_then(|status| status.last_sample)
    }

    /// Ends all; answers a way to look into the volume.
    fn close(self) -> (tempfile::TempDir, Volume) {
        self.recorder.stop();
        self.writer.close().unwrap();
        (self._directory, Volume::open(&self.path).unwrap())
    }
}

/// Samples, runs, and the reasons of closed gaps.
fn recorded(volume: &Volume, stream: &str) -> (u64, usize, Vec<GapReason>) {
    let stream = volume.stream(&name(stream)).unwrap();
    let mut cursor = volume.read(stream.id, TimeRange::default()).unwrap();
    let (mut samples, mut runs, mut gaps, mut end) = (0, 0, Vec::new(), 0);
    while let Some(item) = cursor.next_item().unwrap() {
        match item {
            Item::Run(_) => runs += 1,
            Item::Gap(gap) if gap.to.is_some() => {
                assert!(gap.from.0 > end, "a gap begins behind the footage before it");
                gaps.push(gap.reason);
            }
            Item::Sample(sample) => {
                assert!(sample.wall.0 > end);
                end = sample.wall.0;
                samples += 1;
            }
            _ => {}
        }
    }
    (samples, runs, gaps)
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn camera(name: &str, url: &str) -> Camera {
    Camera::new(name, url).unwrap()
}

#[test]
fn cameras_come_and_go_while_another_is_recorded_untouched() {
    let rig = Rig::new(&[camera("front", SMALL)]);
    rig.await_samples("front", 10);
    rig.recorder.add(&rig.writer, &camera("back", OTHER)).unwrap();
    rig.await_samples("back", 10);
    let twice = rig.recorder.add(&rig.writer, &camera("back", SMALL));
    assert!(matches!(twice, Err(StartError::Twice(_))), "{twice:?}");
    assert!(rig.recorder.tail(&name("back")).is_some());

    assert!(rig.recorder.remove(&name("back")).unwrap());
    assert!(!rig.recorder.remove(&name("back")).unwrap());
    assert!(rig.recorder.status().iter().all(|stream| stream.name.as_str() == "front"));
    assert!(rig.recorder.tail(&name("back")).is_none());
    drop(rig.writer.stream(&name("back")).expect("the stream can be had again at once"));

    rig.recorder.add(&rig.writer, &camera("back", SMALL)).unwrap();
    rig.await_samples("back", 10);
    rig.await_samples("front", 10);
    let (front, back) = (rig.samples("front"), rig.samples("back"));
    let (_directory, volume) = rig.close();
    let (samples, runs, gaps) = recorded(&volume, "front");
    assert_eq!((runs, gaps), (1, vec![]));
    assert!(samples >= front);
    let (samples, runs, gaps) = recorded(&volume, "back");
    assert_eq!((runs, gaps), (2, vec![GapReason::Stopped]));
    assert!(samples >= back + 10);
}

#[test]
fn a_stream_that_is_stopped_and_started_loses_nothing_and_its_gap_says_so() {
    let both = camera("front", SMALL).with_stream("sub", SMALL).unwrap();
    let rig = Rig::new(&[both]);
    rig.await_samples("front", 20);
    for _ in 0..3 {
        rig.recorder.stop_stream(&name("front")).unwrap();
        rig.recorder.stop_stream(&name("front")).expect("it is stopped already");
        assert_eq!(rig.state("front"), Some(StreamState::Stopped));
        let stopped_at = rig.samples("front");
        rig.await_samples("front/sub", 5);
        assert_eq!(rig.samples("front"), stopped_at);
        rig.recorder.start_stream(&rig.writer, &name("front")).unwrap();
        rig.recorder.start_stream(&rig.writer, &name("front")).expect("it is recorded already");
        rig.await_samples("front", 5);
    }
    for unknown in
        [rig.recorder.stop_stream(&name("side")), rig.recorder.start_stream(&rig.writer, &name("side"))]
    {
        assert!(matches!(unknown, Err(StartError::Unknown(_))), "{unknown:?}");
    }
    let (_directory, volume) = rig.close();
    let (_, runs, gaps) = recorded(&volume, "front");
    assert_eq!((runs, gaps), (4, vec![GapReason::Stopped; 3]));
    assert_eq!(recorded(&volume, "front/sub").1, 1);
}

#[test]
fn a_changed_camera_ends_only_the_streams_that_changed() {
    let before = camera("front", SMALL).with_stream("sub", SMALL).unwrap().with_stream("old", SMALL).unwrap();
    let rig = Rig::new(&[before]);
    for stream in ["front", "front/sub", "front/old"] {
        rig.await_samples(stream, 10);
    }
    let after = camera("front", SMALL).with_stream("sub", OTHER).unwrap().with_stream("new", SMALL).unwrap();
    rig.recorder.change(&rig.writer, &after, &BTreeSet::new()).unwrap();
    for stream in ["front", "front/sub", "front/new"] {
        rig.await_samples(stream, 10);
    }
    assert_eq!(rig.state("front/old"), None);

    rig.recorder.stop_stream(&name("front/sub")).unwrap();
    let last = camera("front", SMALL).with_stream("sub", SMALL).unwrap();
    rig.recorder.change(&rig.writer, &last, &BTreeSet::new()).unwrap();
    assert_eq!(rig.state("front/sub"), Some(StreamState::Stopped), "what is stopped stays so");
    rig.recorder.start_stream(&rig.writer, &name("front/sub")).unwrap();
    rig.await_samples("front/sub", 5);
    let status = rig.recorder.status();
    let sub = status.iter().find(|stream| stream.name.as_str() == "front/sub").unwrap();
    assert_eq!((sub.url.to_string().as_str(), sub.tracks[0].width), (SMALL, 320), "under its new address");

    let (_directory, volume) = rig.close();
    let (_, runs, gaps) = recorded(&volume, "front");
    assert_eq!((runs, gaps), (1, vec![]));
    assert_eq!(recorded(&volume, "front/sub").1, 3);
    assert_eq!(recorded(&volume, "front/old").1, 1);
}

/// One that was to stay stopped was begun first, and a camera at hand had given something by then.
#[test]
fn a_stream_that_begins_stopped_gets_nothing_until_it_is_started() {
    let front = camera("front", SMALL).with_stream("sub", SMALL).unwrap();
    let rig = Rig::new(&[]);
    rig.recorder.change(&rig.writer, &front, &[name("front/sub")].into()).unwrap();
    rig.await_samples("front", 10);
    assert_eq!(rig.state("front/sub"), Some(StreamState::Stopped));
    assert_eq!((rig.samples("front/sub"), rig.last_sample("front/sub")), (0, None));
    rig.recorder.start_stream(&rig.writer, &name("front/sub")).unwrap();
    rig.await_samples("front/sub", 5);
    assert!(rig.last_sample("front/sub").is_some());

    rig.recorder.remove(&name("front")).unwrap();
    rig.recorder.change(&rig.writer, &front, &[name("front/sub")].into()).unwrap();
    assert_eq!(rig.samples("front/sub"), 0, "it is counted anew");
    assert!(rig.last_sample("front/sub").is_some(), "there is footage of it");
    rig.recorder.start_stream(&rig.writer, &name("front/sub")).unwrap();
    rig.await_samples("front/sub", 5);
    let (_directory, volume) = rig.close();
    let (_, runs, gaps) = recorded(&volume, "front/sub");
    assert_eq!((runs, gaps), (2, vec![GapReason::Stopped]));
}

/// Two recorders, and no picture is lost of what the first one took.
#[test]
fn a_camera_goes_over_to_another_volume_and_back_and_says_so() {
    let front = camera("front", SMALL);
    // No round makes anything durable but that of closing.
    let options = WriterOptions { flush_interval: Duration::from_secs(3600), ..WriterOptions::default() };
    let (one, other) = (Rig::with(std::slice::from_ref(&front), options), Rig::new(&[]));
    one.await_samples("front", 20);
    let id = one.recorder.identities()[&name("front")];
    one.recorder.remove_all(&[name("front")].into()).unwrap();
    let undone = one.writer.holder().undone(&name("front"));
    let (_, last) = undone.span().expect("nothing of it is durable");
    let coming = |why: &str, undone, last| {
        let from = CameFrom { last, why: why.to_owned(), undone, ..CameFrom::default() };
        BTreeMap::from([(name("front"), Coming { id: Some(id), from: Some(from) })])
    };
    let none = BTreeSet::new();
    other.recorder.change_with(&other.writer, &front, &none, coming("main failed", undone, None)).unwrap();
    other.await_samples("front", 20);
    other.recorder.remove_all(&[name("front")].into()).unwrap();
    let end = other.recorder.ended()[&name("front")];
    one.recorder
        .change_with(&one.writer, &front, &none, coming("by order", Default::default(), Some(end)))
        .unwrap();
    one.await_samples("front", 20);

    let (_directory, there) = other.close();
    assert_eq!(there.stream(&name("front")).unwrap().id, id);
    let gaps = |volume: &Volume| -> Vec<Gap> {
        let mut cursor = volume.read(id, TimeRange::default()).unwrap();
        let mut gaps = Vec::new();
        while let Some(item) = cursor.next_item().unwrap() {
            gaps.extend(if let Item::Gap(gap) = item { gap.to.map(|_| gap) } else { None });
        }
        gaps
    };
    let (_, runs, _) = recorded(&there, "front");
    assert_eq!(runs, 2, "what waited, and a new session");
    let told = gaps(&there);
    assert!(
        told.iter().all(|gap| (gap.reason, gap.detail.as_str()) == (GapReason::OtherVolume, "main failed"))
    );
    assert!(matches!(&told[..], [seam, session] if seam.to < Some(last) && session.from > last), "{told:?}");
    let (_directory, home) = one.close();
    let told = gaps(&home);
    let details: Vec<&str> = told.iter().map(|gap| gap.detail.as_str()).collect();
    assert_eq!(details, ["it was recorded elsewhere; by order", "by order"]);
    assert!(told[0].to == Some(end) && told[1].from > end, "{told:?}");
    assert_eq!(recorded(&home, "front").1, 2);
}

#[test]
fn an_address_is_tried_without_recording() {
    let url = CameraUrl::parse("testsrc://?size=320x180&audio=1").unwrap();
    let offer = offer(&url, None, PATIENCE).unwrap();
    let told: Vec<_> = offer
        .tracks
        .iter()
        .map(|track| (track.codec.as_str(), track.width, track.height, track.channels, track.sample_rate))
        .collect();
    assert_eq!(told, [("avc1", 320, 180, 0, 0), ("ulaw", 0, 0, 1, 8_000)]);
    assert!(offer.skipped.is_empty());
}

#[test]
fn an_address_that_does_not_work_says_why_and_shows_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let camera = thread::spawn(move || {
        // One connection; the request is made again with the credentials once it was said how.
        for connection in listener.incoming().take(1) {
            let mut connection = connection.unwrap();
            let mut request = [0; 4_096];
            while connection.read(&mut request).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&request);
                let cseq = text.lines().find(|line| line.starts_with("CSeq")).unwrap_or("CSeq: 1").to_owned();
                let answer = format!(
                    "RTSP/1.0 401 no hunter2\r\n{cseq}\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
                );
                request = [0; 4_096];
                if connection.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    let credentials = Credentials { username: "viewer".to_owned(), password: Secret::new("hunter2") };
    let url = CameraUrl::parse(&format!("rtsp://{address}/live")).unwrap();
    let error = offer(&url, Some(&credentials), PATIENCE).unwrap_err();
    assert!(matches!(error, NoOffer::Failed { reason: GapReason::Unauthorised, .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    camera.join().unwrap();
    let error = offer(&url, None, PATIENCE).unwrap_err();
    assert!(matches!(error, NoOffer::Failed { reason: GapReason::Refused, .. }), "{error}");
}
