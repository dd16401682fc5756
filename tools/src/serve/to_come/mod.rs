//! What is still to be held is held where its stream is recorded, whichever volume that is by then
//! (docs/decisions/0018-streams-over-several-volumes.md).
//!
//! Each second it is looked for holds whose stream is recorded into a volume where they do not stand: because its own failed, it returned,
//! it was assigned anew, or the server was started again meanwhile. They are made there on a thread of its own, by the same request: what
//! of the range is there already is held with what is to come. Where that is refused it is said, and tried again.
//!
//! What must not live here: which volume a stream goes to (`failover`), what a hold is (`keha_fs`).

mod noted;

pub(in crate::serve) use noted::ToCome;

use super::Wake;
use super::failover::place::Condition;
use super::slot::Slot;
use super::station::{Station, lock};
use crate::failure;
use crate::recording::Above;
use crate::recording::view::now;
use keha_api::control::{Control, ControlError};
use keha_api::events::{EventKind, NewEvent};
use keha_fs::{Error, Hold, HoldId, HoldRequest, Holder, Volume};
use noted::Due;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// So long it is not tried again what was refused.
const REFUSED: Duration = Duration::from_secs(30);

/// Holds that go on, and who sees to it.
pub(in crate::serve) struct GoingOn {
    pub(in crate::serve) holds: ToCome,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A thread is at it.
    busy: bool,
    /// What was refused, and when, by hold and volume.
    refused: BTreeMap<(String, String), Instant>,
}

impl GoingOn {
    pub(in crate::serve) fn new(holds: ToCome) -> GoingOn {
        GoingOn { holds, state: Mutex::default() }
    }
}

impl Station {
    /// Has held what is to be held of streams that are recorded elsewhere by now. Waits for no volume.
    pub(in crate::serve) fn hold_on(self: &Arc<Self>, at: Instant) {
        if !self.going_on.holds.has_over(now()) && self.due(at).is_empty() {
            return;
        }
        {
            let mut state = lock(&self.going_on.state);
            if state.busy || self.is_ending() {
                return;
            }
            state.busy = true;
        }
        let station = Arc::clone(self);
        let spawned = thread::Builder::new().name("holding".into()).spawn(move || {
            let _busy = Busy(&station.going_on);
            station.hold_what_is_due(at);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start a thread");
            lock(&self.going_on.state).busy = false;
        }
    }

    fn hold_what_is_due(&self, at: Instant) {
        self.going_on.holds.forget_over(now());
        for due in self.due(at) {
            let Some(slot) = self.slot(&due.volume) else { continue };
            let Some(holder) = slot.live().as_ref().map(|live| live.writer.holder()) else { continue };
            match holder.add(due.request.clone()) {
                Ok(hold) if self.going_on.holds.stands(&due, hold.id) => self.say(&due, &hold),
                // It was lifted meanwhile.
                Ok(hold) => drop(holder.lift(hold.id)),
                // It is about to be recorded there.
                Err(Error::NoSuchStream { .. }) => {}
                Err(error) => {
                    let (stream, volume) = (&due.request.stream, &due.volume);
                    tracing::error!(%stream, volume, of = due.of, %error, "a hold does not go on there");
                    let key = (due.of.clone(), due.volume.clone());
                    lock(&self.going_on.state).refused.insert(key, Instant::now());
                }
            }
        }
    }

    /// What is to be held now, in volumes that take it.
    fn due(&self, at: Instant) -> Vec<Due> {
        let due = self
            .going_on
            .holds
            .due(now(), |stream| self.wanted().get(stream.camera()).map(|camera| camera.volume.clone()));
        let mut state = lock(&self.going_on.state);
        state.refused.retain(|_, since| at.saturating_duration_since(*since) < REFUSED);
        let refused = state.refused.clone();
        drop(state);
        let takes = |volume: &str| {
            let condition = self.slot(volume).map(|slot| slot.facts(at).condition);
            condition == Some(Condition::Good)
        };
        let is_refused = |due: &Due| refused.contains_key(&(due.of.clone(), due.volume.clone()));
        due.into_iter().filter(|due| !is_refused(due) && takes(&due.volume)).collect()
    }

    fn say(&self, due: &Due, hold: &Hold) {
        self.library.outdate();
        let Due { of, volume, request } = due;
        let text = format!(
            "{} goes on on volume {volume} as {}, for {of}: {}",
            request.stream, hold.id, request.label
        );
        tracing::warn!(volume, "hold: {text}");
        let (kind, camera) = (EventKind::HoldAdded, Some(request.stream.camera().to_owned()));
        let event = NewEvent { kind, camera, user: None, text: failure::one_line(&text) };
        // A loop that is behind by a thousand events has others to tell, and the log has it.
        let _ = self.wake.try_send(Wake::Noted(event));
    }

    /// A volume was opened: which holds of it reach into what is to come is known from here on, whoever made them.
    pub(in crate::serve) fn learn_holds(&self, slot: &Slot) {
        if slot.live().is_none() {
            return;
        }
        let volume = match Volume::open(&slot.path) {
            Ok(volume) => volume,
            Err(error) => return tracing::warn!(volume = slot.name, %error, "its holds are not known"),
        };
        let (streams, holds) = (volume.streams(), volume.holds());
        if !holds.iter().any(|hold| hold.lost) {
            self.going_on.holds.found(&slot.name, &holds);
        }
        for hold in holds {
            let stream = streams.iter().find(|stream| stream.id == hold.stream);
            let range = hold.range.from.zip(hold.range.to);
            if let Some((stream, (from, to))) = stream.zip(range) {
                let (stream, label, expires) = (stream.name.clone(), hold.label.clone(), hold.expires);
                let request = HoldRequest { stream, from, to, label, expires };
                self.going_on.holds.found_one(&slot.name, &request, &hold);
            }
        }
    }

    /// Makes a hold in a volume. One that reaches into what is to come is noted before this returns.
    ///
    /// # Errors
    /// The volume's; [`ControlError::Unkept`] where it cannot be noted: it is lifted again then.
    pub(in crate::serve) fn hold_in(
        &self,
        volume: &str,
        holder: &Holder,
        request: HoldRequest,
    ) -> Result<Hold, ControlError> {
        let hold = holder.add(request.clone())?;
        let Err(source) = self.going_on.holds.note(volume, &request, &hold) else { return Ok(hold) };
        let what = match holder.lift(hold.id) {
            Ok(_) => "what is still to come cannot be held: hold what has been, or ask again".to_owned(),
            Err(error) => {
                tracing::error!(volume, id = %hold.id, %error, "a hold that could not be noted cannot be lifted");
                format!("hold {} stands in {volume}, but goes on nowhere: lift it", hold.id)
            }
        };
        Err(ControlError::Unkept { what, source })
    }

    /// Has a hold lifted that goes on nowhere then.
    ///
    /// # Errors
    /// [`ControlError::Unkept`] where that cannot be noted: it stands as before. What `lift` says.
    pub(in crate::serve) fn lifting<E>(
        &self,
        id: HoldId,
        lift: impl FnOnce() -> Result<Hold, E>,
    ) -> Result<Result<Hold, E>, ControlError> {
        let unkept = |source| ControlError::Unkept { what: format!("hold {id} is not lifted"), source };
        self.going_on.holds.lift(id, lift).map_err(unkept)
    }

    /// What the control socket of a volume has done here.
    pub(in crate::serve) fn above(self: &Arc<Self>, slot: &Slot) -> Box<dyn Above> {
        // The volume's socket belongs to this.
        Box::new(Asked { station: Arc::downgrade(self), volume: slot.name.clone() })
    }
}

struct Asked {
    station: Weak<Station>,
    volume: String,
}

impl Above for Asked {
    fn bring_home(&self, camera: &str) -> anyhow::Result<()> {
        let station = self.station.upgrade().ok_or(ControlError::Ending)?;
        Ok(station.return_camera(camera)?)
    }

    fn hold(&self, holder: &Holder, request: HoldRequest) -> anyhow::Result<Hold> {
        let station = self.station.upgrade().ok_or(ControlError::Ending)?;
        station.hold_in(&self.volume, holder, request).map_err(|error| match error {
            // What it is of is asked by whoever tells it.
            ControlError::Volume(error) => error.into(),
            error => error.into(),
        })
    }

    fn lift(&self, holder: &Holder, id: HoldId) -> anyhow::Result<Hold> {
        let station = self.station.upgrade().ok_or(ControlError::Ending)?;
        Ok(station.lifting(id, || holder.lift(id))??)
    }
}

/// That a thread is at it, until this is dropped, however that went.
struct Busy<'a>(&'a GoingOn);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).busy = false;
    }
}
