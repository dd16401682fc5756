//! Sessions in the proof: every writer that was handed out stands in the volume, whatever happened since, and none that closed
//! is said to have crashed.

use super::oracle::Claim;
use super::{Verdict, demand};
use crate::clock::ClockSync;
use crate::reader::Volume;
use crate::session::{Opener, SessionEnd};
use crate::types::{Epoch, Uuid, WallTime};
use std::collections::BTreeMap;

/// A session that was begun.
#[derive(Clone, Debug)]
pub(super) struct SessionModel {
    pub(super) began: WallTime,
    /// How its clock was kept then.
    pub(super) clock: ClockSync,
    pub(super) opener: Opener,
    /// It was closed, and that was acknowledged: when, and how its clock was kept then.
    pub(super) closed: Option<(WallTime, ClockSync)>,
}

/// Who opens a volume behind an epoch: somebody else each time.
pub(super) fn opener(behind: Epoch) -> Opener {
    let which = behind.0;
    Opener {
        purpose: format!("proof {which}"),
        software: format!("keha {}.{}.0", which % 7, which % 5),
        host: format!("recorder-{}", which % 3),
        machine: Uuid::from_u64_pair(which.into(), 7),
        user: format!("user {}", which % 11),
    }
}

/// What each writer said, by its epoch.
pub(super) type Sessions = BTreeMap<Epoch, SessionModel>;

/// Judges the sessions of a volume. Where faults may have hit their places, only what is there must be right.
pub(super) fn judge(volume: &Volume, claim: &Claim<'_>) -> Verdict {
    let log = volume.sessions();
    let found: BTreeMap<Epoch, _> = log.sessions.iter().map(|session| (session.epoch, session)).collect();
    for session in &log.sessions {
        demand!(session.follows != Some(false), "{session:?} does not follow the one before it");
        let epoch = volume.state().epoch;
        demand!(session.epoch <= epoch, "{session:?} is there, but the newest epoch is {epoch}");
    }
    for (epoch, model) in &claim.model.sessions {
        let Some(session) = found.get(epoch) else {
            let given_way = found.keys().any(|later| later.0 >= epoch.0 + log.room);
            demand!(given_way || claim.faulty, "the session of epoch {epoch} is not there: {found:#?}");
            continue;
        };
        demand!(session.began == model.began, "{session:?} began at {}", model.began.0);
        let (opener, clock) = (&session.opener, session.began_clock);
        demand!((opener, clock) == (&model.opener, model.clock), "{session:?} is not {model:?}");
        let closed = match session.end {
            SessionEnd::Closed { at, clock, .. } => Some((at, clock)),
            _ => None,
        };
        let right = match (model.closed, closed) {
            (None, _) => true,
            (Some(_), None) => claim.faulty,
            (said, found) => said == found,
        };
        demand!(right, "{session:?} was closed: {model:?}");
    }
    Ok(())
}
