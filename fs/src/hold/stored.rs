//! Holds as they stand in their slots.

use super::{HeldSpan, Hold};
use crate::format::Text;
use crate::format::hold::{HoldSlot, SLOT_FREE, SLOT_HELD, SLOT_LOST, SPANS_MAX, SpanRecord};
use crate::report::TimeRange;
use crate::types::{ChunkNumber, HoldId, RunId, Uuid, VolumeId, WallTime};

/// By which name readers know a hold that was lost while no slot tells of it.
pub(crate) const MISSING: HoldId = HoldId(Uuid::from_u128(1));

/// What a slot is known to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Free,
    Held(Hold),
    /// Neither copy verifies, or it says itself that something was lost.
    Lost(HoldId),
}

impl Slot {
    /// What stands in a slot; `None` is one of which neither copy verifies.
    pub(crate) fn of(found: Option<&HoldSlot>, volume: VolumeId, index: usize) -> Slot {
        match found {
            Some(slot) if slot.state == SLOT_FREE => Slot::Free,
            Some(slot) if slot.state == SLOT_HELD => Slot::Held(hold_of(slot)),
            Some(slot) => Slot::Lost(slot.id),
            // Always the same one, so that it can be lifted by name.
            None => {
                let (high, low) = volume.0.as_u64_pair();
                Slot::Lost(HoldId(Uuid::from_u64_pair(high, low ^ (index as u64 + 1))))
            }
        }
    }

    /// What stands there, for everyone who asks for holds.
    pub(crate) fn hold(&self) -> Option<Hold> {
        match self {
            Slot::Free => None,
            Slot::Held(hold) => Some(hold.clone()),
            Slot::Lost(id) => Some(Hold { id: *id, lost: true, ..Hold::default() }),
        }
    }
}

/// A slot as it stands on disk. A label or spans for which there is no room were refused before.
pub(crate) fn slot_of(slot: &Slot, volume: VolumeId, index: usize, generation: u64) -> HoldSlot {
    let place = HoldSlot { volume, slot: index as u32, generation, ..HoldSlot::default() };
    let hold = match slot {
        Slot::Free => return place,
        Slot::Lost(id) => return HoldSlot { state: SLOT_LOST, id: *id, ..place },
        Slot::Held(hold) => hold,
    };
    let span = |index: usize| hold.spans.get(index).map(record_of).unwrap_or_default();
    HoldSlot {
        state: SLOT_HELD,
        growing: hold.growing,
        cut_short: hold.cut_short,
        spans: hold.spans.len().min(SPANS_MAX) as u8,
        id: hold.id,
        stream: hold.stream,
        from: hold.range.from.unwrap_or(WallTime::MIN),
        to: hold.range.to.unwrap_or(WallTime::MAX),
        created: hold.created,
        created_running: hold.created_running_s,
        expires: hold.expires.unwrap_or_default(),
        expires_running: hold.expires_running_s,
        reserved_blocks: hold.reserved_blocks,
        span_0: span(0),
        span_1: span(1),
        span_2: span(2),
        span_3: span(3),
        label: Text::new(&hold.label).unwrap_or_default(),
        ..place
    }
}

fn record_of(span: &HeldSpan) -> SpanRecord {
    SpanRecord {
        first_chunk: span.first_chunk,
        last_chunk: span.last_chunk.unwrap_or(ChunkNumber(u64::MAX)),
        first_run: span.first_run,
        last_run: span.last_run.unwrap_or_default(),
    }
}

fn span_of(record: &SpanRecord) -> HeldSpan {
    let whole = record.last_chunk != ChunkNumber(u64::MAX);
    HeldSpan {
        first_chunk: record.first_chunk,
        last_chunk: whole.then_some(record.last_chunk),
        first_run: record.first_run,
        last_run: (record.last_run != RunId::default()).then_some(record.last_run),
    }
}

fn hold_of(slot: &HoldSlot) -> Hold {
    let spans = [&slot.span_0, &slot.span_1, &slot.span_2, &slot.span_3];
    Hold {
        id: slot.id,
        stream: slot.stream,
        range: TimeRange { from: Some(slot.from), to: Some(slot.to) },
        label: slot.label.as_str().to_owned(),
        created: slot.created,
        created_running_s: slot.created_running,
        expires: (slot.expires != WallTime::default()).then_some(slot.expires),
        expires_running_s: slot.expires_running,
        spans: spans.into_iter().take(slot.spans.into()).map(span_of).collect(),
        growing: slot.growing,
        cut_short: slot.cut_short,
        reserved_blocks: slot.reserved_blocks,
        lost: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Framed;
    use crate::types::StreamId;

    fn hold() -> Hold {
        let span = |first, last: Option<u64>| HeldSpan {
            first_chunk: ChunkNumber(first),
            last_chunk: last.map(ChunkNumber),
            first_run: RunId::random(),
            last_run: last.map(|_| RunId::random()),
        };
        Hold {
            id: HoldId::random(),
            stream: StreamId::random(),
            range: TimeRange { from: Some(WallTime(5)), to: Some(WallTime(9)) },
            label: "ä".repeat(64),
            created: WallTime(7),
            created_running_s: 8,
            expires: Some(WallTime(11)),
            expires_running_s: 12,
            spans: vec![span(1, Some(2)), span(5, Some(6)), span(8, Some(9)), span(12, None)],
            growing: true,
            cut_short: true,
            reserved_blocks: 3,
            lost: false,
        }
    }

    #[test]
    fn a_slot_is_read_as_it_was_written_and_only_in_its_place() {
        let volume = VolumeId::random();
        for slot in [Slot::Free, Slot::Held(hold()), Slot::Lost(HoldId::random())] {
            let mut bytes = [0xa5; HoldSlot::SIZE];
            slot_of(&slot, volume, 3, 77).seal(&mut bytes);
            let read = HoldSlot::read(&bytes, volume, 3).expect("it stands");
            assert_eq!((Slot::of(Some(&read), volume, 3), read.generation), (slot, 77));
            assert_eq!(HoldSlot::read(&bytes, volume, 4), None);
            assert_eq!(HoldSlot::read(&bytes, VolumeId::random(), 3), None);
        }
    }

    #[test]
    fn a_slot_that_does_not_verify_has_a_name_that_stays() {
        let volume = VolumeId::random();
        assert_eq!(Slot::of(None, volume, 3), Slot::of(None, volume, 3));
        assert_ne!(Slot::of(None, volume, 3), Slot::of(None, volume, 4));
        assert!(Slot::of(None, volume, 3).hold().is_some_and(|hold| hold.lost));
    }
}
