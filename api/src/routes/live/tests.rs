//! Live sound of a real writer in a real WebSocket, asked as programs ask.

use super::{Guest, PATIENCE, Patience, upgraded};
use crate::auth::{Cameras, Grant, Role};
use crate::testing::{SOUND, sounding};
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use keha_fs::{
    CreateOptions, Sample, SampleFlags, StreamName, StreamWriter, Tail, Volume, Writer, WriterOptions,
};
use keha_player::live::{LiveHub, LiveOptions, LiveSource};
use serde_json::Value;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// How long anything is waited for.
const BOUND: Duration = Duration::from_secs(60);

/// What is recorded, and who watches it.
struct Rig {
    hub: Arc<LiveHub>,
    stream: Option<StreamWriter>,
    packets: i64,
    _writer: Arc<Recorder>,
    _directory: tempfile::TempDir,
}

struct Recorder {
    writer: Writer,
    path: std::path::PathBuf,
}

impl LiveSource for Recorder {
    fn tail(&self, stream: &StreamName) -> Option<Tail> {
        self.writer.holder().tail(stream)
    }

    fn volume(&self, _: &StreamName) -> keha_player::Result<Volume> {
        Ok(Volume::open(&self.path)?)
    }

    fn place(&self, _: &StreamName) -> String {
        "attic".to_owned()
    }
}

fn name() -> StreamName {
    StreamName::new("door").expect("a name")
}

impl Rig {
    fn new() -> Rig {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.ring");
        let options = CreateOptions { size_bytes: 24 << 20, ..CreateOptions::default() };
        keha_fs::create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("a volume");
        // Nothing leaves the tail.
        let options = WriterOptions { flush_interval: Duration::from_secs(3600), ..WriterOptions::default() };
        let writer = Writer::open(&path, options, Box::new(|_| ())).expect("it opens");
        let stream = sounding(&writer, &name());
        let recorder = Arc::new(Recorder { writer, path });
        let options = LiveOptions { linger: Duration::ZERO, ..LiveOptions::default() };
        let hub = Arc::new(LiveHub::new(Arc::clone(&recorder) as Arc<dyn LiveSource>, options));
        Rig { hub, stream: Some(stream), packets: 0, _writer: recorder, _directory: directory }
    }

    /// Records packets of 20 ms.
    fn record(&mut self, packets: i64, bytes: usize) {
        for _ in 0..packets {
            // Noise: it cannot be packed.
            let seed = (self.packets as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let noise = (0..bytes as u64).map(|at| (seed ^ at).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 56);
            let sample = Sample {
                track: SOUND,
                ticks: self.packets * bytes as i64,
                flags: SampleFlags::SYNC,
                data: vec![noise.map(|byte| byte as u8).collect::<Bytes>()],
            };
            self.stream.as_mut().expect("it records").push(sample).expect("there is room");
            self.packets += 1;
        }
    }

    /// A client of a server that answers any path so.
    async fn client(&self, patience: Patience) -> WebSocketStream<TcpStream> {
        self.client_while(patience, Arc::new(AtomicBool::new(true))).await
    }

    /// The same, of somebody who may watch as long as this is true.
    async fn client_while(&self, patience: Patience, may: Arc<AtomicBool>) -> WebSocketStream<TcpStream> {
        let hub = Arc::clone(&self.hub);
        let answer = move |upgrade: WebSocketUpgrade| async move {
            let viewer = hub.watch(&name()).expect("a place");
            let grant = Grant { role: Role::Viewer, cameras: Cameras::All };
            let guest = Guest::new(move || may.load(Ordering::SeqCst).then(|| grant.clone()));
            upgraded(upgrade, viewer, guest, patience)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let stream = bounded(TcpStream::connect(address)).await.expect("it listens");
        let shaken = tokio_tungstenite::client_async(format!("ws://{address}/"), stream);
        bounded(shaken).await.expect("a socket").0
    }
}

/// What is waited for, in time.
async fn bounded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, what).await.expect("in time")
}

/// The next message that is no ping. Pings must not lengthen the wait: they come for as long as the server is there.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    let message = async {
        loop {
            match socket.next().await.expect("the socket is open").expect("a message") {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    };
    bounded(message).await
}

async fn text(socket: &mut WebSocketStream<TcpStream>) -> Value {
    let message = next(socket).await;
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

/// The first thing told, while packets keep coming.
async fn first(rig: &mut Rig, socket: &mut WebSocketStream<TcpStream>) -> Value {
    for _ in 0..400 {
        rig.record(1, 160);
        if let Ok(told) = tokio::time::timeout(Duration::from_millis(50), text(socket)).await {
            return told;
        }
    }
    panic!("nothing is told")
}

#[tokio::test]
async fn who_watches_is_told_what_comes_and_given_it() {
    let mut rig = Rig::new();
    let mut socket = rig.client(PATIENCE).await;
    let init = first(&mut rig, &mut socket).await;
    assert_eq!(
        (&init["type"], &init["codecs"], &init["number"]),
        (&"init".into(), &"fLaC".into(), &1.into())
    );
    assert_eq!((&init["video"], &init["audio"]["sample_rate"]), (&Value::Null, &8000.into()));
    let wall: jiff::Timestamp = init["wall"].as_str().expect("text").parse().expect("a time");
    assert_eq!(init["axis_ms"].as_f64(), Some(wall.as_millisecond() as f64));
    assert_eq!(&next(&mut socket).await.into_data()[4..8], b"ftyp");
    rig.record(2, 160);
    assert_eq!(&next(&mut socket).await.into_data()[4..8], b"styp");
    drop(rig.stream.take());
    loop {
        match next(&mut socket).await {
            Message::Binary(_) => {}
            Message::Text(text) => {
                let waiting: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(waiting["type"], "waiting");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    rig.hub.close();
    let Message::Close(Some(frame)) = next(&mut socket).await else { panic!("it closes") };
    assert_eq!(frame.code, CloseCode::Away);
}

#[tokio::test]
async fn who_says_something_is_shown_out_and_leaves_no_viewer() {
    for said in [Message::text("hello"), Message::binary(vec![0; 100]), Message::binary(vec![0; 100_000])] {
        let mut rig = Rig::new();
        let mut socket = rig.client(PATIENCE).await;
        first(&mut rig, &mut socket).await;
        bounded(socket.send(said)).await.expect("it goes out");
        let ends = async {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(Some(frame)) = message {
                    assert!(matches!(frame.code, CloseCode::Policy | CloseCode::Size), "{frame:?}");
                }
            }
        };
        bounded(ends).await;
        let hub = Arc::clone(&rig.hub);
        let idle = tokio::task::spawn_blocking(move || hub.await_idle(Duration::from_secs(20)));
        assert!(bounded(idle).await.expect("it waits"));
    }
}

#[tokio::test]
async fn whose_right_ends_is_shown_out() {
    let mut rig = Rig::new();
    let may = Arc::new(AtomicBool::new(true));
    let patience = Patience { ping: Duration::from_millis(5), ..PATIENCE };
    let mut socket = rig.client_while(patience, Arc::clone(&may)).await;
    first(&mut rig, &mut socket).await;
    may.store(false, Ordering::SeqCst);
    loop {
        if let Message::Close(frame) = next(&mut socket).await {
            assert_eq!(frame.map(|frame| frame.code), Some(CloseCode::Policy));
            break;
        }
    }
    drop(socket);
    let hub = Arc::clone(&rig.hub);
    let idle = tokio::task::spawn_blocking(move || hub.await_idle(Duration::from_secs(20)));
    assert!(idle.await.expect("it waits"));
}

#[tokio::test]
async fn who_is_not_heard_is_dropped() {
    let rig = Rig::new();
    let patience =
        Patience { ping: Duration::from_millis(5), unheard: Duration::from_millis(50), ..PATIENCE };
    let _socket = rig.client(patience).await;
    // Nobody reads the pings, so none is answered.
    let hub = Arc::clone(&rig.hub);
    let idle = tokio::task::spawn_blocking(move || hub.await_idle(Duration::from_secs(20)));
    assert!(bounded(idle).await.expect("it waits"));
}

#[tokio::test]
async fn who_does_not_take_what_comes_is_dropped() {
    let mut rig = Rig::new();
    let patience = Patience { untaken: Duration::from_millis(50), ..PATIENCE };
    let _socket = rig.client(patience).await;
    let hub = Arc::clone(&rig.hub);
    let idle = tokio::task::spawn_blocking(move || hub.await_idle(Duration::from_secs(20)));
    // More than the buffers of a connection hold.
    for _ in 0..200 {
        rig.record(20, 4000);
        tokio::task::yield_now().await;
    }
    let mut told = 0;
    while !idle.is_finished() && told < 20_000 {
        rig.record(1, 4000);
        told += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(bounded(idle).await.expect("it waits"));
}
