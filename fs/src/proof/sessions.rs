//! Sessions in the proof: every writer that was handed out stands in the volume, whatever happened since, and none that closed
//! is said to have crashed.

use super::oracle::Claim;
use super::{Verdict, demand};
use crate::reader::Volume;
use crate::session::SessionEnd;
use crate::types::{Epoch, WallTime};
use std::collections::BTreeMap;

/// A session that was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionModel {
    pub(super) began: WallTime,
    /// It was closed, and that was acknowledged.
    pub(super) closed: bool,
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
        let closed = matches!(session.end, SessionEnd::Closed { .. });
        demand!(closed || !model.closed || claim.faulty, "{session:?} was closed");
    }
    Ok(())
}
