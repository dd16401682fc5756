//! What streams leave where they were: who comes over with whom, what is kept of those that wait for their own disk, and what is lost.

use super::place::Move;
use crate::failure;
use crate::output::document::Moment;
use crate::recording::document::MovedDocument;
use crate::serve::slot::{Left, Slot};
use crate::serve::station::{CameraInVolume, Station, WhereLeft, lock};
use crate::units::time;
use jiff::tz::TimeZone;
use keha_api::events::{EventKind, NewEvent};
use keha_fs::{StreamName, Undone, partition};
use keha_recorder::{Begins, CameFrom, Coming, Crossing};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What streams left where they were, by name.
pub(in crate::serve) type AllLeft = BTreeMap<StreamName, Left>;

/// A camera that begins in a volume, and what is known elsewhere of its streams.
pub(in crate::serve) type Arriving = (CameraInVolume, BTreeMap<StreamName, Coming>);

/// Which streams come over together, by where they go.
pub(super) struct Crossings(BTreeMap<String, (Begins, Crossing)>);

impl Crossings {
    pub(super) fn new(moves: &[Move], cameras: &BTreeMap<String, CameraInVolume>) -> Crossings {
        let mut streams: BTreeMap<String, usize> = BTreeMap::new();
        for made in moves {
            let camera = cameras.get(&made.camera);
            *streams.entry(made.to.clone()).or_default() +=
                camera.map_or(0, |camera| camera.camera.streams().count());
        }
        Crossings(streams.into_iter().map(|(to, streams)| (to, Crossing::over(streams))).collect())
    }

    pub(super) fn to(&self, volume: &str) -> Option<&Crossing> {
        self.0.get(volume).map(|(_, crossing)| crossing)
    }

    /// All have begun.
    pub(super) fn all_began(self) {
        self.0.into_values().for_each(|(begins, _)| begins.all());
    }
}

impl Station {
    /// Has volumes admit the streams that are about to come over.
    pub(super) fn expect(&self, moves: &[Move]) {
        for slot in self.slots() {
            let cameras: Vec<CameraInVolume> = {
                let wanted = self.wanted();
                let here = moves.iter().filter(|made| made.to == slot.name);
                here.filter_map(|made| wanted.get(&made.camera).cloned()).collect()
            };
            let streams = cameras.iter().flat_map(|camera| camera.camera.streams());
            let streams: Vec<_> =
                streams.map(|(stream, _)| (stream.clone(), self.moves.identity(stream))).collect();
            if streams.len() > 1 {
                slot.expect(streams);
            }
        }
    }

    /// A volume that failed lies on another device now, and its cameras have nowhere else to go: it is opened anew, and what waited for
    /// it goes into it then.
    pub(in crate::serve) fn open_anew(self: &Arc<Self>, slot: &Arc<Slot>) {
        let _change = self.change();
        // It may have been opened while this waited.
        if !slot.fails_open(Instant::now()) {
            return;
        }
        let here = |camera: &&CameraInVolume| camera.volume == slot.name;
        let cameras: Vec<CameraInVolume> = self.wanted().values().filter(here).cloned().collect();
        if self.is_ending() || cameras.is_empty() {
            return;
        }
        tracing::warn!(volume = slot.name, "its disk is there again as another device: it is opened anew");
        let names = cameras.iter().map(|camera| camera.camera.name().clone());
        let left = slot.let_go(&names.collect());
        left.keys().for_each(|stream| slot.gave(stream.clone()));
        self.say_not_given(slot);
        if slot.leave_behind("its disk was away, and it is opened again") {
            lock(&self.left_over).extend(left);
            self.library.forget(&slot.name);
        } else {
            tracing::warn!(volume = slot.name, "it is still looked at, and stays open");
            // What waits still waits there, and so do they.
            left.keys().for_each(|stream| slot.keeps(stream));
            cameras.iter().for_each(|camera| self.wait_at(&slot.name, camera));
        }
    }

    /// Has `keha status` tell of each volume who was moved from it, or to it.
    pub(in crate::serve) fn show_moved(&self, slots: &[Arc<Slot>]) {
        let path = |volume: &str| {
            let slot = slots.iter().find(|slot| slot.name == volume);
            slot.map(|slot| shown(slot.path())).unwrap_or_default()
        };
        let told = |(name, camera): (&String, &CameraInVolume)| {
            let moved = camera.moved.as_ref()?;
            Some(MovedDocument {
                camera: name.clone(),
                home: camera.home.clone(),
                volume: camera.volume.clone(),
                since: Moment(moved.since()),
                why: moved.why.clone(),
                home_path: path(&camera.home),
            })
        };
        let moved: Vec<MovedDocument> = self.wanted().iter().filter_map(told).collect();
        for slot in slots {
            let here = |moved: &&MovedDocument| moved.home == slot.name || moved.volume == slot.name;
            slot.set_moved(moved.iter().filter(here).cloned().collect());
        }
    }

    /// What a stream left when its volume was closed to be opened anew.
    pub(super) fn left_over(&self, stream: &StreamName) -> Option<Left> {
        let left = lock(&self.left_over);
        let left = left.get(stream)?;
        Some(Left { last: left.last, undone: left.undone.clone() })
    }

    /// The same, for whoever records it in its own volume again.
    pub(super) fn left_by(&self, stream: &StreamName, back: Option<&Crossing>) -> Option<CameFrom> {
        let undone = self.left_over(stream)?.undone;
        let why = "the disk of its volume was away".to_owned();
        Some(CameFrom { why, undone, own: true, crossing: back.cloned(), ..CameFrom::default() })
    }

    /// All cameras that are wanted in a volume, and what is known of their streams elsewhere. Those come back together that left something
    /// when it was closed to be opened anew.
    pub(in crate::serve) fn all_coming(
        &self,
        volume: &str,
        left: &WhereLeft,
        why: &str,
    ) -> (Begins, Vec<Arriving>) {
        let wanted = self.wanted().clone();
        let here: Vec<_> = wanted.into_values().filter(|camera| camera.volume == volume).collect();
        let (begins, back) = {
            let left = lock(&self.left_over);
            let streams = here.iter().flat_map(|camera| camera.camera.streams());
            Crossing::back(streams.filter(|(stream, _)| left.contains_key(*stream)).count())
        };
        let with = |camera: CameraInVolume| {
            let coming = self.coming(&camera, left, why, Some(&back));
            (camera, coming)
        };
        (begins, here.into_iter().map(with).collect())
    }

    /// A camera is recorded: what it left went with it.
    pub(in crate::serve) fn arrived(&self, camera: &CameraInVolume) {
        let mut left = lock(&self.left_over);
        camera.camera.streams().for_each(|(stream, _)| drop(left.remove(stream)));
    }

    /// Cameras that are not to be recorded any more do not wait either.
    pub(in crate::serve) fn forget_left_over(&self) {
        let wanted: BTreeSet<String> = self.wanted_streams();
        let mut left = lock(&self.left_over);
        let gone: Vec<StreamName> =
            left.keys().filter(|stream| !wanted.contains(stream.as_str())).cloned().collect();
        for stream in gone {
            if let Some(Left { undone, .. }) = left.remove(&stream) {
                self.say_lost(&stream, &undone, "its volume, which failed");
            }
        }
    }

    /// Says what waited for a volume that is left behind, and goes nowhere: of cameras that were removed.
    pub(super) fn say_not_given(&self, slot: &Slot) {
        for (stream, undone) in slot.not_given() {
            self.say_lost(&stream, &undone, &format!("volume {}, which failed", slot.name));
            slot.gave(stream);
        }
    }

    fn say_lost(&self, stream: &StreamName, undone: &Undone, volume: &str) {
        let Some((from, to)) = undone.span() else { return };
        let (samples, _) = undone.lost_if_left();
        let zone = TimeZone::system();
        let (from, to) = (time::local(from, &zone), time::local(to, &zone));
        let text = format!(
            "{stream}: {samples} samples from {from} to {to} waited for {volume}, and are recorded nowhere else: \
             they are lost unless that disk still takes them"
        );
        tracing::error!("{text}");
        let camera = Some(stream.camera().to_owned());
        let text = failure::one_line(&text);
        self.tell(NewEvent { kind: EventKind::Disk, camera, user: None, text });
    }
}

/// A volume as a command in any directory takes it.
fn shown(volume: &Path) -> String {
    let is_id = partition::id_of(volume).is_ok_and(|id| id.is_some());
    let absolute = if is_id { None } else { std::path::absolute(volume).ok() };
    absolute.as_deref().unwrap_or(volume).display().to_string()
}
