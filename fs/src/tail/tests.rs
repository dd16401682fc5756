//! What a tail keeps, for how long, and what it gives of it.

use super::*;
use crate::clock::SimClock;
use crate::configuration::TrackConfiguration;
use crate::sample::ClockSource;

pub(super) const S: i64 = 1_000_000_000;
pub(super) const TRACK: TrackNumber = TrackNumber(1);

/// Of a clock that counts seconds.
fn anchor(track: TrackNumber) -> Anchor {
    Anchor {
        track,
        timescale: 1,
        ticks: 0,
        wall: WallTime(0),
        source: ClockSource::Arrival,
        uncertainty_us: 0,
        arrival: WallTime(0),
        camera_offset_ns: 0,
    }
}

#[test]
fn what_is_past_its_maximum_age_is_not_given_nor_what_cannot_be_decoded_without_it() {
    let buffer = Arc::new(TailBuffer::default());
    let (video, sound) = (TrackNumber(0), TrackNumber(1));
    buffer.begin_run(RunId::default());
    for track in [video, sound] {
        buffer.anchor(anchor(track));
    }
    let (key, other) = (SampleFlags::SYNC, SampleFlags::default());
    for (track, ticks, flags) in
        [(video, 0, key), (sound, 0, key), (video, 1, other), (video, 5, other), (sound, 5, key)]
            .into_iter()
            .chain([(video, 6, key), (video, 7, other)])
    {
        buffer.push(&Sample { track, ticks, flags, data: vec![Bytes::from_static(b"x")] });
    }
    let clock = Arc::new(SimClock::new(WallTime(12 * S)));
    let given = |maximum_age_s| {
        buffer.set_maximum_age(maximum_age_s);
        let mut tail = Tail::by(Arc::clone(&buffer), Arc::clone(&clock) as Arc<dyn Clock>);
        let TailRead::Items(items) = tail.follow(None, Duration::ZERO) else { return Vec::new() };
        let ticks = |item: &TailItem| match item {
            TailItem::Sample(sample) => Some((sample.track.0, sample.ticks)),
            _ => None,
        };
        items.iter().filter_map(ticks).collect::<Vec<_>>()
    };
    assert_eq!(given(0).len(), 7);
    assert_eq!(given(10), [(1, 5), (0, 6), (0, 7)]);
    assert_eq!(given(1), []);
}

#[test]
fn a_look_gives_a_bounded_part_and_begins_with_the_configuration_it_needs() {
    let buffer = Arc::new(TailBuffer::default());
    let (track, whole) = (TrackNumber(1), Bytes::from(vec![7; 3 << 20]));
    let configuration = Configuration::default();
    buffer.configure(ConfigurationHash([3; 16]), &configuration);
    buffer.begin_run(RunId::default());
    buffer.anchor(anchor(track));
    for ticks in 0..5 {
        let data = vec![whole.slice(..1), whole.slice(1..)];
        buffer.push(&Sample { track, ticks, flags: SampleFlags::SYNC, data });
    }
    buffer.evict(1, 1);
    let mut tail = Tail::new(Arc::clone(&buffer));
    let mut looks = Vec::new();
    loop {
        let TailRead::Items(items) = tail.follow(None, Duration::ZERO) else { panic!("it was read on") };
        if items.is_empty() {
            break;
        }
        looks.push(items);
    }
    let [first, second] = looks.as_slice() else { panic!("{} looks", looks.len()) };
    let begins = TailItem::Configuration(ConfigurationHash([3; 16]), Arc::new(configuration));
    assert_eq!((first.first(), first.len(), second.len()), (Some(&begins), 4, 1));
    let TailItem::Sample(sample) = &second[0] else { panic!("no sample") };
    assert!((sample.ticks, sample.configuration) == (4, ConfigurationHash([3; 16])) && sample.data == whole);
}

/// A tail of one track, with a sample a second: which of them are sync samples.
pub(super) fn tail_of(kind: TrackKind, syncs: impl IntoIterator<Item = bool>) -> Arc<TailBuffer> {
    let (buffer, track) = (Arc::new(TailBuffer::default()), TRACK);
    let tracks = vec![TrackConfiguration {
        track,
        kind,
        codec: *b"avc1",
        timescale: 1,
        width: 0,
        height: 0,
        channels: 0,
        sample_rate: 0,
        private: Vec::new(),
    }];
    buffer.configure(ConfigurationHash([1; 16]), &Configuration { tracks, session: Vec::new() });
    buffer.begin_run(RunId::default());
    buffer.anchor(anchor(track));
    for (ticks, is_sync) in (0..).zip(syncs) {
        let flags = if is_sync { SampleFlags::SYNC } else { SampleFlags::default() };
        buffer.push(&Sample { track, ticks, flags, data: vec![Bytes::from_static(b"x")] });
    }
    buffer
}

fn ticks_kept(buffer: &TailBuffer) -> Vec<i64> {
    let state = buffer.lock();
    let ticks = state.kept.iter().filter_map(|kept| match kept {
        Kept::Sample(kept) => Some(kept.sample.ticks),
        _ => None,
    });
    ticks.collect()
}

#[test]
fn what_is_durable_stays_from_where_decoding_can_begin_last() {
    for durable in 0..=12_u64 {
        let buffer = tail_of(TrackKind::Video, (0..12).map(|ticks| ticks % 5 == 0));
        buffer.evict(0, durable);
        let begin = durable.saturating_sub(1) as i64 / 5 * 5;
        assert_eq!(ticks_kept(&buffer), (begin..12).collect::<Vec<_>>(), "{durable}");
        // A reader that has read the disk to its end finds its place.
        let place = durable.checked_sub(1).map(|last| (RunId::default(), TRACK, last as i64));
        let TailRead::Items(items) = Tail::new(Arc::clone(&buffer)).follow(place, Duration::ZERO) else {
            panic!("its place is not there: {durable}")
        };
        let samples = items.iter().filter(|item| matches!(item, TailItem::Sample(_))).count() as u64;
        assert_eq!(samples, 12 - durable, "{durable}");
    }
    // No sync sample among what the last round made durable: all of that stays, and no more.
    let buffer = tail_of(TrackKind::Video, (0..12).map(|ticks| ticks == 0));
    buffer.evict(4, 9);
    assert_eq!(ticks_kept(&buffer), (4..12).collect::<Vec<_>>());
    let buffer = tail_of(TrackKind::Audio, (0..12).map(|_| true));
    buffer.evict(0, 9);
    assert_eq!(ticks_kept(&buffer), (8..12).collect::<Vec<_>>());
}

#[test]
fn while_a_reader_follows_all_that_the_last_round_made_durable_stays() {
    let buffer = tail_of(TrackKind::Video, (0..100).map(|ticks| ticks % 5 == 0));
    let mut tail = Tail::new(Arc::clone(&buffer));
    assert!(matches!(tail.follow(None, Duration::ZERO), TailRead::Items(_)));
    for round in 0..10 {
        buffer.evict(3 * round, 3 * (round + 1));
        assert_eq!(ticks_kept(&buffer).first(), Some(&(3 * round as i64)), "{round}");
    }
    buffer.lock().looked = Instant::now().checked_sub(FOLLOWING);
    buffer.evict(32, 38);
    assert_eq!(ticks_kept(&buffer).first(), Some(&35), "it has not looked for that long");
    assert!(matches!(tail.follow(None, Duration::ZERO), TailRead::Items(_)), "it had gone on to the end");
    buffer.evict(38, 44);
    assert_eq!(ticks_kept(&buffer).first(), Some(&38));
}

#[test]
fn who_waited_is_known_to_who_asks_once() {
    let buffer = Arc::new(TailBuffer::default());
    let mut tail = Tail::new(Arc::clone(&buffer));
    assert_eq!(tail.follow(None, Duration::ZERO), TailRead::Items(Vec::new()));
    assert!(!buffer.was_waited_for());
    assert_eq!(tail.follow(None, Duration::from_millis(1)), TailRead::Items(Vec::new()));
    assert!(buffer.was_waited_for() && !buffer.was_waited_for());
    let waits = std::thread::spawn(move || tail.follow(None, Duration::from_secs(60)));
    while !buffer.was_waited_for() {
        std::thread::yield_now();
    }
    assert!(buffer.was_waited_for(), "it waits still");
    buffer.set_ended(true);
    assert_eq!(waits.join().expect("it ends"), TailRead::Ended);
}

#[test]
fn a_tail_that_ended_goes_on_when_the_stream_is_recorded_again() {
    let buffer = Arc::new(TailBuffer::default());
    let mut tail = Tail::new(Arc::clone(&buffer));
    buffer.set_ended(true);
    assert_eq!(tail.follow(None, Duration::from_secs(60)), TailRead::Ended);
    assert!(!tail.await_writer(Duration::ZERO));
    let again = std::thread::spawn({
        let buffer = Arc::clone(&buffer);
        move || buffer.set_ended(false)
    });
    assert!(tail.await_writer(Duration::from_secs(60)));
    again.join().expect("it ends");
    assert_eq!(tail.follow(None, Duration::ZERO), TailRead::Items(Vec::new()));
}
