//! How holds are shown: as documents, and for people.

use crate::output::document::{Moment, VolumeDocument};
use crate::output::table::{Align, Table};
use crate::units::time;
use jiff::tz::TimeZone;
use keha_fs::{Hold, HoldId, HoldRoom, StreamName, Volume, WallTime};
use serde::Serialize;
use std::path::Path;

/// Holds of a volume, and how much may be held.
#[derive(Debug, Serialize)]
pub(super) struct HoldsDocument {
    schema: &'static str,
    volume: VolumeDocument,
    room: RoomDocument,
    holds: Vec<HoldDocument>,
}

/// How much is held, and how much may be.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RoomDocument {
    blocks_max: u32,
    held_blocks: u32,
    reserved_blocks: u32,
    holds: u32,
    holds_max: u32,
    lost: u32,
    cut_short: u32,
    /// Little is left: less than a quarter of the blocks, or of the places.
    tight: bool,
}

#[derive(Debug, Serialize)]
struct HoldDocument {
    id: String,
    stream: Option<String>,
    stream_id: String,
    /// `waiting`, `growing`, `whole`, `cut_short` or `lost`.
    state: &'static str,
    from: Option<Moment>,
    to: Option<Moment>,
    label: String,
    created: Moment,
    created_running_s: u64,
    expires: Option<Moment>,
    expires_running_s: Option<u64>,
    /// Blocks of the volume that it keeps.
    blocks: usize,
    /// Blocks set aside for it, those that it keeps included.
    reserved_blocks: u32,
    spans: Vec<SpanDocument>,
}

#[derive(Debug, Serialize)]
struct SpanDocument {
    first_chunk: u64,
    last_chunk: Option<u64>,
    first_run: String,
    last_run: Option<String>,
}

impl RoomDocument {
    pub(crate) fn new(room: &HoldRoom) -> RoomDocument {
        RoomDocument {
            blocks_max: room.blocks_max,
            held_blocks: room.held_blocks,
            reserved_blocks: room.reserved_blocks,
            holds: room.holds,
            holds_max: room.holds_max,
            lost: room.lost,
            cut_short: room.cut_short,
            tight: room.is_tight(),
        }
    }

    /// A line for people, where there is anything to say.
    pub(crate) fn line(&self) -> Option<String> {
        if self.holds + self.lost == 0 {
            return None;
        }
        let mut line = format!(
            "{} of {} holds, {} of {} blocks held",
            self.holds + self.lost,
            self.holds_max,
            self.held_blocks,
            self.blocks_max
        );
        if self.reserved_blocks > 0 {
            line.push_str(&format!(", {} set aside for what is still to be recorded", self.reserved_blocks));
        }
        if self.tight {
            line.push_str("; little room is left to hold more");
        }
        if self.lost > 0 {
            line.push_str(&format!("; {} LOST: what they held is overwritten last", self.lost));
        }
        Some(line + "\n")
    }
}

impl HoldsDocument {
    /// The holds of a volume; only those named, if any are.
    pub(super) fn new(
        schema: &'static str,
        volume: &Volume,
        path: &Path,
        only: Option<&[HoldId]>,
    ) -> HoldsDocument {
        let streams = volume.streams();
        let name = |hold: &Hold| {
            streams.iter().find(|stream| stream.id == hold.stream).map(|stream| stream.name.clone())
        };
        let mut holds = volume.holds();
        holds.retain(|hold| only.is_none_or(|only| only.contains(&hold.id)));
        HoldsDocument {
            schema,
            volume: VolumeDocument::new(path, volume.info()),
            room: RoomDocument::new(&volume.hold_room()),
            holds: holds
                .iter()
                .map(|hold| HoldDocument::new(hold, name(hold), volume.held_blocks(hold).len()))
                .collect(),
        }
    }

    /// The same holds, with the room that the volume has now.
    pub(super) fn with_room(self, volume: &Volume) -> HoldsDocument {
        HoldsDocument { room: RoomDocument::new(&volume.hold_room()), ..self }
    }

    /// For people.
    pub(super) fn text(&self, zone: &TimeZone) -> String {
        if self.holds.is_empty() {
            return format!("nothing is held; {} blocks may be\n", self.room.blocks_max);
        }
        let mut table = Table::new(&[
            ("hold", Align::Left),
            ("stream", Align::Left),
            ("state", Align::Left),
            ("from", Align::Left),
            ("to", Align::Left),
            ("blocks", Align::Right),
            ("expires", Align::Left),
            ("label", Align::Left),
        ]);
        let moment = |at: Option<Moment>| at.map_or("-".to_owned(), |at| time::local(at.0, zone));
        for hold in &self.holds {
            table.row(vec![
                hold.id.clone(),
                hold.stream.clone().unwrap_or_else(|| "-".into()),
                hold.state.replace('_', " "),
                moment(hold.from),
                moment(hold.to),
                hold.blocks.to_string(),
                moment(hold.expires),
                // Another program may have written it.
                hold.label.chars().filter(|c| !c.is_control()).collect(),
            ]);
        }
        format!("{}\n{}", table.render(), self.room.line().unwrap_or_default())
    }
}

impl HoldDocument {
    fn new(hold: &Hold, stream: Option<StreamName>, blocks: usize) -> HoldDocument {
        let bounded = |at: Option<WallTime>| {
            at.filter(|at| !hold.lost && *at != WallTime::MIN && *at != WallTime::MAX).map(Moment)
        };
        HoldDocument {
            id: hold.id.to_string(),
            stream: stream.map(|name| name.to_string()),
            stream_id: hold.stream.to_string(),
            state: match hold {
                Hold { lost: true, .. } => "lost",
                Hold { cut_short: true, .. } => "cut_short",
                Hold { growing: true, spans, .. }
                    if spans.last().is_none_or(|span| span.last_chunk.is_some()) =>
                {
                    "waiting"
                }
                Hold { growing: true, .. } => "growing",
                _ => "whole",
            },
            from: bounded(hold.range.from),
            to: bounded(hold.range.to),
            label: hold.label.clone(),
            created: Moment(hold.created),
            created_running_s: hold.created_running_s,
            expires: hold.expires.map(Moment),
            expires_running_s: hold.expires.map(|_| hold.expires_running_s),
            blocks,
            reserved_blocks: hold.reserved_blocks,
            spans: hold
                .spans
                .iter()
                .map(|span| SpanDocument {
                    first_chunk: span.first_chunk.0,
                    last_chunk: span.last_chunk.map(|last| last.0),
                    first_run: span.first_run.to_string(),
                    last_run: span.last_run.map(|run| run.to_string()),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::document;
    use keha_fs::{ChunkNumber, HeldSpan, RunId, StreamId, TimeRange, Uuid};

    fn holds() -> HoldsDocument {
        const SECOND: i64 = 1_000_000_000;
        let begin = WallTime(1_793_489_400 * SECOND);
        let run = RunId(Uuid::from_u128(5));
        let span = HeldSpan {
            first_chunk: ChunkNumber(12),
            last_chunk: Some(ChunkNumber(90)),
            first_run: run,
            last_run: Some(run),
        };
        let whole = Hold {
            id: HoldId(Uuid::from_u128(1)),
            stream: StreamId(Uuid::from_u128(0xf)),
            range: TimeRange { from: Some(begin), to: Some(begin.plus_ns(60 * SECOND)) },
            label: "case 17, police".into(),
            created: begin.plus_ns(3600 * SECOND),
            created_running_s: 7200,
            expires: Some(begin.plus_ns(30 * 86400 * SECOND)),
            expires_running_s: 2_599_200,
            spans: vec![span],
            reserved_blocks: 3,
            ..Hold::default()
        };
        let open = HeldSpan { last_chunk: None, last_run: None, ..span };
        let growing = Hold {
            id: HoldId(Uuid::from_u128(2)),
            spans: vec![open],
            growing: true,
            reserved_blocks: 9,
            expires: None,
            ..whole.clone()
        };
        let waiting = Hold { id: HoldId(Uuid::from_u128(3)), spans: Vec::new(), ..growing.clone() };
        let lost = Hold { id: HoldId(Uuid::from_u128(4)), lost: true, ..Hold::default() };
        let name = StreamName::new("front").ok();
        let room = HoldRoom {
            blocks_max: 20,
            held_blocks: 7,
            reserved_blocks: 9,
            holds: 3,
            holds_max: 16,
            lost: 1,
            cut_short: 0,
        };
        let documents = [(&whole, 3), (&growing, 4), (&waiting, 0)];
        let mut holds: Vec<_> =
            documents.map(|(hold, blocks)| HoldDocument::new(hold, name.clone(), blocks)).into();
        holds.push(HoldDocument::new(&lost, None, 0));
        HoldsDocument {
            schema: "keha.hold-list/1",
            volume: VolumeDocument::new(Path::new("a.ring"), &document::example()),
            room: RoomDocument::new(&room),
            holds,
        }
    }

    #[test]
    fn the_document_is_as_published() {
        insta::assert_json_snapshot!(holds());
    }

    #[test]
    fn the_text_is_as_published() {
        insta::assert_snapshot!(holds().text(&TimeZone::UTC));
    }

    #[test]
    fn a_volume_without_holds_says_how_much_may_be_held() {
        let none = HoldsDocument { holds: Vec::new(), ..holds() };
        assert_eq!(none.text(&TimeZone::UTC), "nothing is held; 20 blocks may be\n");
    }
}
