//! Moving cameras whose volume failed, and bringing them back by order: what the plan says is done, what is known of a stream goes
//! with it, and it is said.
//!
//! ```text
//! end there (all at once, 3.5 s at most) --> begin elsewhere, all --> carry what was not durable there, all at once --> say, keep
//!                                                                        \-> leave the volume behind, closing, if nobody is on it
//! ```
//!
//! It runs on a thread of its own, under the lock of changes. It waits for no disk that failed: neither ending a stream nor what it has in
//! memory needs one, and closing is left to another thread. A volume that refuses a camera is not asked for it again for a while.

use super::left::{AllLeft, Crossings};
use super::moved::Moved;
use super::place::{CameraFacts, Condition, Move, VolumeFacts, plan};
use crate::failure;
use crate::recording::view::now;
use crate::serve::Wake;
use crate::serve::slot::Slot;
use crate::serve::station::{CameraInVolume, Station, WhereLeft, lock};
use crate::units::time;
use jiff::tz::TimeZone;
use keha_api::control::ControlError;
use keha_api::events::{EventKind, NewEvent};
use keha_fs::StreamName;
use keha_recorder::{CameFrom, Coming, Crossing};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// So long a volume is not asked again for a camera that it refused.
const REFUSED: Duration = Duration::from_secs(60);

impl Station {
    /// Puts a camera where it is recorded: where it was moved to, or on its own volume.
    pub(in crate::serve) fn place(&self, camera: &mut CameraInVolume) {
        camera.moved = self.moves.of(camera.camera.name().as_str(), &camera.home);
        camera.volume = camera.moved.as_ref().map_or(&camera.home, |moved| &moved.to).clone();
    }

    /// What is known elsewhere of the streams of a camera that begin; of those that were recorded into another volume until now, why
    /// they come. `back` are those who come back with it to a volume that was opened anew.
    pub(in crate::serve) fn coming(
        &self,
        camera: &CameraInVolume,
        left: &WhereLeft,
        why: &str,
        back: Option<&Crossing>,
    ) -> BTreeMap<StreamName, Coming> {
        let of = |stream: &StreamName| {
            let from = left.get(stream).map(|(volume, last)| CameFrom {
                last: *last,
                why: format!("it was recorded on volume {volume} until then, {why}"),
                ..CameFrom::default()
            });
            let from = from.or_else(|| self.left_by(stream, back));
            (stream.clone(), Coming { id: self.moves.identity(stream), from })
        };
        camera.camera.streams().map(|(stream, _)| of(stream)).collect()
    }

    /// Notes the identities of streams, those that they have where they are configured.
    pub(in crate::serve) fn learn(&self) {
        let at_home: BTreeMap<String, String> = {
            let wanted = self.wanted();
            let at_home = wanted.iter().filter(|(_, camera)| camera.home == camera.volume);
            at_home.map(|(name, camera)| (name.clone(), camera.home.clone())).collect()
        };
        for slot in self.slots() {
            for (stream, id) in slot.identities() {
                // Elsewhere it may be another one of the same name; but that is better than none.
                if at_home.get(stream.camera()) == Some(&slot.name) || self.moves.identity(&stream).is_none()
                {
                    self.moves.learn(stream, id);
                }
            }
        }
    }

    /// Begins to move cameras if there are any to be moved. Whether some are being moved.
    pub(in crate::serve) fn move_if_due(self: &Arc<Self>, at: Instant) -> bool {
        if self.moving.load(Ordering::SeqCst) {
            return true;
        }
        if self.is_ending() || self.moves_due(at).is_empty() && self.deserted(at).is_empty() {
            return false;
        }
        self.moving.store(true, Ordering::SeqCst);
        let station = Arc::clone(self);
        let spawned = thread::Builder::new().name("moving".into()).spawn(move || {
            let moving = Moving(Arc::clone(&station));
            station.go_over();
            drop(moving);
            station.moves.soon();
        });
        if let Err(error) = &spawned {
            tracing::error!(%error, "cannot start a thread");
            self.moving.store(false, Ordering::SeqCst);
        }
        spawned.is_ok()
    }

    /// Which cameras are to be moved now, and where. Looks at no disk.
    fn moves_due(&self, at: Instant) -> Vec<Move> {
        let volumes: Vec<VolumeFacts> = self.slots().iter().map(|slot| slot.facts(at)).collect();
        let facts = |(name, camera): (&String, &CameraInVolume)| CameraFacts {
            name: name.clone(),
            home: camera.home.clone(),
            at: camera.volume.clone(),
            streams: camera.camera.streams().map(|(stream, _)| stream.clone()).collect(),
        };
        let cameras: Vec<CameraFacts> = self.wanted().iter().map(facts).collect();
        let mut refused = lock(&self.refused);
        refused.retain(|_, since| at.saturating_duration_since(*since) < REFUSED);
        let refused: BTreeSet<_> = refused.keys().cloned().collect();
        plan(&volumes, &cameras, &refused)
    }

    /// Moves the cameras that are to be moved.
    fn go_over(&self) {
        let _change = self.change();
        let moves = self.moves_due(Instant::now());
        let froms: BTreeSet<&str> = moves.iter().map(|made| made.from.as_str()).collect();
        let slots = self.slots();
        let leaving = slots.iter().filter(|slot| froms.contains(slot.name.as_str()));
        let let_go = |slot: &Arc<Slot>| {
            let theirs = moves.iter().filter(|made| made.from == slot.name);
            let theirs =
                theirs.filter_map(|made| StreamName::new(&made.camera).ok()).collect::<BTreeSet<_>>();
            slot.count_failovers(theirs.len());
            slot.let_go(&theirs)
        };
        let mut left = thread::scope(|scope| {
            let let_go = &let_go;
            let going: Vec<_> = leaving.map(|slot| scope.spawn(move || let_go(slot))).collect();
            going.into_iter().filter_map(|going| going.join().ok()).flatten().collect::<AllLeft>()
        });
        let crossings = Crossings::new(&moves, &self.wanted());
        self.expect(&moves);
        let mut went = Vec::new();
        for made in &moves {
            if self.is_ending() {
                return;
            }
            went.extend(self.go_on(made, &mut left, crossings.to(&made.to)));
        }
        crossings.all_began();
        // Nothing that a disk is asked for besides comes before the last one is recorded.
        for camera in &went {
            self.slot(&camera.volume).iter().for_each(|slot| slot.retain(camera));
        }
        for slot in self.deserted(Instant::now()) {
            let why = moves.iter().find(|made| made.from == slot.name).map(|made| made.why.as_str());
            let why = why.unwrap_or("nobody is recorded into it");
            self.say_not_given(&slot);
            if slot.leave_behind(&format!("it failed, and is opened again: {why}")) {
                self.library.forget(&slot.name);
            } else {
                tracing::warn!(volume = slot.name, "it is still looked at, and stays open");
            }
        }
    }

    /// Volumes that are open and have failed, and into which nobody is recorded: to be opened again they have to be closed first.
    fn deserted(&self, at: Instant) -> Vec<Arc<Slot>> {
        let used: BTreeSet<String> = self.wanted().values().map(|camera| camera.volume.clone()).collect();
        let slots = self.slots().into_iter();
        slots.filter(|slot| !used.contains(&slot.name) && slot.fails_open(at)).collect()
    }

    /// Begins to record a camera where it goes. Answers it, if it is recorded there.
    pub(in crate::serve) fn go_on(
        &self,
        made: &Move,
        left: &mut AllLeft,
        crossing: Option<&Crossing>,
    ) -> Option<CameraInVolume> {
        let Move { camera: name, from, to, why } = made;
        let before = self.wanted().get(name).cloned()?;
        let slot = self.slot(to)?;
        let since = now();
        let moved = (*to != before.home).then(|| {
            // One that goes further still waits for what failed first.
            let why = before.moved.as_ref().map_or(why, |moved| &moved.why);
            Moved::new(&before.home, to, since, why)
        });
        let camera = CameraInVolume { volume: to.clone(), moved: moved.clone(), ..before.clone() };
        self.wanted().insert(name.clone(), camera.clone());
        let mut coming = self.coming(&camera, &WhereLeft::new(), "", None);
        for (stream, coming) in &mut coming {
            let left = self.left_over(stream).or_else(|| left.remove(stream));
            let (last, undone) = left.map(|left| (left.last, left.undone)).unwrap_or_default();
            let why = format!("it came over from volume {from}, which failed: {why}");
            let crossing = crossing.cloned();
            coming.from = Some(CameFrom { last, why, undone, crossing, ..CameFrom::default() });
        }
        let wanted_ids: BTreeMap<_, _> =
            coming.iter().filter_map(|(stream, coming)| Some((stream.clone(), coming.id?))).collect();
        let brought = slot.bring(&camera, &self.stopped.all(), coming);
        // What else is wrong with one that is recorded there is said, and tried again.
        if !slot.records(&camera) {
            let why = why_not(brought);
            tracing::error!(camera = name, from, to, "it cannot be recorded there: {why}");
            lock(&self.refused).insert((name.clone(), to.clone()), Instant::now());
            self.wanted().insert(name.clone(), before.clone());
            self.wait_at(from, &before);
            return None;
        }
        for (stream, _) in camera.camera.streams() {
            self.slot(from).iter().for_each(|slot| slot.gave(stream.clone()));
        }
        self.arrived(&camera);
        self.moves.set(name, moved);
        // Whoever asks from now on is told of what is there.
        self.library.outdate();
        let here = slot.identities();
        let other = wanted_ids.iter().find(|(stream, id)| here.get(*stream).is_some_and(|here| here != *id));
        let other = other.map_or(String::new(), |(stream, _)| {
            format!(
                "; a stream {stream} of another identity was there already, and goes on with this footage"
            )
        });
        let shown = time::local(since, &TimeZone::system());
        let text = format!("recorded on {to} since {shown} because {from} failed: {why}{other}");
        tracing::error!(camera = name, from, to, "{text}");
        self.tell(moved_event(name, &text));
        Some(camera)
    }

    /// A camera that was let go and is taken nowhere waits where it was: as soon as that volume takes it again it is recorded there.
    pub(super) fn wait_at(&self, volume: &str, camera: &CameraInVolume) {
        if let Some(slot) = self.slot(volume) {
            let coming = self.coming(camera, &WhereLeft::new(), "", None);
            // Why it is not recorded now is said there.
            let _ = slot.bring(camera, &self.stopped.all(), coming);
        }
    }

    /// A camera returns to its own volume. When this returns it survives any crash.
    ///
    /// # Errors
    /// [`ControlError::Unknown`]; [`ControlError::Conflict`]: it was not moved, or its own volume does not take it: it is recorded where it
    /// was. [`ControlError::Unkept`]: it returned, but that is so only until the server is started again.
    pub(in crate::serve) fn bring_home(&self, name: &str) -> Result<(), ControlError> {
        self.go_home(name)?;
        // Nobody else waits for that disk.
        self.moves.keep().map_err(|source| {
            let what =
                format!("camera {name} returned, but that is so only until the server is started again");
            ControlError::Unkept { what, source }
        })
    }

    fn go_home(&self, name: &str) -> Result<(), ControlError> {
        let _change = self.change();
        let before = self.wanted().get(name).cloned();
        let before = before.ok_or_else(|| ControlError::Unknown(format!("camera {name}")))?;
        let Some(moved) = before.moved.clone() else {
            let why = format!("camera {name} is recorded on its own volume, {}", before.home);
            return Err(ControlError::Conflict(why));
        };
        let home = self.slot(&before.home).map(|slot| slot.facts(Instant::now()).condition);
        let not_now = |why: &str| {
            let (volume, home) = (&before.volume, &before.home);
            ControlError::Conflict(format!("camera {name} stays on {volume}: {home} does not take it: {why}"))
        };
        match home {
            Some(Condition::Good) => {}
            Some(Condition::Failed(why)) => return Err(not_now(&why)),
            _ => return Err(not_now("it is just being opened, or slow: ask again")),
        }
        self.moves.set(name, None);
        let mut camera = before.clone();
        self.place(&mut camera);
        self.wanted().insert(name.to_owned(), camera.clone());
        let brought = self.bring_one(&camera, "and returned by order");
        let is_home = || self.slot(&camera.volume).is_some_and(|slot| slot.records(&camera));
        if !is_home() {
            self.moves.set(name, Some(moved));
            self.wanted().insert(name.to_owned(), before.clone());
            // What is wrong there is said there.
            let _ = self.bring_one(&before, "which does not take it");
            return Err(not_now(&why_not(brought)));
        }
        self.library.outdate();
        let text = format!("recorded on {} again, by order; until now on {}", before.home, before.volume);
        tracing::warn!(camera = name, "{text}");
        self.tell(moved_event(name, &text));
        Ok(())
    }

    pub(super) fn tell(&self, event: NewEvent) {
        // A loop that is behind by a thousand events has others to tell, and the log has it.
        let _ = self.wake.try_send(Wake::Noted(event));
    }
}

/// That cameras are being moved, until this is dropped, however that went.
struct Moving(Arc<Station>);

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.moving.store(false, Ordering::SeqCst);
    }
}

/// Why a camera is not recorded on a volume that it was brought to.
fn why_not(brought: anyhow::Result<()>) -> String {
    brought.err().map_or_else(|| "it was closed just now".to_owned(), |error| failure::line_of(&error))
}

fn moved_event(camera: &str, text: &str) -> NewEvent {
    let text = failure::one_line(&format!("{camera}: {text}"));
    NewEvent { kind: EventKind::CameraMoved, camera: Some(camera.to_owned()), user: None, text }
}
