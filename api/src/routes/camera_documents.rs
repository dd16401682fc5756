//! Cameras as JSON, in both directions. What goes out never holds a secret.

use crate::auth::Grant;
use crate::control::{Camera, CameraSettings, Drops, Login, Moved, Stream, StreamState, Track};
use crate::extract::path_name;
use crate::problem::Problem;
use axum::http::StatusCode;
use keha_player::units::time::rfc3339;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is told of a volume to those who may not know of it.
const NO_VOLUME: &str =
    "its volume is not there, or has no room for it; an administrator of all cameras is told more";

/// A camera.
#[derive(Serialize, ToSchema)]
pub(super) struct CameraDocument {
    name: String,
    /// It stands in the configuration file, where alone it is changed.
    read_only: bool,
    /// The volume it is recorded into.
    volume: String,
    /// The volume it is configured for.
    home: String,
    /// Of a camera that goes on elsewhere because its own volume failed: that, in words.
    moved: Option<MovedDocument>,
    /// Its streams, the main one first.
    streams: Vec<StreamDocument>,
}

/// That a camera goes on elsewhere until somebody has it return.
#[derive(Serialize, ToSchema)]
struct MovedDocument {
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
    /// What was wrong with its own volume.
    why: String,
    /// For people: `recorded on archive since 2026-03-01T12:00:00Z because main failed: its disk fails`.
    text: String,
}

/// A stream of a camera.
#[derive(Serialize, ToSchema)]
struct StreamDocument {
    /// As paths have it: `main`, or the name of a further stream.
    name: String,
    /// Where it comes from, without secrets.
    url: String,
    /// `connecting`, `recording`, `waiting` (the last attempt failed, the next follows), `stopped`, `no_volume`.
    state: &'static str,
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
    /// Up to when there is footage of it, as far as is known; null if there never was any, or its volume is not open.
    #[schema(format = DateTime)]
    last_sample: Option<String>,
    /// Of a stream that waits: why.
    reason: Option<&'static str>,
    /// Of a stream that waits: in how many seconds it is tried again at the latest.
    retry_in_s: Option<f64>,
    /// What went wrong last.
    last_error: Option<String>,
    tracks: Vec<TrackDocument>,
    bits_per_second: u64,
    frames_per_second: f64,
    /// Samples recorded since the server was started.
    samples: u64,
    /// Their bytes.
    bytes: u64,
    /// RTP packets lost on the way.
    lost_packets: u64,
    /// Samples left out because the disk did not keep up, or too large.
    dropped_samples: u64,
    /// The same by reason.
    drops: Vec<DropsDocument>,
    /// Gaps begun.
    gaps: u64,
    /// The camera's clock minus the server's, in seconds, as the camera last reported.
    camera_clock_offset_s: Option<f64>,
}

/// Samples that were left out for one reason since the server was started.
#[derive(Serialize, ToSchema)]
struct DropsDocument {
    /// As gaps have it: `overload` (the disk did not keep up), `sample too large`, `protocol` (nobody could have decoded them).
    reason: &'static str,
    samples: u64,
    bytes: u64,
}

/// A track.
#[derive(Serialize, ToSchema)]
pub(super) struct TrackDocument {
    /// `avc1` (H.264), `hvc1` (H.265), `mp4a` (AAC), `ulaw`, `alaw` (G.711).
    codec: String,
    /// In pixels; 0 for sound.
    width: u16,
    /// In pixels; 0 for sound.
    height: u16,
}

/// What a camera is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCamera {
    /// Its name: a-z, 0-9, `_` and `-`, at most 63. In a change it may be left out.
    name: Option<String>,
    /// The address of its main stream: `rtsp://host/path`.
    url: String,
    /// Its further streams.
    #[serde(default)]
    streams: Vec<NewStream>,
    /// Who logs in, where that is not in the address.
    username: Option<String>,
    /// With which password. It is never told again.
    #[schema(write_only)]
    password: Option<String>,
    /// The volume to record into; the first one if left out.
    volume: Option<String>,
}

/// A further stream of a camera.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewStream {
    /// Its name; not `main`.
    name: String,
    /// Its address.
    url: String,
}

impl CameraDocument {
    /// As this one may see it: what is wrong with a volume, of which the text names the path, is for those who administer all cameras.
    pub(super) fn new(camera: &Camera, grant: &Grant) -> CameraDocument {
        CameraDocument {
            name: camera.name.clone(),
            read_only: camera.read_only,
            volume: camera.volume.clone(),
            home: camera.home.clone(),
            moved: camera.moved.as_ref().map(|moved| MovedDocument::new(camera, moved)),
            streams: camera.streams.iter().map(|stream| StreamDocument::new(stream, grant)).collect(),
        }
    }
}

impl MovedDocument {
    fn new(camera: &Camera, moved: &Moved) -> MovedDocument {
        let (since, why) = (rfc3339(moved.since), moved.why.clone());
        let text =
            format!("recorded on {} since {since} because {} failed: {why}", camera.volume, camera.home);
        MovedDocument { since, why, text }
    }
}

impl StreamDocument {
    fn new(stream: &Stream, grant: &Grant) -> StreamDocument {
        let (reason, retry_in_s) = match &stream.state {
            StreamState::Waiting { retry_in, reason } => (Some(*reason), Some(retry_in.as_secs_f64())),
            _ => (None, None),
        };
        StreamDocument {
            name: path_name(&stream.name).to_owned(),
            url: stream.url.clone(),
            state: stream.state.name(),
            since: rfc3339(stream.since),
            last_sample: stream.last_sample.map(rfc3339),
            reason,
            retry_in_s,
            last_error: if stream.state == StreamState::NoVolume && !grant.may_administer() {
                Some(NO_VOLUME.to_owned())
            } else {
                stream.last_error.clone()
            },
            tracks: stream.tracks.iter().map(TrackDocument::new).collect(),
            bits_per_second: stream.bits_per_second,
            frames_per_second: stream.frames_per_second,
            samples: stream.counts.samples,
            bytes: stream.counts.bytes,
            lost_packets: stream.counts.lost_packets,
            dropped_samples: stream.counts.dropped_samples,
            drops: stream.drops.iter().map(DropsDocument::new).collect(),
            gaps: stream.counts.gaps,
            camera_clock_offset_s: stream.camera_clock_offset_ns.map(|ns| ns as f64 / 1e9),
        }
    }
}

impl DropsDocument {
    fn new(drops: &Drops) -> DropsDocument {
        DropsDocument { reason: drops.reason, samples: drops.samples, bytes: drops.bytes }
    }
}

impl TrackDocument {
    pub(super) fn new(track: &Track) -> TrackDocument {
        TrackDocument { codec: track.codec.clone(), width: track.width, height: track.height }
    }
}

impl NewCamera {
    /// A camera to add: its name is in the body.
    pub(super) fn named(self) -> Result<(String, CameraSettings), Problem> {
        let name = self.name.clone().ok_or_else(|| refused("name: a new camera needs one"))?;
        Ok((name, self.settings()))
    }

    /// What is to be changed of a camera that the path names: the body may repeat its name.
    pub(super) fn of(self, camera: &str) -> Result<CameraSettings, Problem> {
        match &self.name {
            Some(name) if name != camera => Err(refused(
                "name: a camera keeps its name, under which its footage stands; add another one instead",
            )),
            _ => Ok(self.settings()),
        }
    }

    fn settings(self) -> CameraSettings {
        let NewCamera { url, streams, username, password, volume, .. } = self;
        CameraSettings {
            url,
            streams: streams.into_iter().map(|stream| (stream.name, stream.url)).collect(),
            login: username.map(|username| Login { username, password: password.unwrap_or_default() }),
            volume,
        }
    }
}

fn refused(why: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)
}

#[cfg(test)]
mod tests {
    use super::{CameraDocument, rfc3339};
    use crate::auth::{Cameras, Grant, Role};
    use crate::control::{Camera, Control, Moved, StreamState};
    use crate::testing::FakeControl;
    use keha_fs::WallTime;

    #[test]
    fn of_a_stream_it_is_told_when_its_last_sample_came_and_what_was_left_out_for_which_reason() {
        let mut camera: Camera = FakeControl::default().cameras().remove(0);
        let told = |camera: &Camera| {
            let grant = Grant { role: Role::Viewer, cameras: Cameras::All };
            serde_json::to_value(CameraDocument::new(camera, &grant)).expect("a document")["streams"][0]
                .clone()
        };
        let stream = told(&camera);
        assert_eq!(stream["last_sample"], rfc3339(camera.streams[0].last_sample.expect("one")));
        let drops = serde_json::json!([{"reason": "overload", "samples": 0, "bytes": 0}]);
        assert_eq!(stream["drops"], drops);
        camera.streams[0].last_sample = None;
        assert!(told(&camera)["last_sample"].is_null());
    }

    #[test]
    fn a_camera_that_goes_on_elsewhere_says_since_when_and_why() {
        let mut camera: Camera = FakeControl::default().cameras().remove(0);
        let told = |camera: &Camera| {
            let grant = Grant { role: Role::Viewer, cameras: Cameras::All };
            serde_json::to_value(CameraDocument::new(camera, &grant)).expect("a document")
        };
        assert!(told(&camera)["moved"].is_null());
        camera.volume = "archive".to_owned();
        camera.moved =
            Some(Moved { since: WallTime(1_793_489_400_000_000_000), why: "it is not open".to_owned() });
        let told = told(&camera);
        assert_eq!((&told["home"], &told["volume"]), (&"attic".into(), &"archive".into()));
        let text =
            "recorded on archive since 2026-10-31T23:30:00.000000000Z because attic failed: it is not open";
        assert_eq!(told["moved"]["text"], text);
    }

    #[test]
    fn where_a_volume_is_nobody_learns_who_administers_some_cameras_alone() {
        let mut camera: Camera = FakeControl::default().cameras().remove(0);
        camera.streams[0].state = StreamState::NoVolume;
        camera.streams[0].last_error = Some("/srv/attic.ring: cannot open".to_owned());
        let told = |cameras| {
            let document = CameraDocument::new(&camera, &Grant { role: Role::Admin, cameras });
            document.streams[0].last_error.clone().expect("an error")
        };
        assert!(told(Cameras::All).contains("/srv/attic.ring"));
        assert!(!told(Cameras::Only(["door".to_owned()].into())).contains("attic"));
    }
}
