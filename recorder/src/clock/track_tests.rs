//! A track's clock, told as what arrives and when.

use super::*;
use proptest::prelude::*;

const RATE: u32 = 90_000;
const BEGAN_NS: i64 = 1_700_000_000 * NS_PER_S;

fn arrival(ns: i64) -> Arrival {
    Arrival { mono_ns: ns, wall_ns: BEGAN_NS + ns, prompt: true }
}

fn ticks(ns: i64) -> i64 {
    77_000 + ns_to_ticks(ns, RATE)
}

/// A camera that sends a picture each 40 ms; the delay of each is given. Returns the clock and every sample's wall time
/// by the anchor that was given out last.
fn played(delays_ns: impl IntoIterator<Item = i64>) -> (TrackClock, Vec<i64>) {
    let mut clock: Option<TrackClock> = None;
    let mut anchor = None;
    let mut walls = Vec::new();
    for (index, delay_ns) in delays_ns.into_iter().enumerate() {
        let at_ns = index as i64 * 40 * NS_PER_MS;
        let when = arrival(at_ns + delay_ns);
        let media = ticks(at_ns);
        let clock = clock.get_or_insert_with(|| TrackClock::new(TrackNumber(1), RATE, media, when, 0));
        clock.observe(media, when);
        anchor = clock.anchor_due().or(anchor);
        let anchor = anchor.expect("the first anchor is due at once");
        walls.push(anchor.wall_of(clock.run_ticks(media)).0 - BEGAN_NS);
    }
    (clock.expect("at least one sample"), walls)
}

#[test]
fn a_steady_camera_is_mapped_exactly() {
    let (_, walls) = played([3 * NS_PER_MS; 500]);
    for (index, wall) in walls.iter().enumerate() {
        assert!(
            (wall - index as i64 * 40 * NS_PER_MS - 3 * NS_PER_MS).abs() < 20_000,
            "sample {index}: {wall}"
        );
    }
}

#[test]
fn a_late_first_sample_is_corrected_within_twenty_seconds_without_a_jump() {
    let (_, walls) = played((0..600).map(|index| if index == 0 { 60 * NS_PER_MS } else { 2 * NS_PER_MS }));
    let off = |index: usize| walls[index] - index as i64 * 40 * NS_PER_MS - 2 * NS_PER_MS;
    assert!((off(0) - 58 * NS_PER_MS).abs() < 20_000);
    assert!(off(599).abs() < 20_000, "{}", off(599));
    assert!(walls.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn frame_times_are_even_to_half_a_millisecond_while_an_estimate_settles() {
    let (_, walls) = played((0..600).map(|index| if index == 0 { 60 * NS_PER_MS } else { 2 * NS_PER_MS }));
    for pair in walls.windows(2) {
        let uneven_ns = pair[1] - pair[0] - 40 * NS_PER_MS;
        assert!(uneven_ns.abs() <= 720_000, "{uneven_ns} ns");
    }
}

#[test]
fn a_camera_that_no_longer_reports_is_mapped_by_arrival_again() {
    let mut clock = TrackClock::new(TrackNumber(1), RATE, ticks(0), arrival(0), 20 * NS_PER_MS);
    for index in 0..5_000_i64 {
        let at_ns = index * 40 * NS_PER_MS;
        clock.observe(ticks(at_ns), arrival(at_ns));
        clock.anchor_due();
        if at_ns < 59 * NS_PER_S {
            assert_eq!(clock.wall_ns(ticks(0)), BEGAN_NS + 20 * NS_PER_MS);
        }
    }
    assert_eq!(clock.wall_ns(ticks(0)), BEGAN_NS);
}

#[test]
fn a_good_report_is_slewed_to_at_no_more_than_500_ppm() {
    let (mut clock, _) = played([0; 1000]);
    let at_ns = 1000 * 40 * NS_PER_MS;
    let camera_ns = BEGAN_NS + at_ns + 10 * NS_PER_MS;
    let host = WallTime(BEGAN_NS + at_ns);
    assert_eq!(clock.report(ticks(at_ns), camera_ns, arrival(at_ns), host), Report::Followed);
    let before = clock.wall_ns(ticks(0));
    for index in 1000..1250 {
        let at_ns = index * 40 * NS_PER_MS;
        clock.observe(ticks(at_ns), arrival(at_ns));
    }
    let moved = clock.wall_ns(ticks(0)) - before;
    assert!((4_900_000..=5_040_000).contains(&moved), "500 ppm of 10 s is 5 ms, not {moved} ns");
    let anchor = clock.anchor_due().expect("ten seconds are over");
    assert_eq!((anchor.source, anchor.camera_offset_ns), (ClockSource::SenderReport, 10 * NS_PER_MS));
    assert!((4_000..7_000).contains(&anchor.uncertainty_us), "{}", anchor.uncertainty_us);
}

/// Reports every five seconds of a camera whose clock is that far off, each noted a little later than it came.
#[test]
fn how_far_a_camera_is_off_is_told_by_the_report_that_was_noted_first() {
    let (mut clock, _) = played([0; 50]);
    let report = |clock: &mut TrackClock, second: i64, off_ms: i64, late_ms: i64| {
        let at_ns = second * NS_PER_S;
        let noted_ns = at_ns + late_ms * NS_PER_MS;
        let camera_ns = BEGAN_NS + at_ns + off_ms * NS_PER_MS;
        clock.report(ticks(at_ns), camera_ns, arrival(noted_ns), WallTime(BEGAN_NS + noted_ns));
        clock.camera_offset_ns() / NS_PER_MS
    };
    let told = [90, 40, 3, 70, 99, 12].into_iter().zip(0..);
    let told: Vec<i64> =
        told.map(|(late_ms, place)| report(&mut clock, 2 + 5 * place, 20, late_ms)).collect();
    assert_eq!(told, [-70, -20, 17, 17, 17, 17]);
    // One that the network held up tells nothing.
    assert_eq!(report(&mut clock, 35, 20, 700), 17);
    // It is set: forwards by a little, then back by a second.
    assert_eq!(report(&mut clock, 40, 120, 50), 70);
    assert_eq!([report(&mut clock, 43, -880, 50), report(&mut clock, 45, -880, 50)], [70, -930]);
    assert_eq!(report(&mut clock, 47, -9_880, 50), -9_930);
    // What the network holds up right behind that tells nothing, either.
    assert_eq!(report(&mut clock, 48, -9_880, 700), -9_930);
    assert_eq!(report(&mut clock, 49, -880, 50), -930);
    // A little back shows once the reports before are a minute old.
    assert_eq!(report(&mut clock, 50, -980, 50), -930);
    assert_eq!(report(&mut clock, 115, -980, 50), -1030);
}

#[test]
fn a_report_one_hour_off_is_ignored_and_told() {
    let (mut clock, _) = played([0; 50]);
    let hour = 3_600 * NS_PER_S;
    let at = arrival(2 * NS_PER_S);
    let report = clock.report(ticks(2 * NS_PER_S), at.wall_ns + hour, at, WallTime(at.wall_ns));
    assert_eq!(report, Report::Ignored(hour));
    clock.observe(ticks(3 * NS_PER_S), arrival(3 * NS_PER_S));
    let anchor = clock.anchor_due().expect("due");
    assert_eq!((anchor.source, anchor.camera_offset_ns), (ClockSource::Arrival, hour));
}

#[test]
fn jumps_are_told_from_bursts_stalls_and_reordering() {
    let (clock, _) = played([0; 100]);
    let last_ns = 99 * 40 * NS_PER_MS;
    let step =
        |media_ns: i64, arrival_ns: i64| clock.step(ticks(last_ns + media_ns), arrival(last_ns + arrival_ns));
    assert_eq!(step(40 * NS_PER_MS, 9 * NS_PER_S), Step::Steady, "a stall of the network");
    assert_eq!(step(9 * NS_PER_S, 9 * NS_PER_S), Step::Steady, "a camera that paused");
    assert_eq!(step(-120 * NS_PER_MS, 0), Step::Steady, "B pictures");
    assert_eq!(step(-2 * NS_PER_S, 0), Step::Jumped(-2 * NS_PER_S));
    assert!(matches!(step(3_600 * NS_PER_S, 40 * NS_PER_MS), Step::Jumped(_)));
}

#[test]
fn a_media_clock_at_half_speed_goes_astray() {
    let mut clock = TrackClock::new(TrackNumber(1), RATE, ticks(0), arrival(0), 0);
    let mut astray_at = None;
    for index in 0..5_000_i64 {
        let at_ns = index * 40 * NS_PER_MS;
        clock.observe(ticks(at_ns / 2), arrival(at_ns));
        clock.anchor_due();
        if astray_at.is_none() && clock.astray_ns().is_some() {
            astray_at = Some(at_ns / NS_PER_S);
        }
    }
    assert!(astray_at.is_some_and(|seconds| seconds < 120), "{astray_at:?}");
}

proptest! {
    #[test]
    fn wall_time_grows_with_every_sample_whatever_the_delays(
        delays_ms in proptest::collection::vec(0_i64..400, 1..1_500),
    ) {
        let (_, walls) = played(delays_ms.into_iter().map(|delay| delay * NS_PER_MS));
        for pair in walls.windows(2) {
            prop_assert!(pair[0] < pair[1], "{} then {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn no_input_overflows(
        samples in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<i64>()), 1..50),
    ) {
        let mut clock = TrackClock::new(TrackNumber(1), 0, 0, Arrival { mono_ns: 0, wall_ns: 0, prompt: true }, i64::MAX);
        for (media, mono_ns, wall_ns) in samples {
            let when = Arrival { mono_ns, wall_ns, prompt: true };
            if clock.step(media, when) != Step::Steady {
                clock.bridge(media, when);
            }
            clock.observe(media, when);
            clock.report(media, wall_ns, when, WallTime(mono_ns));
            clock.anchor_due();
            clock.begin_run(wall_ns);
            clock.astray_ns();
        }
    }
}
