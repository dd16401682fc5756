//! What is recorded, why the rest is not, and what had to be read to know it.

use super::made_up::{MadeUp, S, STREAM, at, chunk, media, record};
use crate::timeline::{Timeline, seek, timeline};
use keha_fs::{BlockState, GapReason, OutlineKind, TimeRange};
use std::time::Duration;

fn whole(made_up: &MadeUp, resolution_s: u64) -> Timeline {
    within(made_up, TimeRange::default(), resolution_s)
}

fn within(made_up: &MadeUp, range: TimeRange, resolution_s: u64) -> Timeline {
    timeline(&made_up.index(), made_up, STREAM, range, Duration::from_secs(resolution_s)).unwrap()
}

fn recorded(timeline: &Timeline) -> Vec<(i64, i64)> {
    timeline.recorded.iter().map(|range| (range.from.0 / S, range.to.0 / S)).collect()
}

fn gaps(timeline: &Timeline) -> Vec<(i64, i64, &'static str)> {
    timeline.gaps.iter().map(|gap| (gap.from.0 / S, gap.to.0 / S, gap.reason.as_str())).collect()
}

fn range(from_s: i64, to_s: i64) -> TimeRange {
    TimeRange { from: Some(at(from_s)), to: Some(at(to_s)) }
}

#[test]
fn a_coarse_question_reads_only_the_ends_and_an_exact_one_each_block_once() {
    let mut made_up = MadeUp::default();
    for block in 0..50 {
        made_up = made_up.block(vec![media(1, block * 100, block * 100 + 99)]);
    }
    let index = made_up.index();
    let ask = |resolution| {
        timeline(&index, &made_up, STREAM, TimeRange::default(), Duration::from_secs(resolution)).unwrap()
    };
    let coarse = ask(3600);
    assert_eq!((recorded(&coarse), gaps(&coarse)), (vec![(0, 4999)], vec![]));
    assert_eq!(made_up.asked(), [0, 49]);
    assert_eq!((recorded(&ask(0)), made_up.asked().len()), (vec![(0, 4999)], 48));
    assert_eq!((recorded(&ask(0)), made_up.asked().len()), (vec![(0, 4999)], 0), "it is known by now");
}

#[test]
fn what_was_learnt_is_kept_where_rows_stay_the_same_and_forgotten_where_not() {
    let made_up = MadeUp::default().block(vec![media(1, 0, 9)]).block(vec![media(1, 10, 19)]);
    let mut index = made_up.index();
    let ask = |index: &_, made_up: &MadeUp| {
        recorded(&timeline(index, made_up, STREAM, TimeRange::default(), Duration::ZERO).unwrap())
    };
    assert_eq!(ask(&index, &made_up), [(0, 19)]);
    let mut grown =
        MadeUp::default().block(vec![media(1, 0, 9)]).block(vec![media(1, 10, 19), media(1, 20, 29)]);
    index.refresh(&grown);
    assert_eq!(ask(&index, &grown), [(0, 29)]);
    assert_eq!(grown.asked(), [1]);
    // The ring took the first block.
    grown.blocks.remove(0);
    grown.blocks[0].0.follows = false;
    index.refresh(&grown);
    assert_eq!((ask(&index, &grown), index.rows()), (vec![(10, 29)], 1));
}

#[test]
fn gaps_have_the_reasons_that_were_recorded_one_after_the_other() {
    let made_up = MadeUp::default()
        .block(vec![
            media(1, 0, 100),
            record(GapReason::ConnectionLost, 101, None),
            record(GapReason::ConnectionLost, 101, Some(200)),
        ])
        .block(vec![
            record(GapReason::RecorderDown, 200, Some(500)),
            media(2, 503, 600),
            record(GapReason::Overload, 600, Some(630)),
            media(2, 630, 700),
            media(3, 900, 950),
        ]);
    let exact = whole(&made_up, 0);
    assert_eq!(recorded(&exact), [(0, 100), (503, 600), (630, 700), (900, 950)]);
    assert_eq!(
        gaps(&exact),
        [
            (100, 200, "connection lost"),
            (200, 503, "recorder down"),
            (600, 630, "overload"),
            (700, 900, "unknown")
        ]
    );
    assert_eq!(recorded(&whole(&made_up, 60)), [(0, 100), (503, 700), (900, 950)]);
    assert_eq!(recorded(&whole(&made_up, 3600)), [(0, 950)]);
}

#[test]
fn a_question_within_a_gap_is_answered_with_its_reason() {
    let made_up = MadeUp::default()
        .block(vec![media(1, 0, 100), record(GapReason::Refused, 100, Some(1000))])
        .block(vec![media(2, 1000, 1100)]);
    for resolution in [0, 1, 60] {
        let answer = within(&made_up, range(400, 600), resolution);
        assert_eq!((recorded(&answer), gaps(&answer)), (vec![], vec![(400, 600, "refused")]));
    }
    let answer = within(&made_up, range(50, 1050), 0);
    assert_eq!(recorded(&answer), [(50, 100), (1000, 1050)]);
    assert_eq!(gaps(&answer), [(100, 1000, "refused")]);
}

#[test]
fn an_open_gap_at_the_end_reaches_as_far_as_is_asked_and_else_nothing_is_said() {
    let open = MadeUp::default().block(vec![media(1, 0, 100), record(GapReason::Stopped, 100, None)]);
    assert_eq!(gaps(&within(&open, range(0, 900), 1)), [(100, 900, "stopped")]);
    assert_eq!(gaps(&whole(&open, 1)), []);
    let mut live = MadeUp::default().block(vec![media(1, 0, 100)]);
    live.live = true;
    let answer = within(&live, range(-50, 900), 1);
    assert_eq!((recorded(&answer), gaps(&answer), answer.live), (vec![(0, 100)], vec![], true));
}

#[test]
fn what_the_ring_took_and_what_was_erased_or_is_too_old_is_told_apart() {
    let made_up = MadeUp::default()
        .block(vec![media(1, 0, 100)])
        .behind_a_hole()
        .block(vec![media(1, 500, 600)])
        .behind_a_hole()
        .block(vec![media(1, 601, 700)])
        .void(BlockState::Erased)
        .block(vec![media(1, 701, 750), chunk(OutlineKind::Expired, 1, 751, 800), media(1, 801, 850)]);
    let answer = within(&made_up, range(-100, 2000), 0);
    assert_eq!(recorded(&answer), [(0, 100), (500, 600), (701, 750), (801, 850)]);
    let expected =
        [(-100, 0, "overwritten"), (100, 500, "overwritten"), (600, 701, "erased"), (750, 801, "expired")];
    assert_eq!(gaps(&answer), expected);
}

#[test]
fn a_block_that_is_taken_while_it_is_asked_for_is_overwritten() {
    let mut made_up = MadeUp::default().block(vec![media(1, 0, 100)]).block(vec![media(1, 101, 200)]);
    made_up = made_up.block(vec![media(1, 201, 300)]);
    let index = made_up.index();
    made_up.blocks[1].0.sequence.0 += 7;
    let answer = timeline(&index, &made_up, STREAM, TimeRange::default(), Duration::ZERO).unwrap();
    assert_eq!(recorded(&answer), [(0, 100), (201, 300)]);
    assert_eq!(gaps(&answer), [(100, 201, "overwritten")]);
}

#[test]
fn a_clock_set_back_makes_an_overlap_and_every_run_is_found() {
    let made_up = MadeUp::default()
        .block(vec![media(1, 0, 100), media(1, 101, 200)])
        .block(vec![media(2, 150, 180), media(2, 181, 300)]);
    let answer = whole(&made_up, 1);
    assert_eq!((recorded(&answer), gaps(&answer)), (vec![(0, 300)], vec![]));
    let overlap = answer.overlaps.iter().map(|range| (range.from.0 / S, range.to.0 / S));
    assert_eq!(overlap.collect::<Vec<_>>(), [(150, 200)]);
    let found = |s| {
        let answer = seek(&made_up.index(), &made_up, STREAM, at(s)).unwrap();
        answer.at.iter().map(|point| (point.run.0.as_u128(), point.sync.0 / S)).collect::<Vec<_>>()
    };
    assert_eq!(found(160), [(1, 101), (2, 150)]);
    assert_eq!(found(190), [(1, 101), (2, 181)]);
    assert_eq!((found(100), found(250)), (vec![(1, 0)], vec![(2, 181)]));
}

#[test]
fn a_moment_between_two_stretches_has_neighbours_and_no_place() {
    let made_up = MadeUp::default().block(vec![media(1, 0, 100)]).block(vec![media(2, 500, 600)]);
    let answer = seek(&made_up.index(), &made_up, STREAM, at(300)).unwrap();
    assert_eq!((answer.at.len(), answer.before, answer.behind), (0, Some(at(100)), Some(at(500))));
}

#[test]
fn an_unknown_stream_has_nothing() {
    let made_up = MadeUp::default();
    let unknown = keha_fs::StreamId::default();
    let answer = timeline(&made_up.index(), &made_up, unknown, TimeRange::default(), Duration::ZERO);
    assert_eq!(answer.unwrap(), Timeline::default());
    assert!(seek(&made_up.index(), &made_up, unknown, at(0)).unwrap().at.is_empty());
}
