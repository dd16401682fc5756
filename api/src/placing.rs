//! Holding a range of a stream wherever it stands: one hold in each volume that has part of it.
//!
//! - All are placed, or none is left: where one volume refuses, what was placed in others is lifted again, and the error says what could not be.
//! - What cannot be placed for now is told, not refused: volumes that do not answer, and those that nobody writes. Their footage may stand in
//!   evidence all the same; what else there is of it must not wait for them.
//! - Where nothing can be held, and a volume does not answer that may have it, that is what is said: not that there is nothing.
//! - What is still to come is held in the volume that has the stream's latest footage. Holds elsewhere end now. Where the stream goes over to
//!   another volume meanwhile, whoever records holds it there, too.

use crate::control::{Control, ControlError};
use keha_fs::{Hold, HoldRequest, TimeRange, WallTime};
use keha_player::library::Whole;

/// In which volumes a range is to be held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Their names, and up to when.
    volumes: Vec<(String, WallTime)>,
    /// Those that do not answer and may have part of it.
    missing: Vec<String>,
}

/// What was placed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placed {
    /// The holds, each with the name of its volume; where the recorder chose that, none.
    pub(crate) holds: Vec<(Option<String>, Hold)>,
    /// The volumes that may have part of the range, and hold nothing.
    pub(crate) missing: Vec<String>,
}

impl Places {
    /// Those that have something of a stream from one moment to another.
    pub(crate) fn of(whole: &Whole, from: WallTime, to: WallTime, now: WallTime) -> Places {
        let mut volumes: Vec<(String, WallTime)> = Vec::new();
        let latest = whole.latest().map(|latest| &latest.snapshot.name);
        for part in whole.parts_in(from, to) {
            let to = if Some(&part.snapshot.name) == latest { to } else { to.min(now) };
            volumes.push((part.snapshot.name.clone(), to));
        }
        if let Some(latest) =
            latest.filter(|latest| to > now && volumes.iter().all(|(name, _)| name != *latest))
        {
            volumes.push((latest.clone(), to));
        }
        let range = TimeRange { from: Some(from), to: Some(to) };
        Places { volumes, missing: whole.missing_in(range) }
    }

    /// The names of the volumes that are known to have part of it.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().map(|(volume, _)| volume.as_str())
    }

    /// Places a hold in each. Where there is none, whoever records says what is wrong with that. Blocks.
    ///
    /// # Errors
    /// The first volume's that refuses; [`ControlError::Failed`] where what was placed elsewhere by then could not be lifted;
    /// [`ControlError::Away`].
    pub(crate) fn hold(&self, control: &dyn Control, request: &HoldRequest) -> Result<Placed, ControlError> {
        let mut placed = Placed { missing: self.missing.clone(), ..Placed::default() };
        let mut unwritten = None;
        for (volume, to) in &self.volumes {
            match control.add_hold_in(volume, HoldRequest { to: *to, ..request.clone() }) {
                Ok(hold) => placed.holds.push((Some(volume.clone()), hold)),
                Err(error) if is_away(&error) => {
                    unwritten = Some(error);
                    placed.missing.push(volume.clone());
                }
                Err(error) => return Err(undone(control, placed, error)),
            }
        }
        match unwritten {
            Some(error) if placed.holds.is_empty() => return Err(error),
            None if placed.holds.is_empty() => match control.add_hold(request.clone()) {
                Ok(hold) => placed.holds.push((None, hold)),
                Err(error) if is_nowhere(&error) && !placed.missing.is_empty() => {
                    return Err(ControlError::Away(placed.missing));
                }
                Err(error) => return Err(error),
            },
            _ => {}
        }
        Ok(placed)
    }
}

/// Whether it is the volume that cannot do anything now: not written, or its disk fails or does not answer. That keeps nobody from holding the
/// rest.
fn is_away(error: &ControlError) -> bool {
    use keha_fs::Error::{Io, Stopped};
    matches!(error, ControlError::Unknown(_) | ControlError::Volume(Io { .. } | Stopped(_)))
}

/// Whether nothing of it is known to be anywhere.
fn is_nowhere(error: &ControlError) -> bool {
    use keha_fs::Error::{NoSuchStream, NotRecorded};
    matches!(error, ControlError::Unknown(_) | ControlError::Volume(NoSuchStream { .. } | NotRecorded { .. }))
}

/// Lifts what was placed; what is to be said.
fn undone(control: &dyn Control, placed: Placed, error: ControlError) -> ControlError {
    let mut stand = Vec::new();
    for (volume, hold) in placed.holds {
        if control.lift_hold(hold.id).is_err() {
            stand.push(format!("{} in {}", hold.id, volume.unwrap_or_default()));
        }
    }
    match stand.is_empty() {
        true => error,
        false => {
            ControlError::Failed(format!("{error}; but what was held elsewhere stands: {}", stand.join(", ")))
        }
    }
}
