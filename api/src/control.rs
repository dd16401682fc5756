//! What this server can have done by whoever records: cameras, holds, live tails. Defined here, implemented where both meet.
//!
//! Calls may block, some for seconds: they are made on threads that may wait. What is recorded is not asked here: that is read from the
//! volumes ([`keha_player::library::Library`]).

use keha_fs::disk::EngineInUse;
use keha_fs::{Hold, HoldId, HoldRequest, RoundReport, StreamName, Tail, WallTime};
use std::time::Duration;

/// Changes and tells what is being recorded. Whatever changes something fails with [`ControlError::Ending`] once that is being ended.
pub trait Control: Send + Sync + 'static {
    /// All cameras, by name.
    fn cameras(&self) -> Vec<Camera>;

    /// Adds a camera and begins to record it. When this returns it is there again after any crash.
    ///
    /// # Errors
    /// [`ControlError::Exists`], [`ControlError::Refused`] for a name, an address or a volume that does not do, and where the volume has
    /// no room for its streams; [`ControlError::Failed`].
    fn add_camera(&self, name: &str, camera: &CameraSettings) -> Result<(), ControlError>;

    /// Changes a camera that was added over HTTP. Streams whose address stays the same go on without a gap.
    ///
    /// # Errors
    /// As [`Control::add_camera`]; [`ControlError::Refused`] where a login is missing that may not be kept; [`ControlError::Unknown`]; [`ControlError::ReadOnly`] for a camera of the configuration file.
    fn change_camera(&self, name: &str, camera: &CameraSettings, keep: KeepLogin)
    -> Result<(), ControlError>;

    /// Ends the recording of a camera that was added over HTTP, and forgets it. Its footage stays.
    ///
    /// # Errors
    /// [`ControlError::Unknown`], [`ControlError::ReadOnly`], [`ControlError::Failed`].
    fn remove_camera(&self, name: &str) -> Result<(), ControlError>;

    /// Has a camera recorded on its own volume again that went on on another one because that had failed. When this returns it is so
    /// after any crash, too.
    ///
    /// # Errors
    /// [`ControlError::Unknown`]; [`ControlError::Conflict`] for a camera that was not moved, and where its own volume does not take it;
    /// [`ControlError::Unkept`]: it returned, but that is so only until the server is started again.
    fn return_camera(&self, name: &str) -> Result<(), ControlError>;

    /// Connects to an address and says what it offers. Records nothing. Takes some seconds at most.
    ///
    /// # Errors
    /// [`ControlError::Refused`] for an address that is none; [`ControlError::Failed`] with what the camera or the network said.
    fn test_camera(&self, url: &str, login: Option<&Login>) -> Result<Offer, ControlError>;

    /// Begins or ends the recording of one stream, until it is said otherwise. When this returns it is so after any crash, too.
    ///
    /// # Errors
    /// [`ControlError::Unknown`], [`ControlError::Failed`]; [`ControlError::Unkept`]: it is so until the server is started again.
    fn set_recording(&self, stream: &StreamName, on: bool) -> Result<(), ControlError>;

    /// Holds a range, in the volume that the stream is recorded into. See [`keha_fs::Writer::add_hold`].
    ///
    /// # Errors
    /// [`ControlError::Volume`]; [`ControlError::Unknown`] for a stream that no volume which is being written has;
    /// [`ControlError::Unkept`] where it reaches into what is to come and that cannot be noted: nothing is held then.
    fn add_hold(&self, request: HoldRequest) -> Result<Hold, ControlError>;

    /// Holds a range in this volume.
    ///
    /// # Errors
    /// [`ControlError::Volume`]; [`ControlError::Unknown`] for a volume that is not being written; [`ControlError::Unkept`] as there.
    fn add_hold_in(&self, volume: &str, request: HoldRequest) -> Result<Hold, ControlError>;

    /// Lifts a hold. Returns what it was. Where it reaches into what is to come, it goes on nowhere after any crash.
    ///
    /// # Errors
    /// [`ControlError::Volume`]; [`ControlError::Unknown`]; [`ControlError::Unkept`] where that cannot be noted: it stands as before then.
    fn lift_hold(&self, id: HoldId) -> Result<Hold, ControlError>;

    /// The newest samples of a stream from memory; `None` for a stream that is not recorded.
    fn tail(&self, stream: &StreamName) -> Option<Tail>;

    /// What is known of each volume's writing.
    fn volumes(&self) -> Vec<VolumeState>;
}

/// A camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// Its name.
    pub name: String,
    /// It stands in the configuration file, where alone it is changed. Else it was added over HTTP.
    pub read_only: bool,
    /// The volume it is recorded into.
    pub volume: String,
    /// The volume it is configured for.
    pub home: String,
    /// If that is another one: since when and why.
    pub moved: Option<Moved>,
    /// Its streams, the main one first.
    pub streams: Vec<Stream>,
}

/// A camera that goes on elsewhere because its own volume failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Since when.
    pub since: WallTime,
    /// What was wrong with its own volume.
    pub why: String,
}

/// A stream of a camera, and what it is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Its name: the camera's, or `camera/sub`.
    pub name: StreamName,
    /// Where it comes from, without any secret.
    pub url: String,
    /// What it is doing.
    pub state: StreamState,
    /// Since when.
    pub since: WallTime,
    /// Up to when there is footage of it, as far as is known.
    pub last_sample: Option<WallTime>,
    /// Why it is not recorded, or was not the last time, without any secret.
    pub last_error: Option<String>,
    /// Its tracks, as far as they are known.
    pub tracks: Vec<Track>,
    /// What was counted since the server was started.
    pub counts: Counts,
    /// Samples that were left out, by reason.
    pub drops: Vec<Drops>,
    /// Bits a second over the last seconds.
    pub bits_per_second: u64,
    /// Pictures a second over the last seconds.
    pub frames_per_second: f64,
    /// The camera's clock minus the server's in nanoseconds, as the camera last reported.
    pub camera_clock_offset_ns: Option<i64>,
}

/// What was counted of a stream since the server was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples recorded.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
    /// RTP packets lost on the way.
    pub lost_packets: u64,
    /// Samples left out because the disk did not keep up, or too large.
    pub dropped_samples: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Gaps begun.
    pub gaps: u64,
}

/// Samples that were left out for one reason since the server was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops {
    /// Why, in two or three words, as gaps have it.
    pub reason: &'static str,
    /// How many.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a stream is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamState {
    /// A session is being opened, or nothing has come in it yet.
    Connecting,
    /// Samples come.
    Recording,
    /// The last attempt failed; the next follows.
    Waiting {
        /// In how long, at the latest.
        retry_in: Duration,
        /// Why, in two or three words.
        reason: &'static str,
    },
    /// It is not to be recorded.
    Stopped,
    /// Its volume is not there, or takes nothing.
    NoVolume,
}

impl StreamState {
    /// The names of all, as clients are told them.
    pub(crate) const NAMES: [&str; 5] = ["connecting", "recording", "waiting", "stopped", "no_volume"];

    /// One of [`StreamState::NAMES`].
    pub(crate) fn name(&self) -> &'static str {
        match self {
            StreamState::Connecting => "connecting",
            StreamState::Recording => "recording",
            StreamState::Waiting { .. } => "waiting",
            StreamState::Stopped => "stopped",
            StreamState::NoVolume => "no_volume",
        }
    }
}

/// A track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What it is: `avc1`, `hvc1`, `mp4a`, `ulaw`, `alaw`.
    pub codec: String,
    /// Width of the picture in pixels, 0 for sound.
    pub width: u16,
    /// Height of the picture in pixels, 0 for sound.
    pub height: u16,
}

/// What a camera offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The tracks that would be recorded.
    pub tracks: Vec<Track>,
    /// The others, and why each would not be, without any secret.
    pub skipped: Vec<String>,
}

/// What a camera is to be.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraSettings {
    /// The address of its main stream; may contain a name and a password.
    pub url: String,
    /// Names and addresses of its further streams.
    pub streams: Vec<(String, String)>,
    /// Who logs in, where that is not in the address. In a change, `None` keeps who logged in before as far as [`KeepLogin`] allows.
    pub login: Option<Login>,
    /// The volume; the first one if `None`.
    pub volume: Option<String>,
}

/// When a change that names nobody who logs in keeps who did before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepLogin {
    /// Where no address names another host; else nobody logs in any more.
    SameHost,
    /// Where no address is new; else the change is refused. For those who may not have the password used for anything else: behind
    /// another path of a recorder is another camera.
    SameAddresses,
}

/// A name and a password for a camera.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// Shows no secret.
impl std::fmt::Debug for CameraSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CameraSettings").field("volume", &self.volume).finish_non_exhaustive()
    }
}

/// Shows no secret.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A volume, as far as it is being written.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeState {
    /// Its name.
    pub name: String,
    /// Why it is not being written, if so.
    pub failed: Option<String>,
    /// What does its I/O, while it is being written.
    pub io: Option<EngineInUse>,
    /// The last flush round.
    pub round: Option<RoundReport>,
    /// How long rounds took since the server was started.
    pub rounds: RoundTimes,
    /// How many cameras went on elsewhere because it failed, since the server was started.
    pub failovers: u64,
}

/// How long rounds took, as a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoundTimes {
    /// How many took at most as long as the bound of the same place in [`RoundTimes::BOUNDS_S`], and not the one before.
    pub counts: [u64; RoundTimes::BOUNDS_S.len()],
    /// How many took longer than the last bound.
    pub longer: u64,
    /// The sum of all, in seconds.
    pub sum_s: f64,
}

impl RoundTimes {
    /// The bounds, in seconds.
    pub const BOUNDS_S: [f64; 10] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

    /// Counts a round.
    pub fn count(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.sum_s += seconds;
        let bound = Self::BOUNDS_S.iter().position(|bound| seconds <= *bound);
        match bound.and_then(|bound| self.counts.get_mut(bound)) {
            Some(count) => *count += 1,
            None => self.longer += 1,
        }
    }
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is one of that name already.
    #[error("there is a camera {0} already")]
    Exists(String),
    /// There is none of that name.
    #[error("there is no {0}")]
    Unknown(String),
    /// The configuration file has it, and is changed there alone.
    #[error("{0} stands in the configuration file: change it there, and reload the server")]
    ReadOnly(String),
    /// As things are now it cannot be done.
    #[error("{0}")]
    Conflict(String),
    /// What was given does not do.
    #[error("{0}")]
    Refused(String),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// It may stand in these volumes, which do not answer.
    #[error("{}: no answer, and it may stand there", .0.join(", "))]
    Away(Vec<String>),
    /// What has to outlive the server is not written to the state directory.
    #[error("{what}: {source}")]
    Unkept {
        /// What became of what was asked.
        what: String,
        /// What is wrong.
        source: crate::Error,
    },
    /// Recording is being ended: nothing is changed any more.
    #[error("the server is being stopped: ask again when it is back")]
    Ending,
    /// The volume refused or failed.
    #[error(transparent)]
    Volume(#[from] keha_fs::Error),
}
