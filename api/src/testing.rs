//! A control that records nothing, for the tests of what is asked over HTTP.

use crate::control::{
    Camera, CameraSettings, Control, ControlError, Counts, Login, Stream, StreamState, Track, VolumeState,
};
use keha_fs::{Hold, HoldId, HoldRequest, StreamName, Tail, WallTime};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Cameras `door` and `yard` of a configuration file, and those that are added.
#[derive(Default)]
pub(crate) struct FakeControl {
    added: Mutex<BTreeMap<String, CameraSettings>>,
    holds: Mutex<Vec<Hold>>,
}

impl FakeControl {
    fn added(&self) -> MutexGuard<'_, BTreeMap<String, CameraSettings>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self) -> MutexGuard<'_, Vec<Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changeable(
        &self,
        name: &str,
    ) -> Result<MutexGuard<'_, BTreeMap<String, CameraSettings>>, ControlError> {
        let added = self.added();
        match name {
            "door" | "yard" => Err(ControlError::ReadOnly(format!("camera {name}"))),
            _ if !added.contains_key(name) => Err(ControlError::Unknown(format!("camera {name}"))),
            _ => Ok(added),
        }
    }
}

fn camera(name: &str, read_only: bool) -> Camera {
    let stream = Stream {
        name: StreamName::new(name).expect("a name"),
        url: format!("rtsp://***@{name}.example/main"),
        state: StreamState::Recording,
        since: WallTime(1_793_489_400_000_000_000),
        last_error: None,
        tracks: vec![Track { codec: "avc1".to_owned(), width: 1280, height: 720 }],
        counts: Counts { samples: 25, bytes: 1000, ..Counts::default() },
        bits_per_second: 4_000_000,
        frames_per_second: 25.0,
        camera_clock_offset_ns: None,
    };
    Camera { name: name.to_owned(), read_only, volume: "attic".to_owned(), streams: vec![stream] }
}

impl Control for FakeControl {
    fn cameras(&self) -> Vec<Camera> {
        let added = self.added();
        let added = added.keys().map(|name| camera(name, false));
        [camera("door", true), camera("yard", true)].into_iter().chain(added).collect()
    }

    fn add_camera(&self, name: &str, settings: &CameraSettings) -> Result<(), ControlError> {
        if self.cameras().iter().any(|camera| camera.name == name) {
            return Err(ControlError::Exists(name.to_owned()));
        }
        if !settings.url.starts_with("rtsp://") {
            return Err(ControlError::Refused("use rtsp://".to_owned()));
        }
        self.added().insert(name.to_owned(), settings.clone());
        Ok(())
    }

    fn change_camera(&self, name: &str, settings: &CameraSettings) -> Result<(), ControlError> {
        self.changeable(name)?.insert(name.to_owned(), settings.clone());
        Ok(())
    }

    fn remove_camera(&self, name: &str) -> Result<(), ControlError> {
        self.changeable(name)?.remove(name);
        Ok(())
    }

    fn test_camera(&self, _: &str, _: Option<&Login>) -> Result<Vec<Track>, ControlError> {
        Ok(vec![Track { codec: "hvc1".to_owned(), width: 1920, height: 1080 }])
    }

    fn set_recording(&self, stream: &StreamName, _: bool) -> Result<(), ControlError> {
        let known =
            self.cameras().iter().flat_map(|camera| &camera.streams).any(|known| known.name == *stream);
        if known { Ok(()) } else { Err(ControlError::Unknown(format!("stream {stream}"))) }
    }

    fn add_hold(&self, request: HoldRequest) -> Result<Hold, ControlError> {
        let hold = Hold { label: request.label, ..Hold::default() };
        self.holds().push(hold.clone());
        Ok(hold)
    }

    fn lift_hold(&self, id: HoldId) -> Result<Hold, ControlError> {
        let hold = self.holds().pop();
        hold.ok_or(ControlError::Volume(keha_fs::Error::NoSuchHold { id }))
    }

    fn tail(&self, _: &StreamName) -> Option<Tail> {
        None
    }

    fn volumes(&self) -> Vec<VolumeState> {
        vec![VolumeState { name: "attic".to_owned(), failed: None, round: None, rounds: Default::default() }]
    }
}
