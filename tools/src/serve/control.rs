//! What the HTTP interface has done by whoever records: [`Control`] over a [`Station`].
//!
//! Cameras of the configuration file are read-only here; the others live in the state directory. What is added is recorded
//! first and kept then: a camera that cannot be recorded is refused, and one that is answered for survives a crash. What is waited for
//! until it is kept holds up nothing but who changes cameras, too: that disk may be the one that fails. While the station ends nothing is changed: what fails then fails for that, whatever it says.

use super::kept::KeptCamera;
use super::slot::Slot;
use super::station::{ASSIGNED, CameraInVolume, Station, wanted_of};
use crate::failure;
use crate::recording::Live;
use crate::secret;
use keha_api::control::{
    Camera, CameraSettings, Control, ControlError, Counts, Drops, KeepLogin, Login, Moved, Offer, Stream,
    StreamState, Track, VolumeState,
};
use keha_fs::{Error, Hold, HoldId, HoldRequest, StreamName, Tail, WallTime};
use keha_recorder::{CameraUrl, Credentials, NoOffer, Secret, StreamStatus};
use std::sync::Arc;
use std::time::Duration;

/// How long a camera that is tried may take.
const TRIED: Duration = Duration::from_secs(10);

impl Control for Station {
    fn cameras(&self) -> Vec<Camera> {
        let wanted = self.wanted().clone();
        let slots = self.slots();
        let statuses: Vec<StreamStatus> =
            slots.iter().flat_map(|slot| slot.live().as_ref().map(status).unwrap_or_default()).collect();
        let camera = |(name, wanted): (String, CameraInVolume)| {
            let slot = slots.iter().find(|slot| slot.name == wanted.volume);
            let (since, trouble) = slot.map_or_else(
                || (self.applied(), Some("there is no such volume".to_owned())),
                |slot| slot.why_not(&name),
            );
            let streams = wanted.camera.streams().map(|(name, url)| {
                let status = statuses.iter().find(|status| status.name == *name);
                status.map_or_else(|| absent(name, url, since, trouble.clone()), stream)
            });
            let moved = wanted.moved.map(|moved| Moved { since: moved.since(), why: moved.why });
            let streams = streams.collect();
            let (read_only, volume, home) = (wanted.read_only, wanted.volume, wanted.home);
            Camera { name, read_only, volume, home, moved, streams }
        };
        wanted.into_iter().map(camera).collect()
    }

    fn add_camera(&self, name: &str, settings: &CameraSettings) -> Result<(), ControlError> {
        self.unless_ending(|| {
            let _edit = self.edit();
            if self.wanted().contains_key(name) {
                return Err(ControlError::Exists(name.to_owned()));
            }
            let kept = KeptCamera::new(settings, self.volume_for(settings.volume.as_deref())?.name.clone());
            self.put(name, kept, None)
        })
    }

    fn change_camera(
        &self,
        name: &str,
        settings: &CameraSettings,
        keep: KeepLogin,
    ) -> Result<(), ControlError> {
        self.unless_ending(|| {
            let _edit = self.edit();
            let before = self.changeable(name)?;
            let volume = self.volume_for(settings.volume.as_deref().or(Some(before.volume.as_str())))?;
            let kept = KeptCamera::new(settings, volume.name.clone()).or_login_of(&before, keep)?;
            self.put(name, kept, Some(&before))
        })
    }

    fn remove_camera(&self, name: &str) -> Result<(), ControlError> {
        self.unless_ending(|| {
            let _edit = self.edit();
            self.changeable(name)?;
            self.kept.change(|cameras| drop(cameras.remove(name))).map_err(failed)?;
            {
                let _change = self.change();
                self.wanted().remove(name);
                self.moves.forget(name);
                self.stopped.change(|streams| streams.retain(|stream| stream.camera() != name));
                self.bring_all();
            }
            self.moves.soon();
            self.stopped.soon();
            Ok(())
        })
    }

    fn return_camera(&self, name: &str) -> Result<(), ControlError> {
        self.unless_ending(|| self.bring_home(name))
    }

    fn test_camera(&self, url: &str, login: Option<&Login>) -> Result<Offer, ControlError> {
        crate::config::cameras::remember_password_of(url);
        let url = CameraUrl::parse(url).map_err(refused)?;
        let credentials = login.map(|login| {
            secret::remember_password(&login.username, &login.password);
            Credentials { username: login.username.clone(), password: Secret::new(login.password.as_str()) }
        });
        let offer = keha_recorder::offer(&url, credentials.as_ref(), TRIED);
        let offer = offer.map_err(|error: NoOffer| failed(error))?;
        let track = |track: keha_recorder::OfferedTrack| Track {
            codec: track.codec,
            width: track.width,
            height: track.height,
        };
        let skipped = offer.skipped.iter().map(|why| failure::one_line(&secret::mask(why)));
        Ok(Offer { skipped: skipped.collect(), tracks: offer.tracks.into_iter().map(track).collect() })
    }

    fn set_recording(&self, stream: &StreamName, on: bool) -> Result<(), ControlError> {
        self.unless_ending(|| {
            let change = self.change();
            let unknown = || ControlError::Unknown(format!("stream {stream}"));
            let wanted = self.wanted().get(stream.camera()).cloned().ok_or_else(unknown)?;
            if !wanted.camera.streams().any(|(name, _)| name == stream) {
                return Err(unknown());
            }
            let slot = self.slot(&wanted.volume);
            if let Some(live) = slot.as_ref().map(|slot| slot.live()).as_ref().and_then(|live| live.as_ref())
            {
                let done = if on {
                    live.recorder.start_stream(&live.writer, stream)
                } else {
                    live.recorder.stop_stream(stream)
                };
                done.map_err(failed)?;
            }
            if !on {
                self.tell_stopped(stream);
            }
            self.stopped.change(|streams| {
                if on {
                    streams.remove(stream)
                } else {
                    streams.insert(stream.clone())
                };
            });
            drop(change);
            self.stopped.keep().map_err(|source| {
                let what = "it is so only until the server is started again".to_owned();
                ControlError::Unkept { what, source }
            })
        })
    }

    fn add_hold(&self, request: HoldRequest) -> Result<Hold, ControlError> {
        self.unless_ending(|| {
            let name = request.stream.clone();
            for slot in self.those_of(&name) {
                let Some(holder) = slot.live().as_ref().map(|live| live.writer.holder()) else { continue };
                match self.hold_in(&slot.name, &holder, request.clone()) {
                    Err(ControlError::Volume(Error::NoSuchStream { .. })) => {}
                    done => return done,
                }
            }
            Err(ControlError::Unknown(format!("stream {name} in a volume that is being written")))
        })
    }

    fn add_hold_in(&self, volume: &str, request: HoldRequest) -> Result<Hold, ControlError> {
        self.unless_ending(|| {
            let slot = self.slot(volume);
            let holder = slot.and_then(|slot| slot.live().as_ref().map(|live| live.writer.holder()));
            let unknown = || ControlError::Unknown(format!("volume {volume} that is being written"));
            self.hold_in(volume, &holder.ok_or_else(unknown)?, request)
        })
    }

    fn lift_hold(&self, id: HoldId) -> Result<Hold, ControlError> {
        self.unless_ending(|| self.lifting(id, || self.lift_wherever(id))?)
    }

    fn tail(&self, stream: &StreamName) -> Option<Tail> {
        let tail = |slot: &Arc<Slot>| slot.live().as_ref().and_then(|live| live.recorder.tail(stream));
        self.those_of(stream).iter().find_map(tail)
    }

    fn volumes(&self) -> Vec<VolumeState> {
        self.slots().iter().map(|slot| slot.told()).collect()
    }
}

impl Station {
    /// Makes a change. One that fails because its streams and volumes are being stopped failed for that.
    fn unless_ending<T>(&self, change: impl FnOnce() -> Result<T, ControlError>) -> Result<T, ControlError> {
        if self.is_ending() {
            return Err(ControlError::Ending);
        }
        change().map_err(|error| if self.is_ending() { ControlError::Ending } else { error })
    }

    /// Lifts a hold in the volume that has it.
    fn lift_wherever(&self, id: HoldId) -> Result<Hold, ControlError> {
        let mut failed = None;
        for slot in self.slots() {
            let Some(holder) = slot.live().as_ref().map(|live| live.writer.holder()) else { continue };
            match holder.lift(id) {
                Err(Error::NoSuchHold { .. }) => {}
                // It may stand in another one, whose disk answers.
                Err(error @ (Error::Io { .. } | Error::Stopped(_))) => failed = Some(error),
                done => return Ok(done?),
            }
        }
        let unknown = || ControlError::Unknown(format!("hold {} in a volume that is being written", id.0));
        Err(failed.map_or_else(unknown, ControlError::from))
    }

    /// The volume of this name, the first one where none is given.
    fn volume_for(&self, name: Option<&str>) -> Result<Arc<Slot>, ControlError> {
        let slots = self.slots();
        let found = slots.iter().find(|slot| name.is_none_or(|name| slot.name == name));
        found.map(Arc::clone).ok_or_else(|| {
            // Which there are is told to those alone who administer all of them.
            let name = name.unwrap_or_default();
            ControlError::Refused(format!("there is no volume {name:?}: see /api/v1/volumes"))
        })
    }

    /// What is kept of a camera that may be changed here.
    fn changeable(&self, name: &str) -> Result<KeptCamera, ControlError> {
        match self.wanted().get(name).map(|camera| camera.read_only) {
            Some(true) => return Err(ControlError::ReadOnly(format!("camera {name}"))),
            Some(false) => {}
            None => return Err(ControlError::Unknown(format!("camera {name}"))),
        }
        let kept = self.kept.read().map_err(failed)?;
        kept.get(name).cloned().ok_or_else(|| ControlError::Unknown(format!("camera {name}")))
    }

    /// Records a camera and keeps it; what was `before` is so again if that fails.
    fn put(&self, name: &str, kept: KeptCamera, before: Option<&KeptCamera>) -> Result<(), ControlError> {
        let placed = |camera: &KeptCamera| {
            let mut wanted = wanted_of(name, camera)?;
            self.place(&mut wanted);
            anyhow::Ok(wanted)
        };
        let back = || {
            let before = before.and_then(|before| placed(before).ok());
            match before {
                Some(before) => drop(self.wanted().insert(name.to_owned(), before)),
                None => drop(self.wanted().remove(name)),
            }
            self.bring_all();
        };
        let home = {
            let _change = self.change();
            // Only now is it settled who was moved where.
            let wanted = placed(&kept).map_err(|error| ControlError::Refused(failure::line_of(&error)))?;
            self.wanted().insert(name.to_owned(), wanted.clone());
            if let Err(error) = self.bring_one(&wanted, ASSIGNED) {
                back();
                return Err(ControlError::Refused(failure::line_of(&error)));
            }
            wanted.home
        };
        if let Err(error) = self.kept.change(|cameras| drop(cameras.insert(name.to_owned(), kept))) {
            let _change = self.change();
            back();
            return Err(failed(error));
        }
        self.moves.settle(name, &home);
        self.moves.soon();
        Ok(())
    }

    /// The volumes that may have a stream, first the one that it is recorded into.
    fn those_of(&self, stream: &StreamName) -> Vec<Arc<Slot>> {
        let volume = self.wanted().get(stream.camera()).map(|camera| camera.volume.clone());
        let mut slots = self.slots();
        slots.sort_by_key(|slot| Some(&slot.name) != volume.as_ref());
        slots
    }
}

fn status(live: &Live) -> Vec<StreamStatus> {
    live.recorder.status()
}

fn stream(status: &StreamStatus) -> Stream {
    let state = match &status.state {
        keha_recorder::StreamState::Connecting => StreamState::Connecting,
        keha_recorder::StreamState::Recording => StreamState::Recording,
        keha_recorder::StreamState::Waiting { retry_in, reason } => {
            StreamState::Waiting { retry_in: *retry_in, reason: reason.as_str() }
        }
        keha_recorder::StreamState::VolumeStopped => StreamState::NoVolume,
        _ => StreamState::Stopped,
    };
    let track = |track: &keha_recorder::TrackStatus| Track {
        codec: track.codec.clone(),
        width: track.width,
        height: track.height,
    };
    Stream {
        name: status.name.clone(),
        url: secret::mask(&status.url.to_string()).into_owned(),
        state,
        since: status.since,
        last_sample: status.last_sample,
        last_error: status.last_error.as_deref().map(|error| secret::mask(error).into_owned()),
        tracks: status.tracks.iter().map(track).collect(),
        counts: Counts {
            samples: status.samples,
            bytes: status.bytes,
            lost_packets: status.lost_packets,
            dropped_samples: status.dropped_samples,
            dropped_bytes: status.dropped_bytes,
            gaps: status.gaps,
        },
        drops: status.drops.iter().map(drops).collect(),
        bits_per_second: status.bitrate_bps,
        frames_per_second: status.frames_per_second,
        camera_clock_offset_ns: status.camera_clock_offset_ns,
    }
}

fn drops(drops: &keha_recorder::Drops) -> Drops {
    Drops { reason: drops.reason.as_str(), samples: drops.samples, bytes: drops.bytes }
}

/// A stream that nobody records: its volume is not there, or has no room for it.
fn absent(name: &StreamName, url: &CameraUrl, since: WallTime, why: Option<String>) -> Stream {
    Stream {
        name: name.clone(),
        url: secret::mask(&url.to_string()).into_owned(),
        state: StreamState::NoVolume,
        since,
        last_sample: None,
        last_error: why,
        tracks: Vec::new(),
        counts: Counts::default(),
        drops: Vec::new(),
        bits_per_second: 0,
        frames_per_second: 0.0,
        camera_clock_offset_ns: None,
    }
}

fn refused(error: impl std::fmt::Display) -> ControlError {
    ControlError::Refused(failure::one_line(&secret::mask(&error.to_string())))
}

fn failed(error: impl std::fmt::Display) -> ControlError {
    ControlError::Failed(failure::one_line(&secret::mask(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::Uuid;
    use keha_player::library::Library;

    /// Those who asked in the last two seconds were told that what they named was wrong, or unknown.
    #[test]
    fn while_the_station_ends_all_changes_are_told_so_and_none_is_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let (wake, _woken) = std::sync::mpsc::sync_channel(1);
        let station = Station::new(
            Box::new(|| anyhow::bail!("there is none")),
            Library::default(),
            directory.path(),
            wake,
        );
        let stream = StreamName::new("door").expect("a name");
        let settings = CameraSettings {
            url: "rtsp://door.example/".to_owned(),
            streams: Vec::new(),
            login: None,
            volume: None,
        };
        let request = HoldRequest {
            stream: stream.clone(),
            from: WallTime(0),
            to: WallTime(1),
            label: String::new(),
            expires: None,
        };
        let changes = || {
            [
                station.add_camera("door", &settings),
                station.change_camera("door", &settings, KeepLogin::SameHost),
                station.remove_camera("door"),
                station.set_recording(&stream, false),
                station.add_hold(request.clone()).map(drop),
                station.lift_hold(HoldId(Uuid::nil())).map(drop),
            ]
        };
        let is_ending = |change: &Result<(), ControlError>| matches!(change, Err(ControlError::Ending));
        assert!(!changes().iter().any(is_ending));
        assert!(station.end().error.is_none());
        assert!(changes().iter().all(is_ending), "{:?}", changes());
        let late = station.unless_ending(|| Ok(())).is_err();
        assert!(late && station.kept.read().expect("readable").is_empty());
    }
}
