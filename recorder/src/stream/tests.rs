//! Stories of a stream against a scripted RTSP server on loopback. Every wait is bounded; none asserts how long it took.

use super::*;
use crate::event::EventKind;
use keha_fs::{Anchor, Configuration, Gap, Rejected, RunId, Sample};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a scripted camera does with one connection.
#[derive(Clone, Copy, Debug)]
enum Script {
    /// Answers every request with this status line.
    Answer(&'static str),
    /// Plays so many packets of sound, then closes the connection.
    Play(u8),
    /// Plays so many packets of sound, then keeps the connection.
    PlayAndStay(u8),
    /// Plays packets of sound as fast as they are taken.
    PlayWithoutEnd,
}

/// A camera that follows one script a connection, and the last one from then on.
struct Camera {
    address: SocketAddr,
}

impl Camera {
    fn start(listener: TcpListener, scripts: Vec<Script>) -> Camera {
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let last = scripts.last().copied().expect("a script");
            let mut scripts = scripts.into_iter();
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let script = scripts.next().unwrap_or(last);
                thread::spawn(move || follow(connection, script));
            }
        });
        Camera { address }
    }
}

fn follow(mut connection: TcpStream, script: Script) {
    let Ok(reading) = connection.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        let mut cseq = String::new();
        for header in lines.by_ref().take_while(|line| !line.is_empty()) {
            if let Some(value) = header.strip_prefix("CSeq: ") {
                value.clone_into(&mut cseq);
            }
        }
        let method = request.split(' ').next().unwrap_or_default();
        let (status, headers, body) = answer(method, script);
        let length = body.len();
        let text =
            format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        if connection.write_all(text.as_bytes()).is_err() {
            return;
        }
        if let (Script::PlayWithoutEnd, "PLAY") = (script, method) {
            // Bounded by whoever hangs up.
            let packet = rtp(0);
            let framed = [&[b'$', 0, 0, packet.len() as u8][..], &packet].concat().repeat(64);
            while connection.write_all(&framed).is_ok() {}
            return;
        }
        if let (Script::Play(packets) | Script::PlayAndStay(packets), "PLAY") = (script, method) {
            for number in 0..packets {
                let packet = rtp(number);
                let framed = [&[b'$', 0, 0, packet.len() as u8][..], &packet].concat();
                if connection.write_all(&framed).is_err() {
                    return;
                }
            }
            if matches!(script, Script::Play(_)) {
                return;
            }
        }
    }
}

fn answer(method: &str, script: Script) -> (&'static str, &'static str, &'static str) {
    const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\nm=audio 0 RTP/AVP 0\r\n\
        a=control:one\r\nm=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:two\r\n";
    match (script, method) {
        (Script::Answer(status), _) => (status, "WWW-Authenticate: Basic realm=\"cam\"\r\n", ""),
        (_, "DESCRIBE") => ("200 OK", "Content-Type: application/sdp\r\n", SDP),
        (_, "SETUP") => ("200 OK", "Session: 17\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""),
        _ => ("200 OK", "Session: 17\r\n", ""),
    }
}

/// 20 ms of sound; its bytes are its number.
fn rtp(number: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, number];
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet.extend([number; 160]);
    packet
}

#[derive(Debug, Default)]
struct Kept {
    samples: Vec<Vec<u8>>,
    gaps: Vec<Gap>,
    runs: usize,
    panic_at: Option<usize>,
    followed: bool,
}

#[derive(Clone, Debug, Default)]
struct Keeping(Arc<Mutex<Kept>>);

impl Keeping {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Keeping {
    fn configure(&mut self, _configuration: &Configuration) -> Result<(), keha_fs::Error> {
        Ok(())
    }

    fn begin_run(&mut self, _run: RunId) {
        self.kept().runs += 1;
    }

    fn anchor(&mut self, _anchor: Anchor) {}

    fn push(&mut self, sample: Sample) -> Result<(), Rejected> {
        let mut kept = self.kept();
        if kept.panic_at == Some(kept.samples.len()) {
            kept.panic_at = None;
            panic!("bad packet of hunter2");
        }
        kept.samples.push(sample.data.concat());
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) {
        self.kept().gaps.push(gap.clone());
    }

    fn park(&mut self) {}

    fn was_waited_for(&self) -> bool {
        self.kept().followed
    }
}

/// A stream under way, and what it tells.
struct Story {
    sink: Keeping,
    cell: Arc<Mutex<StatusCell>>,
    events: Receiver<Event>,
    stop: watch::Sender<bool>,
    moderation: Arc<Moderation>,
    runtime: tokio::runtime::Runtime,
    task: tokio::task::JoinHandle<()>,
}

impl Story {
    fn begin(url: &str, sink: Keeping) -> Story {
        Story::begin_as(url, sink, 0, |task| task)
    }

    /// The same, while so many connections wait for their turn.
    fn begin_as(
        url: &str,
        sink: Keeping,
        others: usize,
        change: impl Fn(StreamTask<Keeping>) -> StreamTask<Keeping>,
    ) -> Story {
        let (sender, events) = sync_channel(1_000);
        let shared = Arc::new(Shared::new(sender));
        for _ in 0..others {
            shared.limiter.lock().unwrap().turn(shared.clock.elapsed());
        }
        let name = StreamName::new("front").unwrap();
        let url = CameraUrl::parse(url).unwrap();
        let cell = Arc::new(Mutex::new(StatusCell::new(name.clone(), url.clone(), shared.clock.now().wall)));
        let (stop, stopping) = watch::channel(false);
        let moderation = Arc::clone(&shared.moderation);
        let runtime = crate::supervisor::runtime(1, Arc::clone(&moderation)).unwrap();
        let task = StreamTask::new(name, url, sink.clone(), None, shared, Arc::clone(&cell), stopping);
        let task = runtime.spawn(change(task).run());
        Story { sink, cell, events, stop, moderation, runtime, task }
    }

    /// Waits for an event.
    fn until(&self, wanted: impl Fn(&EventKind) -> bool) -> EventKind {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("the event comes");
            if wanted(&event.kind) {
                return event.kind;
            }
        }
    }

    /// Waits until so many samples are recorded.
    fn until_samples(&self, count: usize) {
        for _ in 0..3_000 {
            if self.sink.kept().samples.len() >= count {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{count} samples do not come; there are {}", self.sink.kept().samples.len());
    }

    /// Waits until arrivals are noted promptly, or are not.
    fn until_prompt(&self, prompt: bool) {
        for _ in 0..3_000 {
            if self.moderation.is_prompt() == prompt {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("prompt: it does not become {prompt}");
    }

    fn end(self) -> (Keeping, crate::StreamStatus) {
        self.stop.send_replace(true);
        self.runtime.block_on(self.task).unwrap();
        let status = self.cell.lock().unwrap().snapshot();
        (self.sink, status)
    }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn sounds(numbers: impl Iterator<Item = u8>) -> Vec<Vec<u8>> {
    numbers.map(|number| vec![number; 160]).collect()
}

#[test]
fn a_clean_stop_writes_all_that_arrived_and_no_gap() {
    let camera = Camera::start(listen(), vec![Script::PlayAndStay(40)]);
    let story = Story::begin(&format!("rtsp://{}/live", camera.address), Keeping::default());
    let skipped = story.until(|kind| matches!(kind, EventKind::TrackSkipped { .. }));
    assert!(matches!(skipped, EventKind::TrackSkipped { detail } if detail.contains("metadata")));
    story.until(|kind| *kind == EventKind::Recording);
    story.until_samples(40);
    let (sink, status) = story.end();
    assert_eq!(sink.kept().samples, sounds(0..40));
    assert!(sink.kept().gaps.is_empty());
    assert_eq!((status.state, status.samples, status.bytes), (StreamState::Stopped, 40, 6_400));
    assert_eq!((status.tracks.len(), status.lost_packets), (1, 0));
}

/// The fortieth camera of a volume that failed waited four seconds for its turn.
#[test]
fn a_camera_that_comes_over_connects_however_many_others_do() {
    let camera = Camera::start(listen(), vec![Script::PlayAndStay(40)]);
    let url = format!("rtsp://{}/live", camera.address);
    // All turns of the next ten minutes are given away.
    let story = Story::begin_as(&url, Keeping::default(), 8 * 600, StreamTask::at_once);
    story.until(|kind| *kind == EventKind::Recording);
    story.until_samples(40);
    story.end();
}

#[test]
fn what_the_kernel_took_before_the_word_to_stop_is_recorded() {
    for _ in 0..5 {
        let camera = Camera::start(listen(), vec![Script::PlayAndStay(40)]);
        let story = Story::begin(&format!("rtsp://{}/live", camera.address), Keeping::default());
        story.until(|kind| *kind == EventKind::Recording);
        // All packets were sent before the first of them began the recording.
        let (sink, _) = story.end();
        assert_eq!(sink.kept().samples, sounds(0..40));
    }
}

#[test]
fn sockets_are_looked_at_seldom_until_somebody_follows_a_stream() {
    let camera = Camera::start(listen(), vec![Script::PlayAndStay(40)]);
    for url in [format!("rtsp://{}/live", camera.address), "testsrc://?size=320x120&fps=10".to_owned()] {
        let story = Story::begin(&url, Keeping::default());
        story.until(|kind| *kind == EventKind::Recording);
        story.until_prompt(false);
        story.sink.kept().followed = true;
        story.until_prompt(true);
        story.sink.kept().followed = false;
        story.until_prompt(false);
        let (_, status) = story.end();
        assert_eq!(status.state, StreamState::Stopped);
    }
}

#[test]
fn a_camera_that_never_pauses_does_not_keep_a_stop_from_being_clean() {
    let camera = Camera::start(listen(), vec![Script::PlayWithoutEnd]);
    let story = Story::begin(&format!("rtsp://{}/live", camera.address), Keeping::default());
    story.until(|kind| *kind == EventKind::Recording);
    let (sink, status) = story.end();
    assert_eq!(status.state, StreamState::Stopped);
    assert!(sink.kept().gaps.iter().all(|gap| gap.reason != GapReason::ConnectionLost));
}

#[test]
fn a_connection_that_ends_is_made_again_and_nothing_that_arrived_is_lost() {
    let camera = Camera::start(listen(), vec![Script::Play(20), Script::PlayAndStay(15)]);
    let story = Story::begin(&format!("rtsp://{}/live", camera.address), Keeping::default());
    story.until(|kind| matches!(kind, EventKind::Interrupted { reason: GapReason::ConnectionLost, .. }));
    story.until(|kind| *kind == EventKind::Recording);
    story.until_samples(35);
    let (sink, status) = story.end();
    let kept = sink.kept();
    assert_eq!(kept.samples, sounds((0..20).chain(0..15)));
    let gaps: Vec<_> = kept.gaps.iter().map(|gap| (gap.reason, gap.to.is_some())).collect();
    assert_eq!(gaps, [(GapReason::ConnectionLost, false), (GapReason::ConnectionLost, true)]);
    assert_eq!((kept.runs, status.gaps), (2, 1));
}

#[test]
fn a_wrong_password_is_told_without_showing_it() {
    let camera = Camera::start(listen(), vec![Script::Answer("401 Unauthorized")]);
    let story = Story::begin(&format!("rtsp://admin:hunter2@{}/live", camera.address), Keeping::default());
    let failed = story.until(|kind| matches!(kind, EventKind::AttemptFailed { .. }));
    assert!(
        matches!(&failed, EventKind::AttemptFailed { reason: GapReason::Unauthorised, .. }),
        "{failed:?}"
    );
    let (_, status) = story.end();
    assert!(!format!("{failed:?} {status:?}").contains("hunter2"));
    assert!(status.last_error.is_some_and(|error| error.contains("401")));
}

#[test]
fn a_missing_path_is_not_found() {
    let camera = Camera::start(listen(), vec![Script::Answer("404 Not Found")]);
    let story = Story::begin(&format!("rtsp://{}/nowhere", camera.address), Keeping::default());
    story.until(|kind| matches!(kind, EventKind::AttemptFailed { reason: GapReason::NotFound, .. }));
    story.end();
}

#[test]
fn a_path_that_is_served_later_is_recorded_though_attempts_had_become_rare() {
    let mut scripts = vec![Script::Answer("404 Not Found"); 5];
    scripts.push(Script::PlayAndStay(20));
    let camera = Camera::start(listen(), scripts);
    let story = Story::begin(&format!("rtsp://{}/later", camera.address), Keeping::default());
    story.until_samples(20);
    story.end();
}

#[test]
fn a_camera_that_comes_back_after_refusing_is_recorded_again() {
    let listener = listen();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let story = Story::begin(&format!("rtsp://{address}/live"), Keeping::default());
    for _ in 0..4 {
        story.until(|kind| matches!(kind, EventKind::AttemptFailed { reason: GapReason::Refused, .. }));
    }
    let camera = Camera::start(TcpListener::bind(address).unwrap(), vec![Script::PlayAndStay(20)]);
    assert_eq!(camera.address, address);
    story.until(|kind| *kind == EventKind::Recording);
    story.until_samples(20);
    let (sink, _) = story.end();
    let kept = sink.kept();
    // The stream had no footage before: its gap is written once, when footage comes.
    assert!(matches!(&kept.gaps[..], [gap] if gap.reason == GapReason::Refused && gap.to.is_some()));
}

#[test]
fn a_panic_in_one_streams_code_costs_a_gap_and_recording_goes_on() {
    let camera = Camera::start(listen(), vec![Script::PlayAndStay(20)]);
    let sink = Keeping::default();
    sink.kept().panic_at = Some(12);
    let story = Story::begin(&format!("rtsp://a:hunter2@{}/live", camera.address), sink);
    let restarted = story.until(|kind| matches!(kind, EventKind::Restarted { .. }));
    assert!(!format!("{restarted:?}").contains("hunter2"));
    story.until(|kind| *kind == EventKind::Recording);
    story.until_samples(32);
    let (sink, _) = story.end();
    assert_eq!(sink.kept().samples[12..], sounds(0..20));
    assert_eq!(sink.kept().gaps.len(), 2);
}

#[test]
fn the_built_in_camera_is_recorded_like_any_other() {
    let story = Story::begin("testsrc://?size=320x120&fps=50&gop=10&audio=1", Keeping::default());
    story.until(|kind| *kind == EventKind::Recording);
    story.until_samples(60);
    let (sink, status) = story.end();
    let kept = sink.kept();
    assert_eq!((kept.runs, kept.gaps.len()), (1, 0));
    let codecs: Vec<_> = status.tracks.iter().map(|track| track.codec.as_str()).collect();
    assert_eq!((codecs, status.tracks[0].width), (vec!["avc1", "ulaw"], 320));
}
