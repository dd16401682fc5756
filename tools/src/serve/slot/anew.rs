//! A volume that failed, and whose disk is there again as another device: pulled out and plugged in, it answers to who opens it anew, and
//! to nobody who has the old device open.
//!
//! While it is the same device nothing is gained by closing it: once that answers again, what waits in memory is written.

use super::{Looking, RETRY, Slot};
use crate::control::FileIdentity;
use crate::serve::failover::judge::Verdict;
use keha_fs::partition;
use std::path::Path;
use std::time::Instant;

/// Which file or device a volume lies on now; `None` if there is none. Reads no more than tables of partitions, which may take as long as
/// disks do.
pub(super) fn lies_on(path: &Path) -> Option<FileIdentity> {
    match partition::id_of(path) {
        Ok(Some(_)) => FileIdentity::of(&partition::at(path).ok().flatten()?.device).ok(),
        _ => FileIdentity::of(path).ok(),
    }
}

impl Slot {
    /// Whether it is to be found out by [`Slot::is_another`] if it lies on another device now. Whoever is told so does it.
    pub(in crate::serve) fn begin_look(&self, now: Instant) -> bool {
        let mut state = self.state();
        let is_open = self.live.try_read().is_ok_and(|live| live.is_some());
        let due = matches!(state.looking, Looking::At(at) if now >= at);
        let wanted = due && is_open && matches!(state.judge.verdict(now), Verdict::Failed(_));
        if wanted {
            state.looking = Looking::Now;
        }
        wanted
    }

    /// Nobody looks.
    pub(in crate::serve) fn end_look(&self) {
        self.state().looking = Looking::At(Instant::now() + RETRY);
    }

    /// Whether its disk is there, and is another device than when it was opened.
    pub(in crate::serve) fn is_another(&self) -> bool {
        let now = lies_on(&self.path);
        let before = self.state().lies_on;
        before.is_some() && now.is_some() && now != before
    }
}
