//! What a plan promises, for whatever was recorded.

use super::gops::Gops;
use super::made_up::{Event, MS, MadeUp, STREAM, events};
use super::{BYTES_MAX, LENGTH_MAX, Outlines, Plan, SEGMENTS_MAX, plan};
use crate::timeline::{Index, QUIET_NS, TimelineSource};
use keha_fs::{
    BlockOutline, BlockState, Configuration, ConfigurationHash, OutlineSync, StreamId, StreamRow, TimeRange,
    TrackNumber, VolumeId,
};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn planned(made: &MadeUp, range: TimeRange, target_s: u64) -> Plan {
    plan(&Index::new(made), made, STREAM, range, Duration::from_secs(target_s)).unwrap()
}

proptest! {
    #[test]
    fn segments_are_what_is_recorded_no_more_no_less(events in events(), target in 1u64..7) {
        let made = MadeUp::of(&events);
        let plan = planned(&made, TimeRange::default(), target);
        let length = |from: keha_fs::WallTime, to: keha_fs::WallTime| to.since_ns(from);
        let sum: i64 = plan.segments.iter().map(|segment| length(segment.name.from, segment.name.to)).sum();
        prop_assert_eq!(sum, made.playable_ns());
        let names: BTreeSet<_> = plan.segments.iter().map(|segment| segment.name).collect();
        prop_assert_eq!(names.len(), plan.segments.len());
        prop_assert!(plan.segments.iter().all(|segment| segment.duration() <= LENGTH_MAX));
        for pair in plan.segments.windows(2) {
            let (before, behind) = (pair[0].name, pair[1].name);
            let goes_on = (before.run, before.configuration, before.to) == (behind.run, behind.configuration, behind.from);
            prop_assert_eq!(behind.from >= before.to, true);
            if pair[1].discontinuity {
                // A new run may begin at once; all else leaves a hole or changes what samples need.
                prop_assert!(!goes_on || made.gops.iter().any(|gop| gop.from == behind.from));
            } else {
                prop_assert!(goes_on);
                let slot = |wall: keha_fs::WallTime| wall.0 / (target as i64 * 1000 * MS);
                prop_assert!(slot(before.from) < slot(behind.from), "they could have been one");
            }
        }
    }

    #[test]
    fn a_range_has_the_segments_of_the_whole_but_for_its_ends(events in events(), from in 0usize..40, length in 1usize..20) {
        let made = MadeUp::of(&events);
        prop_assume!(!made.gops.is_empty());
        let first = &made.gops[from % made.gops.len()];
        let last = &made.gops[(from % made.gops.len() + length).min(made.gops.len() - 1)];
        // Behind its first picture, if it has another one.
        let within = i64::from(first.to.since_ns(first.from) > 40 * MS);
        let range = TimeRange { from: Some(first.from.plus_ns(within)), to: Some(last.to) };
        let whole = planned(&made, TimeRange::default(), 2).segments;
        let part = planned(&made, range, 2).segments;
        // The whole of it is there,
        let lengths = made.gops.iter().filter(|gop| gop.from >= first.from && gop.from < last.to);
        let playable: i64 = lengths.map(|gop| gop.to.since_ns(gop.from)).filter(|ns| *ns <= LENGTH_MAX.as_nanos() as i64).sum();
        prop_assert_eq!(part.iter().map(|segment| segment.duration().as_nanos() as i64).sum::<i64>(), playable);
        // and all but the first and the last segment are shared with other ranges.
        for segment in part.iter().skip(1).rev().skip(1) {
            prop_assert!(whole.iter().any(|other| other.name == segment.name));
        }
    }

    #[test]
    fn what_is_planned_while_it_is_recorded_stays_planned(events in events()) {
        let mut made = MadeUp::of(&events);
        let whole: BTreeSet<_> = planned(&made, TimeRange::default(), 1).segments.iter().map(|segment| segment.name).collect();
        made.live = true;
        for shown in 0..made.chunks() {
            made.shown = shown;
            let early = planned(&made, TimeRange::default(), 1).segments;
            // The last one may still be joined with what comes.
            for segment in early.iter().rev().skip(1) {
                prop_assert!(whole.contains(&segment.name), "{}", segment.name);
            }
        }
    }
}

/// The last second of a camera that was stopped was in no playlist before it recorded again.
#[test]
fn a_stream_that_is_not_recorded_any_more_has_its_last_segment_although_its_volume_is_being_written() {
    let mut made = MadeUp::of(&[Event::Gops(5, 1000)]);
    let whole = planned(&made, TimeRange::default(), 1);
    made.live = true;
    let last = made.gops.last().unwrap().to;
    let at = |ns: i64| {
        let index = Index::new(&made).looked_at(last.plus_ns(ns));
        plan(&index, &made, STREAM, TimeRange::default(), Duration::from_secs(1)).unwrap()
    };
    assert!(at(0).segments.len() < whole.segments.len(), "more of it may come");
    assert_eq!(at(QUIET_NS + 1), whole);
}

#[test]
fn a_group_of_pictures_that_is_too_long_is_told_and_left_out() {
    let made = MadeUp::of(&[Event::Gops(2, 1000), Event::Gops(1, 61_000), Event::Gops(2, 1000)]);
    let plan = planned(&made, TimeRange::default(), 1);
    assert_eq!((plan.segments.len(), plan.left_out.len()), (4, 1));
    let breaks: Vec<bool> = plan.segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(breaks, [false, false, true, false]);
}

#[test]
fn a_group_of_pictures_that_is_too_large_is_told_and_left_out() {
    let large = [Event::Bytes(8 << 20), Event::Gops(1, 10_000), Event::Bytes(100_000)];
    let events = [&[Event::Gops(2, 1000)], &large[..], &[Event::Gops(2, 1000)]].concat();
    let plan = planned(&MadeUp::of(&events), TimeRange::default(), 1);
    assert_eq!((plan.segments.len(), plan.left_out.len()), (4, 1));
    assert!(plan.segments.iter().all(|segment| segment.bytes <= BYTES_MAX as u64));
}

/// Chunks of a stream with two video tracks, and the tracks whose sync samples stand in them.
#[test]
fn the_video_track_with_the_lowest_number_leads() {
    for tracks in [&[2, 1, 2, 1, 2, 1][..], &[1, 2, 1, 2, 1, 2]] {
        let made = MadeUp::of(&[Event::Gops(tracks.len(), 1000)]);
        let rows = made.rows(STREAM);
        let mut outline = made.outline(STREAM, &rows[0]).unwrap();
        for (sync, track) in outline.syncs.iter_mut().zip(tracks) {
            sync.track = TrackNumber(*track);
        }
        let expected: Vec<_> =
            outline.syncs.iter().filter(|sync| sync.track.0 == 1).map(|sync| sync.wall).collect();
        // In one block, and in a block each.
        let alone = |index: usize| BlockOutline {
            chunks: vec![outline.chunks[index].clone()],
            syncs: vec![OutlineSync { chunk: 0, ..outline.syncs[index] }],
            ..outline.clone()
        };
        for outlines in [vec![outline.clone()], (0..tracks.len()).map(alone).collect()] {
            let mut gops = Gops::default();
            outlines.iter().for_each(|outline| gops.block(&rows[0], outline));
            gops.end_stretch();
            let mut found: Vec<_> = gops.take_ready().map(|gop| gop.from).collect();
            // A block that stands alone tells of the track it has.
            found.retain(|from| *from >= expected[0]);
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_range_with_too_many_segments_is_an_error_that_says_how_long_it_may_be() {
    let made = MadeUp::of(&[Event::Gops(SEGMENTS_MAX + 10, 1000)]);
    let error =
        plan(&Index::new(&made), &made, STREAM, TimeRange::default(), Duration::from_secs(1)).unwrap_err();
    assert!(error.to_string().contains("up to 6 hours"), "{error}");
}

#[test]
fn an_unknown_stream_has_no_segments() {
    let made = MadeUp::of(&[Event::Gops(2, 1000)]);
    let unknown = keha_fs::StreamId::default();
    let index = Index::new(&made);
    let plan = plan(&index, &made, unknown, TimeRange::default(), Duration::from_secs(1)).unwrap();
    assert_eq!(plan, Plan::default());
}

/// A source of which everything is counted that is read.
struct Counted {
    made: MadeUp,
    configurations: Cell<usize>,
}

impl TimelineSource for Counted {
    fn streams(&self) -> Vec<StreamId> {
        self.made.streams()
    }

    fn is_live(&self) -> bool {
        self.made.is_live()
    }

    fn rows(&self, stream: StreamId) -> Vec<StreamRow> {
        let mut rows = self.made.rows(stream);
        if let Some(last) = rows.last_mut().filter(|_| self.made.live) {
            last.state = BlockState::Open;
        }
        rows
    }

    fn outline(&self, stream: StreamId, row: &StreamRow) -> keha_fs::Result<BlockOutline> {
        self.made.outline(stream, row)
    }

    fn configuration(
        &self,
        stream: StreamId,
        row: &StreamRow,
        hash: ConfigurationHash,
    ) -> keha_fs::Result<Option<Arc<Configuration>>> {
        self.configurations.set(self.configurations.get() + 1);
        self.made.configuration(stream, row, hash)
    }
}

impl Counted {
    fn of(made: MadeUp) -> Counted {
        Counted { made, configurations: Cell::new(0) }
    }

    fn read(&self) -> usize {
        self.made.asked.get() + self.configurations.get()
    }

    fn plan(&self, outlines: &Outlines, range: TimeRange) -> Plan {
        let source = outlines.of(VolumeId::default(), self);
        plan(&Index::new(self), &source, STREAM, range, Duration::from_secs(6)).unwrap()
    }
}

#[test]
fn a_days_playlist_reads_nothing_the_second_time_whoever_asks() {
    let source = Counted::of(MadeUp::of(&[Event::Gops(43_200, 2000)]));
    let outlines = Outlines::new(64 << 20);
    let first = source.plan(&outlines, TimeRange::default());
    let read = source.read();
    assert!(read > 1000 && first.segments.len() > 10_000, "{read}");
    assert_eq!(source.plan(&outlines, TimeRange::default()), first);
    let within = TimeRange { from: Some(first.segments[50].name.from), to: Some(first.segments[90].name.to) };
    assert_eq!(source.plan(&outlines, within).segments.len(), 41);
    assert_eq!(source.read(), read, "an hour of it was read with the day");
    assert_eq!(planned(&source.made, TimeRange::default(), 6), first);
}

#[test]
fn what_goes_on_is_read_again_and_nothing_else() {
    let mut made = MadeUp::of(&[Event::Gops(100, 2000)]);
    made.live = true;
    let outlines = Outlines::new(64 << 20);
    let whole = made.chunks();
    for shown in (whole - 20)..=whole {
        made.shown = shown;
        let source = Counted::of(made.clone());
        let before = source.read();
        let plan = source.plan(&outlines, TimeRange::default());
        let read = source.read() - before;
        // The block that is open, and the one that was open before.
        assert!(shown == whole - 20 || read <= 2, "{read}");
        assert_eq!(plan, planned(&source.made, TimeRange::default(), 6));
    }
}

#[test]
fn what_was_erased_or_hides_something_is_not_kept() {
    let source = Counted::of(MadeUp::of(&[Event::Gops(40, 2000)]));
    let outlines = Outlines::new(64 << 20);
    let shared = outlines.of(VolumeId::default(), &source);
    let row = source.rows(STREAM)[0];
    for (change, kept) in [
        (row, true),
        (StreamRow { held: true, follows: false, ..row }, true),
        (StreamRow { part_void: true, ..row }, false),
        (StreamRow { state: BlockState::Open, ..row }, false),
        // Some of its chunks are not durable yet, or hidden by damage.
        (StreamRow { chunks: row.chunks + 1, ..row }, false),
    ] {
        shared.outline(STREAM, &change).unwrap();
        let before = source.read();
        shared.outline(STREAM, &change).unwrap();
        assert_eq!(source.read() == before, kept, "{change:?}");
    }
}

#[test]
fn outlines_take_so_much_memory_and_no_more() {
    let source = Counted::of(MadeUp::of(&[Event::Gops(4000, 2000)]));
    let outlines = Outlines::new(100_000);
    let first = source.plan(&outlines, TimeRange::default());
    assert!(outlines.bytes() <= 100_000 && outlines.bytes() > 10_000, "{}", outlines.bytes());
    assert_eq!(source.plan(&outlines, TimeRange::default()), first);
}
