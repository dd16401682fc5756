//! For the tests of what is asked over HTTP: a control that records nothing, a volume with footage, and what handlers reach.

use crate::app::App;
use crate::control::{
    Camera, CameraSettings, Control, ControlError, Counts, Drops, KeepLogin, Login, Offer, Stream,
    StreamState, Track, VolumeState,
};
use crate::events::Events;
use crate::gate::Gate;
use crate::server::{Services, Settings};
use bytes::Bytes;
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, Hold, HoldId, HoldRequest, RunId, Sample, SampleFlags,
    StreamName, StreamWriter, Tail, TimeRange, TrackConfiguration, TrackKind, TrackNumber, Uuid, WallTime,
    Writer, WriterOptions,
};
use keha_player::library::Library;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cameras `door` and `yard` of a configuration file, and those that are added.
#[derive(Default)]
pub(crate) struct FakeControl {
    added: Mutex<BTreeMap<String, CameraSettings>>,
    holds: Mutex<Vec<Hold>>,
    refuses_holds: AtomicBool,
    /// Volumes without room for holds, and those that nobody writes.
    pub(crate) full: Mutex<BTreeSet<String>>,
    pub(crate) unwritten: Mutex<BTreeSet<String>>,
    is_ending: AtomicBool,
    listed: AtomicUsize,
}

impl FakeControl {
    /// How often the cameras were asked for.
    pub(crate) fn listed(&self) -> usize {
        self.listed.load(Ordering::SeqCst)
    }

    fn added(&self) -> MutexGuard<'_, BTreeMap<String, CameraSettings>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is no room for holds from now on.
    pub(crate) fn refuse_holds(&self, refuse: bool) {
        self.refuses_holds.store(refuse, Ordering::SeqCst);
    }

    /// Nothing is changed from now on.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    /// The holds there are.
    pub(crate) fn held(&self) -> Vec<HoldId> {
        self.holds().iter().map(|hold| hold.id).collect()
    }

    pub(crate) fn holds(&self) -> MutexGuard<'_, Vec<Hold>> {
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
        last_sample: Some(WallTime(1_793_489_401_000_000_000)),
        last_error: None,
        tracks: vec![Track { codec: "avc1".to_owned(), width: 1280, height: 720 }],
        counts: Counts { samples: 25, bytes: 1000, ..Counts::default() },
        drops: vec![Drops { reason: "overload", samples: 0, bytes: 0 }],
        bits_per_second: 4_000_000,
        frames_per_second: 25.0,
        camera_clock_offset_ns: None,
    };
    Camera {
        name: name.to_owned(),
        read_only,
        volume: "attic".to_owned(),
        home: "attic".to_owned(),
        moved: None,
        streams: vec![stream],
    }
}

impl Control for FakeControl {
    fn cameras(&self) -> Vec<Camera> {
        self.listed.fetch_add(1, Ordering::SeqCst);
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

    fn change_camera(
        &self,
        name: &str,
        settings: &CameraSettings,
        keep: KeepLogin,
    ) -> Result<(), ControlError> {
        let mut added = self.changeable(name)?;
        let same = added.get(name).is_some_and(|before| before.url == settings.url);
        if settings.login.is_none() && keep == KeepLogin::SameAddresses && !same {
            return Err(ControlError::Refused("give the login again".to_owned()));
        }
        added.insert(name.to_owned(), settings.clone());
        Ok(())
    }

    fn remove_camera(&self, name: &str) -> Result<(), ControlError> {
        self.changeable(name)?.remove(name);
        Ok(())
    }

    fn return_camera(&self, name: &str) -> Result<(), ControlError> {
        let known = self.cameras().iter().any(|camera| camera.name == name);
        if known { Ok(()) } else { Err(ControlError::Unknown(format!("camera {name}"))) }
    }

    fn test_camera(&self, _: &str, _: Option<&Login>) -> Result<Offer, ControlError> {
        let tracks = vec![Track { codec: "hvc1".to_owned(), width: 1920, height: 1080 }];
        Ok(Offer { tracks, skipped: vec!["audio opus: it cannot be recorded".to_owned()] })
    }

    fn set_recording(&self, stream: &StreamName, _: bool) -> Result<(), ControlError> {
        let known =
            self.cameras().iter().flat_map(|camera| &camera.streams).any(|known| known.name == *stream);
        if known { Ok(()) } else { Err(ControlError::Unknown(format!("stream {stream}"))) }
    }

    fn add_hold(&self, request: HoldRequest) -> Result<Hold, ControlError> {
        if self.is_ending.load(Ordering::SeqCst) {
            return Err(ControlError::Ending);
        }
        if self.refuses_holds.load(Ordering::SeqCst) {
            return Err(ControlError::Refused("no room".to_owned()));
        }
        let range = TimeRange { from: Some(request.from), to: Some(request.to) };
        let hold = Hold { id: HoldId(Uuid::new_v4()), range, label: request.label, ..Hold::default() };
        self.holds().push(hold.clone());
        Ok(hold)
    }

    fn add_hold_in(&self, volume: &str, request: HoldRequest) -> Result<Hold, ControlError> {
        if self.full.lock().unwrap_or_else(PoisonError::into_inner).contains(volume) {
            return Err(ControlError::Refused(format!("no room in {volume}")));
        }
        if self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).contains(volume) {
            return Err(ControlError::Unknown(format!("volume {volume} that is being written")));
        }
        self.add_hold(request)
    }

    fn lift_hold(&self, id: HoldId) -> Result<Hold, ControlError> {
        let mut holds = self.holds();
        let place = holds.iter().position(|hold| hold.id == id);
        place.map(|place| holds.remove(place)).ok_or(ControlError::Volume(keha_fs::Error::NoSuchHold { id }))
    }

    fn tail(&self, _: &StreamName) -> Option<Tail> {
        None
    }

    fn volumes(&self) -> Vec<VolumeState> {
        vec![VolumeState {
            name: "attic".to_owned(),
            failed: None,
            io: None,
            round: None,
            rounds: Default::default(),
            failovers: 0,
        }]
    }
}

/// What handlers reach, of a server with its state in `directory`, that answers below `base`.
pub(crate) fn app(
    (directory, base): (&Path, &str),
    loopback: bool,
    control: Arc<FakeControl>,
    library: Library,
) -> App {
    let settings = Settings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        state: directory.to_owned(),
        base_path: base.to_owned(),
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        tls: None,
    };
    let gate = Gate::open(directory, loopback).expect("a gate");
    let library = Arc::new(library);
    let events = Arc::new(Events::open(directory).expect("a log"));
    App::new(gate, settings, Services { library, control, events }).expect("an app")
}

/// The first moment of [`footage`].
pub(crate) const NOON: WallTime = WallTime(1_772_366_400_000_000_000);

/// The track of what is recorded here: sound of 8000 samples a second.
pub(crate) const SOUND: TrackNumber = TrackNumber(1);

/// Where a track's ticks begin: at this moment.
fn begins_at(wall: WallTime, track: TrackNumber, timescale: u32) -> Anchor {
    Anchor {
        track,
        timescale,
        ticks: 0,
        wall,
        source: ClockSource::Arrival,
        uncertainty_us: 0,
        arrival: wall,
        camera_offset_ns: 0,
    }
}

/// A stream of sound, of which a run began at noon.
pub(crate) fn sounding(writer: &Writer, name: &StreamName) -> StreamWriter {
    sounding_from(NOON, writer, name)
}

/// The same from another moment on.
fn sounding_from(wall: WallTime, writer: &Writer, name: &StreamName) -> StreamWriter {
    let mut stream = writer.stream(name).expect("a stream");
    let sound = TrackConfiguration {
        track: SOUND,
        kind: TrackKind::Audio,
        codec: *b"ulaw",
        timescale: 8000,
        width: 0,
        height: 0,
        channels: 1,
        sample_rate: 8000,
        private: Vec::new(),
    };
    stream.configure(&Configuration { tracks: vec![sound], session: Vec::new() }).expect("it is stored");
    stream.begin_run(RunId::random());
    stream.anchor(begins_at(wall, SOUND, 8000));
    stream
}

/// A volume `attic` with ten seconds of sound from [`NOON`] on in each of these streams: its name and its path.
pub(crate) fn footage(directory: &Path, streams: &[&str]) -> (String, PathBuf) {
    footage_in("attic", NOON, directory, streams)
}

/// The same in another volume, from another moment on.
pub(crate) fn footage_in(
    volume: &str,
    wall: WallTime,
    directory: &Path,
    streams: &[&str],
) -> (String, PathBuf) {
    let path = directory.join(format!("{volume}.ring"));
    let options = CreateOptions { size_bytes: 64 << 20, ..CreateOptions::default() };
    keha_fs::create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("a volume");
    let writer = Writer::open(&path, WriterOptions::default(), Box::new(|_| {})).expect("a writer");
    for name in streams {
        let mut stream = sounding_from(wall, &writer, &StreamName::new(name).expect("a name"));
        for packet in 0..500 {
            let data = vec![Bytes::from(vec![packet as u8; 160])];
            let sample = Sample { track: SOUND, ticks: packet * 160, flags: SampleFlags::SYNC, data };
            stream.push(sample).expect("there is room");
        }
    }
    writer.close().expect("closed");
    (volume.to_owned(), path)
}

/// A picture of 16 by 16, H.264 (ITU-T H.264, section 7.3): what decodes it, and its one slice, a macroblock of plain samples (`I_PCM`).
const PARAMETER_SETS: [&[u8]; 2] = [&[0x67, 0x42, 0xc0, 0x0a, 0xdd, 0xe4], &[0x68, 0xce, 0x38, 0x80]];
const SLICE: [u8; 5] = [0x65, 0x88, 0x84, 0x86, 0x80];

/// Records a picture in each of these streams, at [`NOON`].
pub(crate) fn pictured(volume: &Path, streams: &[&str]) {
    let [sequence, picture] = PARAMETER_SETS;
    // ISO/IEC 14496-15, section 5.3.3.1.
    let mut private = vec![1, 0x42, 0xc0, 0x0a, 0xff, 0xe1, 0, sequence.len() as u8];
    private.extend([sequence, &[1, 0, picture.len() as u8], picture].concat());
    let track = TrackNumber(1);
    let configuration = TrackConfiguration {
        track,
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: 90_000,
        width: 16,
        height: 16,
        channels: 0,
        sample_rate: 0,
        private,
    };
    let grey = [&SLICE[..], &[0x80; 384 + 1]].concat();
    let data = Bytes::from([&(grey.len() as u32).to_be_bytes()[..], &grey[..]].concat());
    let writer = Writer::open(volume, WriterOptions::default(), Box::new(|_| {})).expect("a writer");
    for name in streams {
        let mut stream = writer.stream(&StreamName::new(name).expect("a name")).expect("a stream");
        let tracks = vec![configuration.clone()];
        stream.configure(&Configuration { tracks, session: Vec::new() }).expect("it is stored");
        stream.begin_run(RunId::random());
        stream.anchor(begins_at(NOON, track, 90_000));
        let sample = Sample { track, ticks: 0, flags: SampleFlags::SYNC, data: vec![data.clone()] };
        stream.push(sample).expect("there is room");
    }
    writer.close().expect("closed");
}
