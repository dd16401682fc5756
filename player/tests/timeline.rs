//! The timeline of real volumes, against an oracle that reads every sample.

#[path = "timeline/oracle.rs"]
mod oracle;
#[path = "timeline/recorder.rs"]
mod recorder;

use keha_fs::{
    EraseRequest, GapReason, HoldRequest, Retention, RetentionRequest, StreamName, TimeRange, Volume,
    WallTime,
};
use keha_player::timeline::{Index, Recorded, Timeline, coalesce, seek, timeline};
use oracle::Oracle;
use recorder::{NOON, Ring, S, now};
use std::time::Duration;

const HOUR: i64 = 3600;

/// Everything that can be asked of a stream, against what its samples say.
fn judge(volume: &Volume) -> (Oracle, Timeline) {
    let stream = volume.stream(&StreamName::new("front").unwrap()).unwrap().id;
    let oracle = Oracle::read(volume, stream);
    let index = Index::new(volume);
    let ask = |range, resolution_s: u64| {
        timeline(&index, volume, stream, range, Duration::from_secs(resolution_s)).unwrap()
    };
    // Coarse first: nothing is known then.
    for resolution_s in [3600, 60, 1, 0] {
        let answer = ask(TimeRange::default(), resolution_s);
        assert_eq!(
            answer.recorded,
            oracle.covered(TimeRange::default(), resolution_s as i64 * S),
            "{resolution_s} s"
        );
        tiles(&answer, resolution_s as i64 * S);
    }
    let mut random = 0x2026_u64;
    let (first, last) = oracle.reach();
    for _ in 0..60 {
        let (a, b) = (moment(&mut random, first, last), moment(&mut random, first, last));
        let range = TimeRange { from: Some(a.min(b)), to: Some(a.max(b).plus_ns(1)) };
        for resolution_s in [0, 1] {
            let answer =
                timeline(&Index::new(volume), volume, stream, range, Duration::from_secs(resolution_s));
            let answer = answer.unwrap();
            assert_eq!(
                answer.recorded,
                oracle.covered(range, resolution_s as i64 * S),
                "{range:?} at {resolution_s} s"
            );
            tiles(&answer, resolution_s as i64 * S);
        }
    }
    for _ in 0..300 {
        let wall = moment(&mut random, first.plus_ns(-10 * S), last.plus_ns(10 * S));
        let answer = seek(&index, volume, stream, wall).unwrap();
        let found: Vec<_> = answer.at.iter().map(|point| (point.run, point.sync)).collect();
        let (at, before, behind) = oracle.seek(wall);
        assert_eq!((found, answer.before, answer.behind), (at, before, behind), "{wall:?}");
    }
    let whole = ask(TimeRange::default(), 0);
    let part_void = volume.stream_rows(stream).iter().filter(|row| row.part_void).count();
    assert!(whole.outlines_read <= part_void, "all else is known by now: {whole:?}");
    (oracle, whole)
}

/// What is recorded and what is not lie side by side.
fn tiles(answer: &Timeline, resolution_ns: i64) {
    let gaps = answer.gaps.iter().map(|gap| Recorded { from: gap.from, to: gap.to });
    let all: Vec<Recorded> = answer.recorded.iter().copied().chain(gaps).collect();
    assert!(coalesce(all, resolution_ns).len() <= 1, "{answer:?}");
    let touch = |gap: &keha_player::timeline::TimelineGap| {
        answer.recorded.iter().any(|range| range.from < gap.to && gap.from < range.to)
    };
    assert!(!answer.gaps.iter().any(touch), "{answer:?}");
}

fn moment(random: &mut u64, first: WallTime, last: WallTime) -> WallTime {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let span = last.since_ns(first).unsigned_abs().max(1);
    first.plus_ns(((*random >> 8) % span) as i64)
}

fn reasons(answer: &Timeline) -> Vec<&'static str> {
    answer.gaps.iter().map(|gap| gap.reason.as_str()).collect()
}

fn at(seconds: i64) -> WallTime {
    NOON.plus_ns(seconds * S)
}

#[test]
fn a_stream_with_every_kind_of_gap_is_told_as_its_samples_say() {
    let ring = Ring::new(32 << 20);
    let mut recorder = ring.recorder();
    recorder.run(at(0), 300);
    recorder.gap(GapReason::ConnectionLost, at(300), None);
    recorder.gap(GapReason::ConnectionLost, at(300), Some(at(900)));
    recorder.gap(GapReason::Refused, at(900), Some(at(1000)));
    recorder.run(at(1000), 150);
    // What is recorded seconds later never stands in the same chunk.
    recorder.settle();
    recorder.goes_on(at(1200), 100);
    recorder.gap(GapReason::Overload, at(1300), Some(at(1310)));
    recorder.goes_on(at(1310), 30);
    // A new run at once.
    recorder.run(at(1341), 30);
    recorder.gap(GapReason::RecorderDown, at(1371), Some(at(HOUR * 9)));
    recorder.run(at(HOUR * 9), 60);
    recorder.close();
    let (_, answer) = judge(&ring.volume());
    let expected = ["connection lost", "refused", "unknown", "overload", "recorder down"];
    let long: Vec<_> = answer.gaps.iter().filter(|gap| gap.to.since_ns(gap.from) > 2 * S).collect();
    assert_eq!(long.iter().map(|gap| gap.reason.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!((long[0].to, long[1].from), (at(900), at(900)));
}

#[test]
fn clocks_set_back_and_forth_are_found_run_by_run() {
    let ring = Ring::new(32 << 20);
    let mut recorder = ring.recorder();
    recorder.run(at(0), 200);
    recorder.run(at(100), 200);
    recorder.run(at(-50), 30);
    recorder.run(at(HOUR), 100);
    recorder.run(at(300), 150);
    recorder.close();
    let (oracle, answer) = judge(&ring.volume());
    assert!(!answer.overlaps.is_empty());
    assert_eq!(oracle.seek(at(150)).0.len(), 2, "two runs stand there");
}

#[test]
fn a_ring_that_went_round_tells_what_is_left() {
    let ring = Ring::new(16 << 20);
    let mut recorder = ring.recorder();
    for run in 0..24 {
        recorder.run(at(run * 400), 300);
        recorder.gap(GapReason::Silent, at(run * 400 + 300), Some(at(run * 400 + 400)));
    }
    recorder.close();
    let volume = ring.volume();
    let (oracle, _) = judge(&volume);
    assert!(oracle.reach().0 > at(3600), "the ring went round");
    let stream = volume.stream(&StreamName::new("front").unwrap()).unwrap().id;
    let range = TimeRange { from: Some(at(0)), to: Some(at(24 * 400)) };
    let answer = timeline(&Index::new(&volume), &volume, stream, range, Duration::ZERO).unwrap();
    assert_eq!(answer.gaps.first().map(|gap| (gap.from, gap.reason.as_str())), Some((at(0), "overwritten")));
}

#[test]
fn what_is_held_stands_alone_where_the_ring_went_over_the_rest() {
    let ring = Ring::new(16 << 20);
    let mut recorder = ring.recorder();
    recorder.run(at(0), 600);
    recorder.close();
    let mut recorder = ring.recorder();
    recorder
        .writer()
        .add_hold(HoldRequest {
            stream: StreamName::new("front").unwrap(),
            from: at(200),
            to: at(330),
            label: "held".to_owned(),
            expires: None,
        })
        .unwrap();
    for run in 0..10 {
        recorder.run(at(1000 + run * 500), 500);
    }
    recorder.close();
    let (_, answer) = judge(&ring.volume());
    assert_eq!(answer.recorded.iter().filter(|range| range.from < at(600)).count(), 1);
    let hole = answer.gaps.iter().find(|gap| gap.to.since_ns(gap.from) > 60 * S).unwrap();
    assert_eq!(hole.reason.as_str(), "overwritten");
}

#[test]
fn what_was_erased_is_told_as_erased_and_nothing_of_it_is_found() {
    let ring = Ring::new(32 << 20);
    let mut recorder = ring.recorder();
    recorder.run(at(0), 500);
    recorder.gap(GapReason::Silent, at(500), Some(at(700)));
    recorder.run(at(700), 300);
    recorder.close();
    for (from, to) in [(40, 60), (150, 400), (480, 720), (990, 2000)] {
        let recorder = ring.recorder();
        let stream = StreamName::new("front").unwrap();
        recorder.writer().erase(EraseRequest { stream, from: at(from), to: at(to) }).unwrap();
        recorder.close();
        let (oracle, answer) = judge(&ring.volume());
        assert!(oracle.seek(at(from + 5)).0.is_empty());
        assert!(reasons(&answer).contains(&"erased"), "{answer:?}");
    }
}

#[test]
fn what_is_past_its_maximum_age_is_not_there() {
    let ring = Ring::new(32 << 20);
    let now = now();
    let mut recorder = ring.recorder();
    recorder.run(now.plus_ns(-4000 * S), 250);
    recorder.run(now.plus_ns(-300 * S), 280);
    recorder
        .writer()
        .set_retention(RetentionRequest {
            stream: StreamName::new("front").unwrap(),
            retention: Retention { maximum_age_s: 2000, ..Retention::default() },
        })
        .unwrap();
    recorder.close();
    let (oracle, answer) = judge(&ring.volume());
    assert_eq!(oracle.reach().0, now.plus_ns(-300 * S));
    assert_eq!(reasons(&answer).first(), Some(&"expired"));
}

#[test]
fn beside_a_live_writer_the_timeline_ends_where_its_samples_do_and_goes_on_with_them() {
    let ring = Ring::new(32 << 20);
    let mut recorder = ring.recorder();
    recorder.run(at(0), 200);
    recorder.settle();
    let mut volume = ring.volume();
    let stream = volume.stream(&StreamName::new("front").unwrap()).unwrap().id;
    let mut index = Index::new(&volume);
    let end = |index: &Index, volume: &Volume| {
        let range = TimeRange { from: Some(at(0)), to: Some(at(9 * HOUR)) };
        let answer = timeline(index, volume, stream, range, Duration::from_secs(60)).unwrap();
        assert!(answer.live && answer.gaps.is_empty(), "{answer:?}");
        answer.recorded.last().map(|range| range.to)
    };
    let before = end(&index, &volume);
    assert_eq!(before, Some(Oracle::read(&volume, stream).reach().1));
    recorder.goes_on(at(200), 200);
    recorder.settle();
    volume.refresh().unwrap();
    index.refresh_stream(&volume, stream);
    let behind = end(&index, &volume);
    assert_eq!(behind, Some(Oracle::read(&volume, stream).reach().1));
    assert!(behind > before);
    recorder.close();
    let (_, answer) = judge(&ring.volume());
    assert!(!answer.live);
}
