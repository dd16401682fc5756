//! The control socket: how a running recorder answers other `keha` commands.
//!
//! The process that writes a volume owns a Unix socket named after the volume's identity. A client sends one JSON document a
//! line and gets one back. Both sides bound sizes and time: a silent, slow or babbling peer costs a thread for two seconds.
//! Nothing here records or knows a camera.

pub(crate) mod client;
pub(crate) mod path;
pub(crate) mod server;

use keha_fs::{
    BadStreamName, EraseRequest, Erased, HoldRequest, Retention, RetentionRequest, StreamName, Uuid, WallTime,
};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most bytes of a request, its newline included.
const REQUEST_BYTES_MAX: usize = 4 << 10;
/// The most bytes of an answer: a thousand cameras fit in easily.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a client waits for a change to stand: rounds on a slow disk, and then the disk of the state directory.
const HOLD_PATIENCE: Duration = Duration::from_secs(75);

/// Which file a volume is, whatever path leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIdentity {
    /// The device that it lies on (stat(2), `st_dev`).
    pub(crate) device: u64,
    /// Its inode there.
    pub(crate) inode: u64,
}

impl FileIdentity {
    /// That of the file at `path`; nothing of it is read.
    ///
    /// # Errors
    /// Those of looking it up.
    pub(crate) fn of(path: &Path) -> io::Result<FileIdentity> {
        let metadata = std::fs::metadata(path)?;
        Ok(FileIdentity { device: metadata.dev(), inode: metadata.ino() })
    }
}
/// How long a client waits for footage to be overwritten: as long as terabytes take.
const ERASE_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub(crate) enum Request {
    /// What the recorder is doing.
    Status,
    /// Hold a range of footage.
    HoldAdd(HoldOrder),
    /// Lift a hold.
    HoldLift {
        /// Which.
        #[serde(with = "uuid_text")]
        id: Uuid,
    },
    /// Say how long a stream's footage stays.
    StreamSet(RetentionOrder),
    /// Erase a range of footage.
    Erase(EraseOrder),
    /// Record a camera on the volume that it is configured for again.
    CameraReturn {
        /// Its name.
        camera: String,
    },
}

impl Request {
    /// How long an answer may take.
    fn patience(&self) -> Duration {
        match self {
            Request::Status => PATIENCE,
            Request::HoldAdd(_)
            | Request::HoldLift { .. }
            | Request::StreamSet(_)
            | Request::CameraReturn { .. } => HOLD_PATIENCE,
            Request::Erase(_) => ERASE_PATIENCE,
        }
    }
}

/// What a hold shall keep, on its way to the recorder. Moments are UTC nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoldOrder {
    stream: String,
    from_ns: i64,
    to_ns: i64,
    label: String,
    expires_ns: Option<i64>,
}

impl HoldOrder {
    pub(crate) fn new(request: &HoldRequest) -> HoldOrder {
        HoldOrder {
            stream: request.stream.to_string(),
            from_ns: request.from.0,
            to_ns: request.to.0,
            label: request.label.clone(),
            expires_ns: request.expires.map(|expires| expires.0),
        }
    }

    /// What is asked for.
    ///
    /// # Errors
    /// The name is no stream's.
    pub(crate) fn request(&self) -> Result<HoldRequest, BadStreamName> {
        Ok(HoldRequest {
            stream: StreamName::new(&self.stream)?,
            from: WallTime(self.from_ns),
            to: WallTime(self.to_ns),
            label: self.label.clone(),
            expires: self.expires_ns.map(WallTime),
        })
    }
}

/// How long a stream's footage shall stay, on its way to the recorder; 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetentionOrder {
    stream: String,
    quota_bytes: u64,
    minimum_age_s: u64,
    maximum_age_s: u64,
}

impl RetentionOrder {
    pub(crate) fn new(request: &RetentionRequest) -> RetentionOrder {
        let Retention { quota_bytes, minimum_age_s, maximum_age_s } = request.retention;
        RetentionOrder { stream: request.stream.to_string(), quota_bytes, minimum_age_s, maximum_age_s }
    }

    /// What is asked for.
    ///
    /// # Errors
    /// The name is no stream's.
    pub(crate) fn request(&self) -> Result<RetentionRequest, BadStreamName> {
        let RetentionOrder { quota_bytes, minimum_age_s, maximum_age_s, .. } = *self;
        let retention = Retention { quota_bytes, minimum_age_s, maximum_age_s };
        Ok(RetentionRequest { stream: StreamName::new(&self.stream)?, retention })
    }
}

/// What shall be erased, on its way to the recorder. Moments are UTC nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EraseOrder {
    stream: String,
    from_ns: i64,
    to_ns: i64,
}

impl EraseOrder {
    pub(crate) fn new(request: &EraseRequest) -> EraseOrder {
        EraseOrder { stream: request.stream.to_string(), from_ns: request.from.0, to_ns: request.to.0 }
    }

    /// What is asked for.
    ///
    /// # Errors
    /// The name is no stream's.
    pub(crate) fn request(&self) -> Result<EraseRequest, BadStreamName> {
        let (from, to) = (WallTime(self.from_ns), WallTime(self.to_ns));
        Ok(EraseRequest { stream: StreamName::new(&self.stream)?, from, to })
    }
}

/// What was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErasedAnswer {
    blocks: u32,
    samples: u64,
    payload_bytes: u64,
    from_ns: Option<i64>,
    to_ns: Option<i64>,
}

impl From<Erased> for ErasedAnswer {
    fn from(erased: Erased) -> ErasedAnswer {
        let Erased { blocks, samples, payload_bytes, from, to } = erased;
        let (from_ns, to_ns) = (from.map(|from| from.0), to.map(|to| to.0));
        ErasedAnswer { blocks, samples, payload_bytes, from_ns, to_ns }
    }
}

impl From<ErasedAnswer> for Erased {
    fn from(answer: ErasedAnswer) -> Erased {
        let ErasedAnswer { blocks, samples, payload_bytes, from_ns, to_ns } = answer;
        Erased { blocks, samples, payload_bytes, from: from_ns.map(WallTime), to: to_ns.map(WallTime) }
    }
}

/// What is answered to requests that change something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema")]
pub(crate) enum Answer {
    /// It is done.
    #[serde(rename = "keha.hold/1")]
    Hold {
        /// The hold in question.
        #[serde(with = "uuid_text")]
        id: Uuid,
    },
    /// It is done.
    #[serde(rename = "keha.done/1")]
    Done {},
    /// Footage is overwritten.
    #[serde(rename = "keha.erased/1")]
    Erased(ErasedAnswer),
    /// It could not be done.
    #[serde(rename = "keha.error/1")]
    Error {
        /// Why, as one line.
        error: String,
        /// The exit status that this stands for.
        #[serde(default = "exit_failed")]
        exit: u8,
        /// Whether it is known that nothing changed.
        #[serde(default)]
        known: bool,
    },
}

/// Identities as text.
mod uuid_text {
    use keha_fs::Uuid;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("no identity"))
    }
}

fn exit_failed() -> u8 {
    crate::failure::Exit::Failed as u8
}

impl Answer {
    /// As a document of one line.
    pub(crate) fn render(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{\"schema\":\"keha.error/1\",\"error\":\"\"}".into())
    }
}

/// Reads lines that come in whatever pieces.
struct LineReader<'a> {
    stream: &'a UnixStream,
    buffered: BufReader<&'a UnixStream>,
}

impl<'a> LineReader<'a> {
    fn new(stream: &'a UnixStream) -> LineReader<'a> {
        LineReader { stream, buffered: BufReader::new(stream) }
    }

    /// The next line, of at most `bytes_max` bytes, if all of it comes within `patience`; empty at the end of the stream.
    fn line(&mut self, bytes_max: usize, patience: Duration) -> io::Result<String> {
        let begin = Instant::now();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let left = patience.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let there = self.buffered.fill_buf()?;
            if there.is_empty() {
                break;
            }
            let length = there.iter().position(|byte| *byte == b'\n').map_or(there.len(), |at| at + 1);
            line.extend_from_slice(there.get(..length).unwrap_or_default());
            self.buffered.consume(length);
            if line.len() > bytes_max {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
            }
        }
        String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the line is no text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    fn serve() -> (tempfile::TempDir, std::path::PathBuf, server::Server) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.sock");
        let answer = Box::new(|request: Request| match request {
            Request::Status => "{\"schema\":\"x\"}".to_owned(),
            Request::HoldAdd(order) => Answer::Error { error: order.label, exit: 4, known: true }.render(),
            Request::HoldLift { id } => Answer::Hold { id }.render(),
            Request::StreamSet(_) => Answer::Done {}.render(),
            Request::Erase(_) => Answer::Erased(erased().into()).render(),
            Request::CameraReturn { .. } => Answer::Done {}.render(),
        });
        let server = server::Server::start(&path, answer).expect("a server");
        (dir, path, server)
    }

    #[test]
    fn a_request_is_answered_and_the_socket_goes_with_its_owner() {
        let (_dir, path, server) = serve();
        assert_eq!(client::ask(&path, &Request::Status).expect("an answer"), "{\"schema\":\"x\"}");
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_asked_about_holds_arrives_whole_and_so_does_the_answer() {
        let (_dir, path, _server) = serve();
        let request = HoldRequest {
            stream: StreamName::new("front/sub").expect("a constant"),
            from: WallTime(i64::MIN),
            to: WallTime(7),
            label: "\"\u{e4}\" ".repeat(25),
            expires: Some(WallTime(i64::MAX)),
        };
        let order = HoldOrder::new(&request);
        assert_eq!(order.request().expect("a good name"), request);
        let answer = client::ask(&path, &Request::HoldAdd(order)).expect("an answer");
        let read: Answer = serde_json::from_str(&answer).expect("a known answer");
        assert_eq!(read, Answer::Error { error: request.label, exit: 4, known: true });
        let id = Uuid::from_u128(77);
        let answer = client::ask(&path, &Request::HoldLift { id }).expect("an answer");
        assert_eq!(serde_json::from_str::<Answer>(&answer).expect("a known answer"), Answer::Hold { id });
    }

    #[test]
    fn several_requests_at_once_are_each_answered() {
        let (_dir, path, _server) = serve();
        let mut stream = UnixStream::connect(&path).expect("a connection");
        stream.write_all(b"{\"request\":\"status\"}\n{\"request\":\"status\"}\n").expect("it is taken");
        let mut reader = LineReader::new(&stream);
        for _ in 0..2 {
            assert_eq!(reader.line(100, PATIENCE).expect("an answer"), "{\"schema\":\"x\"}\n");
        }
    }

    #[test]
    fn a_peer_that_drips_is_given_up_in_time() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let dripping = std::thread::spawn(move || {
            while theirs.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let read = LineReader::new(&ours).line(1000, Duration::from_millis(200));
        assert!(read.is_err_and(|error| {
            matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
        }));
        drop(ours);
        dripping.join().expect("it ends when nobody listens");
    }

    fn erased() -> Erased {
        Erased { blocks: 1, samples: 2, payload_bytes: 3, from: Some(WallTime(-4)), to: None }
    }

    #[test]
    fn what_is_asked_to_be_erased_arrives_whole_and_so_does_the_answer() {
        let (_dir, path, _server) = serve();
        let stream = StreamName::new("front").expect("a constant");
        let request = EraseRequest { stream, from: WallTime(i64::MIN), to: WallTime(5) };
        let order = EraseOrder::new(&request);
        assert_eq!(order.request().expect("a good name"), request);
        let answer = client::ask(&path, &Request::Erase(order)).expect("an answer");
        let Ok(Answer::Erased(answer)) = serde_json::from_str(&answer) else { panic!("{answer}") };
        assert_eq!(Erased::from(answer), erased());
    }

    #[test]
    fn what_is_asked_about_retention_arrives_whole() {
        let (_dir, path, _server) = serve();
        let retention = Retention { quota_bytes: u64::MAX, minimum_age_s: 1, maximum_age_s: 2 };
        let request = RetentionRequest { stream: StreamName::new("front").expect("a constant"), retention };
        let order = RetentionOrder::new(&request);
        assert_eq!(order.request().expect("a good name"), request);
        let answer = client::ask(&path, &Request::StreamSet(order)).expect("an answer");
        assert_eq!(serde_json::from_str::<Answer>(&answer).expect("a known answer"), Answer::Done {});
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.sock");
        drop(UnixListener::bind(&path).expect("a socket that is left behind"));
        assert!(client::ask(&path, &Request::Status).is_err());
        let server = server::Server::start(&path, Box::new(|_| "{}".into())).expect("a server");
        assert_eq!(client::ask(&path, &Request::Status).expect("an answer"), "{}");
        drop(server);
    }

    #[test]
    fn the_socket_of_a_successor_is_left_alone() {
        let (_dir, path, first) = serve();
        let second = server::Server::start(&path, Box::new(|_| "{}".into())).expect("a server");
        drop(first);
        assert_eq!(client::ask(&path, &Request::Status).expect("an answer"), "{}");
        drop(second);
    }

    #[test]
    fn nonsense_gets_an_error_and_harms_nobody() {
        let (_dir, path, _server) = serve();
        let long = vec![b'x'; 2 * REQUEST_BYTES_MAX];
        for nonsense in [&b"{}\n"[..], b"\xff\xfe\n", b"{\"request\":\"self_destruct\"}\n", b"\n", &long] {
            let mut stream = UnixStream::connect(&path).expect("a connection");
            // The server may hang up before all of it is sent.
            let _ = stream.write_all(nonsense);
            let mut answer = String::new();
            if stream.read_to_string(&mut answer).is_ok() {
                assert!(answer.is_empty() || answer.contains("error"), "{answer}");
            }
        }
        assert!(client::ask(&path, &Request::Status).is_ok());
    }

    #[test]
    fn more_clients_than_places_are_turned_away_and_silence_takes_no_place_for_ever() {
        let (_dir, path, _server) = serve();
        let silent: Vec<UnixStream> =
            (0..2 * server::CLIENTS_MAX).map(|_| UnixStream::connect(&path).expect("a connection")).collect();
        let answered = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            client::ask(&path, &Request::Status).is_ok()
        });
        assert!(answered);
        drop(silent);
    }
}
