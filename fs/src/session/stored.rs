//! Sessions as they stand in their slots.

use super::{ClockWatch, Opener, Session, SessionEnd};
use crate::clock::ClockSync;
use crate::format::Text;
use crate::format::session::{SESSION_CLOSED, SESSION_OPEN, SessionSlot};
use crate::types::{Epoch, RoundNumber, WallTime};
use std::time::Duration;

/// The slot of a session that begins; the caller knows place, round and what stood before.
pub(crate) fn begun(opener: &Opener, epoch: Epoch, at: WallTime, clock: ClockSync) -> SessionSlot {
    let (begin_clock, begin_error_us) = clock_fields(clock);
    SessionSlot {
        epoch,
        revision: 1,
        state: SESSION_OPEN,
        begin_clock,
        begin_error_us,
        began: at,
        machine: opener.machine,
        purpose: cut(&opener.purpose),
        software: cut(&opener.software),
        host: cut(&opener.host),
        user: if planted!(SessionUserForgotten) { Text::default() } else { cut(&opener.user) },
        ..SessionSlot::default()
    }
}

/// The slot of the same session when it closes.
pub(crate) fn closed(
    session: &SessionSlot,
    at: WallTime,
    clock: ClockSync,
    running_s: u64,
    last_round: RoundNumber,
) -> SessionSlot {
    let (end_clock, end_error_us) = clock_fields(clock);
    SessionSlot {
        revision: session.revision.saturating_add(1),
        state: SESSION_CLOSED,
        end_clock,
        end_error_us,
        ended: at,
        ended_running: running_s,
        last_round,
        ..session.clone()
    }
}

impl SessionSlot {
    /// The slot with what was noted of its clock.
    pub(crate) fn with_steps(&self, watch: &ClockWatch) -> SessionSlot {
        SessionSlot {
            revision: self.revision.saturating_add(1),
            clock_steps: watch.steps,
            largest_step_ns: watch.largest_ns,
            ..self.clone()
        }
    }
}

/// What two copies of a row of slots say, slot by slot: of each the later that stands.
pub(crate) fn merge(
    front: Vec<Option<(SessionSlot, u32)>>,
    back: Vec<Option<(SessionSlot, u32)>>,
) -> Vec<Option<(SessionSlot, u32)>> {
    let later = |(a, b): (Option<(SessionSlot, u32)>, _)| {
        [a, b].into_iter().flatten().max_by_key(|(slot, _): &(SessionSlot, u32)| slot.age())
    };
    front.into_iter().zip(back).map(later).collect()
}

/// The session in a slot. `before` is the slot of the session before it, with its checksum, if it stands; `after` that of
/// the one after it.
pub(crate) fn session_of(
    slot: &SessionSlot,
    before: Option<&(SessionSlot, u32)>,
    after: Option<&SessionSlot>,
) -> Session {
    let end = match (slot.state, after) {
        (SESSION_CLOSED, _) => SessionEnd::Closed {
            at: slot.ended,
            clock: clock_of(slot.end_clock, slot.end_error_us),
            running_s: slot.ended_running,
            last_round: slot.last_round,
        },
        (_, Some(after)) => SessionEnd::Crashed { last_round_at: Some(after.before_last) },
        (_, None) => SessionEnd::Open,
    };
    let follows = before.filter(|_| slot.before_checksum != 0);
    Session {
        epoch: slot.epoch,
        opener: Opener {
            purpose: slot.purpose.as_str().to_owned(),
            software: slot.software.as_str().to_owned(),
            host: slot.host.as_str().to_owned(),
            machine: slot.machine,
            user: slot.user.as_str().to_owned(),
        },
        began: slot.began,
        began_clock: clock_of(slot.begin_clock, slot.begin_error_us),
        began_running_s: slot.began_running,
        first_round: slot.first_round,
        end,
        clock_steps: slot.clock_steps,
        largest_step_ns: slot.largest_step_ns,
        follows: follows.map(|(_, checksum)| *checksum == slot.before_checksum),
    }
}

fn clock_fields(clock: ClockSync) -> (u8, u32) {
    match clock {
        ClockSync::Unknown => (0, u32::MAX),
        ClockSync::FreeRunning => (1, u32::MAX),
        ClockSync::Synchronised { error_max } => {
            (2, u32::try_from(error_max.as_micros()).unwrap_or(u32::MAX))
        }
    }
}

fn clock_of(kind: u8, error_us: u32) -> ClockSync {
    match kind {
        1 => ClockSync::FreeRunning,
        2 => ClockSync::Synchronised { error_max: Duration::from_micros(error_us.into()) },
        _ => ClockSync::Unknown,
    }
}

/// As much of a text as there is room for, up to a whole character.
fn cut<const N: usize>(text: &str) -> Text<N> {
    let text = text.replace('\0', " ");
    let end = (0..=N.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Text::new(&text[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Framed;
    use crate::types::{Uuid, VolumeId};

    fn opener() -> Opener {
        Opener {
            purpose: "record".to_owned(),
            software: "keha 1.2.3".to_owned(),
            host: "yard".to_owned(),
            machine: Uuid::from_u128(5),
            user: "keha".to_owned(),
        }
    }

    fn kept(error_ms: u64) -> ClockSync {
        ClockSync::Synchronised { error_max: Duration::from_millis(error_ms) }
    }

    #[test]
    fn a_session_is_read_as_it_was_written_and_only_in_its_place() {
        let volume = VolumeId::random();
        let slot = SessionSlot { volume, slot: 3, ..begun(&opener(), Epoch(7), WallTime(1000), kept(3)) };
        let slot = closed(&slot, WallTime(2000), ClockSync::FreeRunning, 9, RoundNumber(12));
        let mut bytes = [0xa5; SessionSlot::SIZE];
        let checksum = slot.seal(&mut bytes);
        assert_eq!(SessionSlot::read(&bytes, volume, 3), Some((slot.clone(), checksum)));
        assert_eq!(SessionSlot::read(&bytes, volume, 4), None);
        assert_eq!(SessionSlot::read(&bytes, VolumeId::random(), 3), None);
        let session = session_of(&slot, None, None);
        assert_eq!((session.opener, session.began_clock), (opener(), kept(3)));
        let end = SessionEnd::Closed {
            at: WallTime(2000),
            clock: ClockSync::FreeRunning,
            running_s: 9,
            last_round: RoundNumber(12),
        };
        assert_eq!((session.end, session.follows), (end, None));
    }

    #[test]
    fn how_an_open_session_ended_is_known_from_the_next() {
        let slot = begun(&opener(), Epoch(7), WallTime(1000), ClockSync::Unknown);
        let next = SessionSlot { before_last: WallTime(1500), ..SessionSlot::default() };
        assert_eq!(session_of(&slot, None, None).end, SessionEnd::Open);
        let crashed = SessionEnd::Crashed { last_round_at: Some(WallTime(1500)) };
        assert_eq!(session_of(&slot, None, Some(&next)).end, crashed);
    }

    #[test]
    fn a_session_before_that_was_changed_later_is_told() {
        let before = begun(&opener(), Epoch(6), WallTime(0), ClockSync::Unknown);
        let slot = SessionSlot { before_checksum: 77, ..before.clone() };
        for (checksum, follows) in [(77, true), (78, false)] {
            let found = Some((before.clone(), checksum));
            assert_eq!(session_of(&slot, found.as_ref(), None).follows, Some(follows));
        }
        assert_eq!(session_of(&slot, None, None).follows, None);
    }

    #[test]
    fn the_later_copy_of_a_slot_counts() {
        let slot = |epoch, revision| {
            Some((SessionSlot { epoch: Epoch(epoch), revision, ..SessionSlot::default() }, 0))
        };
        let front = vec![slot(5, 2), slot(6, 1), None, None];
        let back = vec![slot(5, 1), slot(2, 9), slot(3, 1), None];
        assert_eq!(merge(front, back), [slot(5, 2), slot(6, 1), slot(3, 1), None]);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut::<8>("ääää").as_str(), "ääää");
        assert_eq!(cut::<7>("ääää").as_str(), "äää");
        assert_eq!(cut::<4>("a\0bcd").as_str(), "a bc");
    }
}
