//! Stories of a recording: what a camera sends, and what then stands in the stream.

mod clocks;

use super::*;
use crate::clock::NS_PER_MS;
use keha_fs::{Anchor, ClockSource};
use proptest::prelude::*;

const VIDEO: TrackNumber = TrackNumber(1);
const AUDIO: TrackNumber = TrackNumber(2);
const BEGAN: i64 = 1_700_000_000 * NS_PER_S;

/// What a stream was given, in order.
#[derive(Debug)]
enum Given {
    Configuration(Configuration),
    Run,
    Anchor(Anchor),
    Sample(Sample),
    Gap(Gap),
    Park,
}

#[derive(Debug, Default)]
struct List {
    given: Vec<Given>,
    /// How many further samples are taken before the queue is full; `None` for all.
    room: Option<usize>,
    /// Whether configurations are refused.
    refuses: bool,
}

impl Sink for List {
    fn configure(&mut self, configuration: &Configuration) -> Result<(), keha_fs::Error> {
        if self.refuses {
            return Err(keha_fs::Error::Invalid("too large".to_owned()));
        }
        self.given.push(Given::Configuration(configuration.clone()));
        Ok(())
    }

    fn begin_run(&mut self, _run: RunId) {
        self.given.push(Given::Run);
    }

    fn anchor(&mut self, anchor: Anchor) {
        self.given.push(Given::Anchor(anchor));
    }

    fn push(&mut self, sample: Sample) -> Result<(), Rejected> {
        if sample.is_empty() {
            return Err(Rejected::Size);
        }
        match &mut self.room {
            Some(0) => Err(Rejected::Full),
            Some(room) => {
                *room -= 1;
                self.given.push(Given::Sample(sample));
                Ok(())
            }
            None => {
                self.given.push(Given::Sample(sample));
                Ok(())
            }
        }
    }

    fn gap(&mut self, gap: &Gap) {
        self.given.push(Given::Gap(gap.clone()));
    }

    fn park(&mut self) {
        self.given.push(Given::Park);
    }

    fn was_waited_for(&self) -> bool {
        false
    }
}

impl List {
    fn samples(&self) -> Vec<&Sample> {
        self.given
            .iter()
            .filter_map(|given| if let Given::Sample(sample) = given { Some(sample) } else { None })
            .collect()
    }

    fn gaps(&self) -> Vec<&Gap> {
        self.given
            .iter()
            .filter_map(|given| if let Given::Gap(gap) = given { Some(gap) } else { None })
            .collect()
    }

    fn runs(&self) -> usize {
        self.given.iter().filter(|given| matches!(given, Given::Run)).count()
    }

    /// Every sample's wall time by the track's last anchor before it, run by run, in milliseconds since the beginning.
    fn walls_ms(&self, track: TrackNumber) -> Vec<Vec<i64>> {
        let mut runs = Vec::new();
        let mut anchor = None;
        for given in &self.given {
            match given {
                Given::Run => {
                    anchor = None;
                    runs.push(Vec::new());
                }
                Given::Anchor(given) if given.track == track => anchor = Some(*given),
                Given::Sample(sample) if sample.track == track => {
                    let wall = anchor.expect("an anchor before the first sample").wall_of(sample.ticks);
                    runs.last_mut()
                        .expect("a run before the first sample")
                        .push((wall.0 - BEGAN) / NS_PER_MS);
                }
                _ => {}
            }
        }
        runs
    }
}

fn at(ms: i64) -> Moment {
    Moment { mono_ns: 5_000 * NS_PER_S + ms * NS_PER_MS, wall: WallTime(BEGAN + ms * NS_PER_MS) }
}

fn video() -> TrackConfiguration {
    TrackConfiguration {
        track: VIDEO,
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: 90_000,
        width: 1280,
        height: 720,
        channels: 0,
        sample_rate: 0,
        private: vec![1, 2, 3],
    }
}

fn audio() -> TrackConfiguration {
    TrackConfiguration {
        track: AUDIO,
        kind: TrackKind::Audio,
        codec: *b"ulaw",
        timescale: 8_000,
        width: 0,
        height: 0,
        channels: 1,
        sample_rate: 8_000,
        private: Vec::new(),
    }
}

/// A picture with media time `media_ms` that arrives at `arrival_ms`.
fn picture(media_ms: i64, arrival_ms: i64, sync: bool) -> MediaSample {
    MediaSample {
        track: VIDEO,
        ticks: 4_000_000_000 + media_ms * 90,
        arrival: at(arrival_ms),
        flags: if sync { SampleFlags::SYNC } else { SampleFlags::default() },
        data: vec![Bytes::from_static(&[0; 100])],
        bytes: 100,
    }
}

fn sound(media_ms: i64, arrival_ms: i64) -> MediaSample {
    MediaSample {
        track: AUDIO,
        ticks: 77 + media_ms * 8,
        arrival: at(arrival_ms),
        flags: SampleFlags::SYNC,
        data: vec![Bytes::from_static(&[0; 16])],
        bytes: 16,
    }
}

fn connected() -> Recording<List> {
    let mut recording = Recording::new(List::default(), None, at(0));
    recording.begin_session(vec![VIDEO], vec![video()], at(0));
    recording
}

/// Pictures 25 a second with a GOP of 10, of indices `range`, each arriving 5 ms after it was taken.
fn play(recording: &mut Recording<List>, range: std::ops::Range<i64>) {
    for index in range {
        recording.sample(picture(index * 40, index * 40 + 5, index % 10 == 0));
    }
}

#[test]
fn every_sample_goes_out_in_order_with_a_run_a_configuration_and_an_anchor_before_it() {
    let mut recording = connected();
    play(&mut recording, 0..100);
    recording.stop();
    let list = &recording.sink;
    assert_eq!((list.samples().len(), list.runs(), list.gaps().len()), (100, 1, 0));
    assert!(list.samples().iter().zip(0..).all(|(sample, index)| sample.ticks == index * 3_600));
    assert!(matches!(list.given[..3], [Given::Run, Given::Configuration(_), Given::Anchor(_)]));
    assert!(matches!(list.given.last(), Some(Given::Park)));
    assert_eq!(list.walls_ms(VIDEO), [(0..100).map(|index| index * 40 + 5).collect::<Vec<_>>()]);
}

#[test]
fn a_burst_at_the_beginning_does_not_shift_the_wall_time() {
    let mut recording = connected();
    // The server sends the last GOP at once: all of its pictures arrive within 100 ms.
    for index in 0..25 {
        recording.sample(picture(index * 40, 1_000 + index * 4, index == 0));
    }
    for index in 25..100 {
        recording.sample(picture(index * 40, index * 40 + 100, index % 25 == 0));
    }
    recording.stop();
    let walls = recording.sink.walls_ms(VIDEO);
    assert!(walls[0].iter().zip(0..).all(|(wall, index)| (wall - index * 40 - 100).abs() < 50), "{walls:?}");
}

#[test]
fn video_and_audio_count_from_one_origin() {
    let mut recording = Recording::new(List::default(), None, at(0));
    recording.begin_session(vec![VIDEO, AUDIO], vec![video(), audio()], at(0));
    for index in 0..50 {
        recording.sample(sound(index * 40, index * 40 + 2));
        recording.sample(sound(index * 40 + 20, index * 40 + 22));
        recording.sample(picture(index * 40, index * 40 + 32, index == 0));
    }
    recording.stop();
    let list = &recording.sink;
    assert_eq!(list.walls_ms(VIDEO)[0].first(), Some(&32));
    assert_eq!(list.walls_ms(AUDIO)[0].first(), Some(&2));
    let first =
        |track| list.samples().into_iter().find(|sample| sample.track == track).map(|sample| sample.ticks);
    assert_eq!((first(AUDIO), first(VIDEO)), (Some(0), Some(30 * 90)));
}

#[test]
fn sound_waits_for_the_configuration_of_the_video() {
    let mut recording = Recording::new(List::default(), None, at(0));
    recording.begin_session(vec![VIDEO, AUDIO], Vec::new(), at(0));
    recording.configure(audio(), at(0));
    for index in 0..20 {
        recording.sample(sound(index * 40, index * 40));
    }
    assert!(recording.sink.samples().is_empty());
    recording.configure(video(), at(800));
    recording.sample(picture(800, 800, true));
    let list = &recording.sink;
    let configurations: Vec<_> =
        list.given.iter().filter(|given| matches!(given, Given::Configuration(_))).collect();
    assert!(
        matches!(configurations[..], [Given::Configuration(all)] if all.tracks.len() == 2),
        "one, with both"
    );
    assert_eq!(list.samples().len(), 21);
}

#[test]
fn a_sound_track_that_stays_mute_holds_no_picture_back() {
    let mut recording = Recording::new(List::default(), None, at(0));
    recording.begin_session(vec![VIDEO, AUDIO], vec![audio()], at(0));
    recording.configure(video(), at(0));
    play(&mut recording, 0..10);
    assert!(!recording.sink.samples().is_empty(), "after 360 ms");
}

#[test]
fn a_changed_parameter_set_is_a_configuration_in_the_same_run_and_no_gap() {
    let mut recording = connected();
    play(&mut recording, 0..50);
    recording.configure(video(), at(2_000));
    recording.configure(TrackConfiguration { width: 640, ..video() }, at(2_000));
    play(&mut recording, 50..60);
    recording.stop();
    let list = &recording.sink;
    assert_eq!((list.runs(), list.gaps().len(), list.samples().len()), (1, 0, 60));
    let widths: Vec<_> = list
        .given
        .iter()
        .filter_map(
            |given| if let Given::Configuration(all) = given { Some(all.tracks[0].width) } else { None },
        )
        .collect();
    assert_eq!(widths, [1280, 640], "the repeated one is none");
}

#[test]
fn a_lost_connection_is_a_gap_from_the_last_sample_to_the_next() {
    let mut recording = connected();
    play(&mut recording, 0..50);
    recording.interrupted(GapReason::ConnectionLost, "reset", at(2_500));
    recording.attempt_failed(GapReason::Refused, "refused", at(3_000));
    recording.begin_session(vec![VIDEO], vec![video()], at(9_000));
    for index in 0..20 {
        recording.sample(picture(index * 40, 10_000 + index * 40, index == 0));
    }
    recording.stop();
    let list = &recording.sink;
    let gaps: Vec<_> = list.gaps().into_iter().map(|gap| (gap.reason, gap.from, gap.to)).collect();
    let from = WallTime(BEGAN + (49 * 40 + 5) * NS_PER_MS);
    let to = WallTime(BEGAN + 10_000 * NS_PER_MS);
    assert_eq!(gaps, [(GapReason::ConnectionLost, from, None), (GapReason::ConnectionLost, from, Some(to))]);
    assert_eq!((list.runs(), list.samples().len(), recording.gap_count()), (2, 70, 1));
}

#[test]
fn samples_held_back_when_the_connection_breaks_are_not_lost() {
    let mut recording = connected();
    play(&mut recording, 0..3);
    recording.interrupted(GapReason::ConnectionLost, "reset", at(130));
    assert_eq!(recording.sink.samples().len(), 3);
}

#[test]
fn an_overload_leaves_out_whole_gops_and_its_gap_counts_them() {
    let mut recording = connected();
    recording.sink.room = Some(25);
    play(&mut recording, 0..32);
    recording.sink.room = None;
    play(&mut recording, 32..60);
    recording.stop();
    let list = &recording.sink;
    // 0..25 were taken; 25 was refused, and all up to the refused keyframe 30 and on to the next one, 40.
    assert_eq!(list.samples().len(), 25 + 20);
    let gaps = list.gaps();
    assert_eq!(gaps.len(), 2);
    assert_eq!((gaps[1].reason, gaps[1].samples_lost, gaps[1].bytes_lost), (GapReason::Overload, 15, 1_500));
    assert_eq!(
        (gaps[1].from, gaps[1].to),
        (WallTime(BEGAN + 965 * NS_PER_MS), Some(WallTime(BEGAN + 1_605 * NS_PER_MS)))
    );
    assert_eq!(list.samples()[25].ticks, 0, "what follows is a new run");
    assert_eq!(list.walls_ms(VIDEO).last().map(|run| run[0]), Some(1_605), "on the same clock");
    let counters = recording.counters();
    assert_eq!(counters.dropped_samples, 15);
    let of = |reason| counters.drops.iter().find(|drops| drops.reason == reason).map(|drops| drops.samples);
    assert_eq!((of(GapReason::Overload), of(GapReason::SampleTooLarge)), (Some(15), Some(0)));
}

#[test]
fn an_overload_that_ends_with_the_connection_keeps_its_count() {
    let mut recording = connected();
    recording.sink.room = Some(10);
    play(&mut recording, 0..25);
    recording.interrupted(GapReason::ConnectionLost, "reset", at(1_000));
    recording.sink.room = None;
    recording.begin_session(vec![VIDEO], vec![video()], at(2_000));
    for index in 0..10 {
        recording.sample(picture(index * 40, 2_000 + index * 40, index == 0));
    }
    recording.stop();
    let gaps = recording.sink.gaps();
    let last = gaps.last().expect("closed");
    assert_eq!((last.reason, last.samples_lost, last.to.is_some()), (GapReason::Overload, 15, true));
}

#[test]
fn a_sample_too_large_costs_its_gop_under_its_own_reason() {
    let mut recording = connected();
    play(&mut recording, 0..15);
    recording.too_large(VIDEO, 33 << 20, at(600));
    play(&mut recording, 15..40);
    recording.stop();
    let list = &recording.sink;
    assert_eq!(list.samples().len(), 15 + 20);
    let gap = list.gaps()[1];
    assert_eq!(
        (gap.reason, gap.samples_lost, gap.bytes_lost),
        (GapReason::SampleTooLarge, 6, (33 << 20) + 500)
    );
}

#[test]
fn a_configuration_that_is_refused_is_a_gap_that_says_why_and_nothing_goes_out_under_the_one_before() {
    let mut recording = connected();
    play(&mut recording, 0..15);
    recording.sink.refuses = true;
    recording.configure(TrackConfiguration { private: vec![9], ..video() }, at(600));
    play(&mut recording, 15..35);
    recording.sink.refuses = false;
    play(&mut recording, 35..50);
    recording.stop();
    let list = &recording.sink;
    assert_eq!(list.samples().len(), 15 + 10);
    let gap = list.gaps()[1];
    assert_eq!((gap.reason, gap.samples_lost), (GapReason::Protocol, 25));
    assert!(gap.detail.contains("too large"), "{}", gap.detail);
    let configurations: Vec<_> = list
        .given
        .iter()
        .filter_map(
            |given| if let Given::Configuration(configuration) = given { Some(configuration) } else { None },
        )
        .collect();
    assert_eq!(configurations.last().map(|last| &last.tracks[0].private), Some(&vec![9]));
}

#[test]
fn an_empty_sample_is_passed_over() {
    let mut recording = connected();
    play(&mut recording, 0..15);
    recording.sample(MediaSample { data: Vec::new(), bytes: 0, ..picture(600, 605, false) });
    play(&mut recording, 16..20);
    assert_eq!((recording.sink.samples().len(), recording.sink.gaps().len()), (19, 0));
}

#[test]
fn the_time_without_a_recorder_is_a_gap_and_a_clean_stop_is_none() {
    let last = at(-60_000).wall;
    let mut recording = Recording::new(List::default(), Some((last, GapReason::RecorderDown).into()), at(0));
    recording.begin_session(vec![VIDEO], vec![video()], at(0));
    play(&mut recording, 0..20);
    recording.stop();
    let gaps: Vec<_> = recording.sink.gaps().into_iter().map(|gap| (gap.reason, gap.from, gap.to)).collect();
    let (from, to) = (last.plus_ns(NS_PER_MS), Some(at(5).wall));
    assert_eq!(gaps, [(GapReason::RecorderDown, from, None), (GapReason::RecorderDown, from, to)]);
}

#[test]
fn a_camera_that_never_answered_leaves_nothing_in_a_new_stream() {
    let mut recording = Recording::new(List::default(), None, at(0));
    for second in 0..100 {
        recording.attempt_failed(GapReason::Unauthorised, "401", at(second * 1_000));
    }
    recording.stop();
    assert!(matches!(recording.sink.given[..], [Given::Park]));
}

proptest! {
    /// Whatever a camera does, nothing disappears unaccounted for, and wall time grows within each run.
    #[test]
    fn every_sample_is_written_or_counted_and_wall_time_grows(
        steps in proptest::collection::vec((0_i64..200, -300_i64..12_000, any::<bool>(), 0_u8..40), 1..300),
        room in proptest::option::of(0_usize..200),
    ) {
        let mut recording = connected();
        recording.sink.room = room;
        let (mut media_ms, mut now_ms, mut sent) = (0, 0, 0_u64);
        for (pause_ms, jump_ms, sync, action) in steps {
            now_ms += pause_ms;
            media_ms += if jump_ms % 7 == 0 { jump_ms } else { pause_ms.max(1) };
            match action {
                0 => recording.interrupted(GapReason::ConnectionLost, "", at(now_ms)),
                1 => recording.begin_session(vec![VIDEO], vec![video()], at(now_ms)),
                2 => recording.sender_report(VIDEO, 4_000_000_000 + media_ms * 90, at(now_ms + jump_ms).wall, at(now_ms)),
                3 => recording.tick(at(now_ms)),
                4 => recording.sink.room = room.map(|room| room / 2),
                _ => {
                    sent += 1;
                    recording.sample(picture(media_ms, now_ms, sync));
                }
            }
        }
        recording.stop();
        let counters = recording.counters();
        prop_assert_eq!(counters.samples + counters.dropped_samples, sent);
        let by_reason: u64 = counters.drops.iter().map(|drops| drops.samples).sum();
        prop_assert_eq!(counters.dropped_samples, by_reason);
        prop_assert_eq!(counters.samples as usize, recording.sink.samples().len());
        for run in recording.sink.walls_ms(VIDEO) {
            prop_assert!(run.windows(2).all(|pair| pair[0] <= pair[1] + 1_001), "{:?}", run);
        }
    }
}
