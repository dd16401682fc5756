//! What a recorder answers about holds and retention, and what it says of them by itself: early, and once for each change.

use super::Above;
use crate::control::{Answer, EraseOrder, HoldOrder, RetentionOrder};
use crate::failure::{self, Failure};
use keha_fs::{HoldId, HoldRoom, Holder, RetentionReport, Uuid};

/// Makes a hold for whoever asks over the control socket.
pub(super) fn add(holder: &Holder, order: &HoldOrder, above: Option<&dyn Above>) -> String {
    let request = order.request().map_err(anyhow::Error::from);
    let held = request.and_then(|request| match above {
        Some(above) => above.hold(holder, request),
        None => Ok(holder.add(request)?),
    });
    answer(held.map(|hold| Answer::Hold { id: hold.id.0 }))
}

/// Lifts a hold for whoever asks over the control socket.
pub(super) fn lift(holder: &Holder, id: Uuid, above: Option<&dyn Above>) -> String {
    let id = HoldId(id);
    let lifted = match above {
        Some(above) => above.lift(holder, id),
        None => holder.lift(id).map_err(anyhow::Error::from),
    };
    answer(lifted.map(|hold| Answer::Hold { id: hold.id.0 }))
}

/// Erases footage for whoever asks over the control socket; answers when that is done.
pub(super) fn erase(holder: &Holder, order: &EraseOrder) -> String {
    let request = order.request().map_err(anyhow::Error::from);
    answer(request.and_then(|request| Ok(Answer::Erased(holder.erase(request)?.into()))))
}

/// Says how long a stream's footage stays, for whoever asks over the control socket.
pub(super) fn retain(holder: &Holder, order: &RetentionOrder) -> String {
    let request = order.request().map_err(anyhow::Error::from);
    answer(request.and_then(|request| Ok(holder.set_retention(request).map(|()| Answer::Done {})?)))
}

/// Has a camera return to this volume, for whoever asks over the control socket.
pub(super) fn bring_home(above: Option<&dyn Above>, camera: &str) -> String {
    let none = || Failure::failed("this recorder has one volume: nobody went on elsewhere");
    answer(above.ok_or_else(none).and_then(|above| above.bring_home(camera)).map(|()| Answer::Done {}))
}

fn answer(result: anyhow::Result<Answer>) -> String {
    let answer = result.unwrap_or_else(|error| {
        let unknown = error.chain().any(|cause| {
            let cause = cause.downcast_ref::<keha_fs::Error>();
            matches!(cause, Some(keha_fs::Error::Io { .. } | keha_fs::Error::Stopped(_)))
        });
        let exit = failure::exit_of(&error) as u8;
        Answer::Error { error: failure::line_of(&error), exit, known: !unknown }
    });
    answer.render()
}

/// Watches how much is held.
#[derive(Debug, Default)]
pub(super) struct HoldWatch {
    before: HoldRoom,
}

impl HoldWatch {
    /// Says what changed for the worse since the round before.
    pub(super) fn round(&mut self, now: HoldRoom) {
        let before = std::mem::replace(&mut self.before, now);
        if now.lost > before.lost {
            tracing::error!(
                lost = now.lost,
                "a hold is lost: what may have been held is overwritten last; see keha hold list"
            );
        }
        if now.cut_short > before.cut_short {
            tracing::error!(
                cut_short = now.cut_short,
                "a hold ended early: the volume has no room to hold more; see keha hold list"
            );
        }
        if now.is_tight() && !before.is_tight() {
            tracing::warn!(
                held_blocks = now.held_blocks,
                reserved_blocks = now.reserved_blocks,
                blocks_max = now.blocks_max,
                holds = now.holds,
                holds_max = now.holds_max,
                "little room is left to hold footage; see keha hold list"
            );
        }
    }
}

/// Watches what retention does.
#[derive(Debug, Default)]
pub(super) struct RetentionWatch {
    before: RetentionReport,
}

impl RetentionWatch {
    /// Says what changed for the worse since the round before.
    pub(super) fn round(&mut self, now: RetentionReport) {
        let before = std::mem::replace(&mut self.before, now);
        if now.young_taken > before.young_taken {
            tracing::error!(
                blocks = now.young_taken,
                "footage is overwritten before its minimum age: the volume is too small for it; see keha stream list"
            );
        }
    }
}
