//! What live playlists promise, for whatever is recorded and whenever the server restarts.

use super::{LiveOptions, LivePlaylist, Uris, Variant, master, vod};
use crate::segments::made_up::{Event, MadeUp, STREAM, events};
use crate::segments::{PlannedSegment, SegmentName, plan};
use crate::timeline::Index;
use keha_fs::{TimeRange, Uuid, VolumeId};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn uris() -> Uris {
    Uris::new("seg/", "?signature=a%2Fb&expires=9").unwrap()
}

fn parsed(text: &str) -> m3u8_rs::MediaPlaylist {
    m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap()
}

fn goes_on(before: &PlannedSegment, behind: &PlannedSegment) -> bool {
    let (before, behind) = (before.name, behind.name);
    (before.run, before.configuration, before.to) == (behind.run, behind.configuration, behind.from)
}

/// Everything that one server ever listed.
#[derive(Default)]
struct Log {
    names: BTreeMap<u64, SegmentName>,
    media: u64,
    discontinuity: u64,
    target: u64,
}

impl Log {
    fn note(&mut self, playlist: &LivePlaylist) -> Result<(), TestCaseError> {
        let listed: Vec<&PlannedSegment> = playlist.segments().collect();
        prop_assert!(playlist.media_sequence() >= self.media && listed.len() <= 8);
        prop_assert!(playlist.discontinuity_sequence() >= self.discontinuity);
        prop_assert!(playlist.target_duration_s() >= self.target);
        for (number, segment) in (playlist.media_sequence()..).zip(&listed) {
            let name = *self.names.entry(number).or_insert(segment.name);
            prop_assert_eq!(name, segment.name, "a number has one segment");
            prop_assert!(number <= segment.wall().0 as u64 / 1_000_000_000, "a number above its second");
            prop_assert!(segment.duration().as_secs_f64().round() as u64 <= playlist.target_duration_s());
        }
        for pair in listed.windows(2) {
            prop_assert!(goes_on(pair[0], pair[1]) || pair[1].discontinuity);
        }
        self.media = playlist.media_sequence();
        self.discontinuity = playlist.discontinuity_sequence();
        self.target = playlist.target_duration_s();
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn numbers_of_segments_never_go_back_not_even_over_a_restart(events in events(), restart in 0usize..200) {
        let mut made = MadeUp::of(&events);
        made.live = true;
        let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
        let (mut index, mut log) = (Index::default(), Log::default());
        for shown in 0..=made.chunks() {
            made.shown = shown;
            index.refresh(&made);
            if shown == restart % (made.chunks() + 1) {
                let (media, discontinuity) = (log.media, log.discontinuity);
                let told = playlist.discontinuities();
                playlist = LivePlaylist::new(STREAM, LiveOptions::default()).behind(told);
                playlist.advance(&index, &made).unwrap();
                prop_assert!(playlist.segments().len() == 0 || playlist.media_sequence() >= media);
                prop_assert!(playlist.segments().len() == 0 || playlist.discontinuity_sequence() > discontinuity);
                prop_assert!(playlist.discontinuity_sequence() < 100_000, "players keep lists as long as it");
                log = Log::default();
            }
            playlist.advance(&index, &made).unwrap();
            log.note(&playlist)?;
        }
        let names: std::collections::BTreeSet<_> = log.names.values().collect();
        prop_assert_eq!(names.len(), log.names.len(), "a segment is listed once");
        let text = playlist.render(&uris()).unwrap();
        let parsed = parsed(&text);
        prop_assert!(!parsed.end_list && parsed.playlist_type.is_none());
        prop_assert_eq!((parsed.media_sequence, parsed.discontinuity_sequence), (log.media, log.discontinuity));
        prop_assert_eq!(parsed.segments.len(), playlist.segments().len());
        let signed = |uri: &str| uri.starts_with("seg/") && uri.ends_with("?signature=a%2Fb&expires=9");
        prop_assert!(parsed.segments.iter().all(|segment| signed(&segment.uri)));
        prop_assert!(parsed.segments.iter().filter_map(|segment| segment.map.as_ref()).all(|map| signed(&map.uri)));
    }

    #[test]
    fn a_vod_playlist_says_what_the_plan_says(events in events(), target in 1u64..7) {
        let made = MadeUp::of(&events);
        let range = TimeRange::default();
        let plan = plan(&Index::new(&made), &made, STREAM, range, Duration::from_secs(target)).unwrap();
        prop_assume!(!plan.segments.is_empty());
        let parsed = parsed(&vod(&plan.segments, &uris()).unwrap());
        prop_assert!(parsed.end_list && parsed.independent_segments);
        prop_assert_eq!(parsed.segments.len(), plan.segments.len());
        let mut configuration = None;
        for (line, (place, segment)) in parsed.segments.iter().zip(plan.segments.iter().enumerate()) {
            prop_assert!(line.uri.contains(&segment.name.to_string()));
            prop_assert_eq!(line.discontinuity, segment.discontinuity);
            prop_assert_eq!(line.program_date_time.is_some(), segment.discontinuity || place == 0);
            let changes = configuration.replace(segment.name.configuration) != Some(segment.name.configuration);
            prop_assert_eq!(line.map.is_some(), changes);
            prop_assert!((f64::from(line.duration) - segment.duration().as_secs_f64()).abs() < 0.001);
            prop_assert!(line.duration.round() as u64 <= parsed.target_duration);
        }
    }
}

/// What is recorded of a camera that goes to another volume, and comes back.
fn two_volumes(apart_ms: i64) -> [MadeUp; 2] {
    let [there, back] = [Event::Gops(10, 1000), Event::Gops(10, 1000)];
    let mut one = MadeUp::of(&[there.clone(), Event::Run(10_000 + 2 * apart_ms), back]);
    let mut other = MadeUp::of(&[Event::Run(10_000 + apart_ms), there]);
    (one.live, other.live) = (true, true);
    (one.shown, other.shown) = (0, 0);
    [one, other]
}

#[test]
fn a_camera_that_goes_to_another_volume_and_comes_back_is_one_stream_to_its_viewers() {
    let [attic, cellar] = [VolumeId(Uuid::from_u128(1)), VolumeId(Uuid::from_u128(2))];
    // The volumes have a little of the same time, or something is missing between.
    for apart_ms in [300, -700, 4000] {
        let [mut one, mut other] = two_volumes(apart_ms);
        let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
        let mut log = Log::default();
        let mut look = |playlist: &mut LivePlaylist, volume, made: &MadeUp| {
            playlist.goes_on_in(volume, STREAM);
            advanced(made, playlist);
            log.note(playlist).unwrap();
        };
        for shown in 1..=10 {
            one.shown = shown;
            look(&mut playlist, attic, &one);
        }
        for shown in 1..=10 {
            other.shown = shown;
            look(&mut playlist, cellar, &other);
            // Somebody who asked meanwhile had an older look at the volumes.
            look(&mut playlist, attic, &one);
            look(&mut playlist, cellar, &other);
        }
        let breaks = |playlist: &LivePlaylist| playlist.segments().filter(|it| it.discontinuity).count();
        let seams = playlist.discontinuities();
        for shown in 11..=20 {
            one.shown = shown;
            look(&mut playlist, attic, &one);
        }
        assert!(breaks(&playlist) <= 1, "one seam is in the window at most");
        assert_eq!(playlist.discontinuities(), seams + 1);
        let names: std::collections::BTreeSet<_> = log.names.values().collect();
        assert_eq!(names.len(), log.names.len(), "a segment is listed once");
        // The last second of each volume may still be on its way.
        assert!(log.names.len() >= 24, "{}", log.names.len());
    }
}

fn advanced(made: &MadeUp, playlist: &mut LivePlaylist) -> bool {
    playlist.advance(&Index::new(made), made).unwrap()
}

#[test]
fn a_camera_that_is_away_leaves_its_playlist_as_it_is_and_comes_back_behind_a_discontinuity() {
    let mut made = MadeUp::of(&[Event::Gops(10, 1000), Event::Run(3_600_000), Event::Gops(12, 1000)]);
    made.live = true;
    made.shown = 10;
    let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
    assert!(advanced(&made, &mut playlist));
    let before = playlist.render(&uris()).unwrap();
    assert!(!advanced(&made, &mut playlist));
    assert_eq!(playlist.render(&uris()).unwrap(), before);
    made.shown = 13;
    assert!(advanced(&made, &mut playlist));
    let breaks: Vec<bool> = playlist.segments().map(|segment| segment.discontinuity).collect();
    assert_eq!(breaks.iter().filter(|is_break| **is_break).count(), 1, "{breaks:?}");
    let discontinuity = playlist.discontinuity_sequence();
    made.shown = 22;
    advanced(&made, &mut playlist);
    assert_eq!(playlist.segments().filter(|segment| segment.discontinuity).count(), 0);
    assert_eq!(playlist.discontinuity_sequence(), discontinuity + 1, "it has left the window");
}

#[test]
fn many_viewers_read_the_outlines_of_what_is_new_once() {
    let mut made = MadeUp::of(&[Event::Gops(60, 1000)]);
    made.live = true;
    let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
    for (shown, blocks) in [(33, 5), (34, 2)] {
        made.shown = shown;
        made.asked.set(0);
        assert!(advanced(&made, &mut playlist));
        (0..100).for_each(|_| assert!(!advanced(&made, &mut playlist)));
        assert_eq!(made.asked.get(), blocks, "of eight chunks each");
    }
}

/// Requests come on many threads, and one may have looked at the volume before the last one did.
#[test]
fn an_older_look_at_the_volume_changes_nothing() {
    let mut made = MadeUp::of(&[Event::Gops(40, 1000)]);
    made.live = true;
    let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
    made.shown = 31;
    advanced(&made, &mut playlist);
    let before = playlist.render(&uris()).unwrap();
    for shown in 0..31 {
        made.shown = shown;
        assert!(!advanced(&made, &mut playlist), "{shown}");
        assert_eq!(playlist.render(&uris()).unwrap(), before);
    }
    made.shown = 33;
    assert!(advanced(&made, &mut playlist));
    assert!(playlist.segments().all(|segment| !segment.discontinuity));
}

#[test]
fn a_clock_that_was_set_back_lets_the_playlist_go_on() {
    let mut made = MadeUp::of(&[Event::Gops(10, 1000), Event::Run(-3_600_000), Event::Gops(20, 1000)]);
    made.live = true;
    made.shown = 10;
    let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
    advanced(&made, &mut playlist);
    let number = playlist.media_sequence();
    made.shown = 30;
    advanced(&made, &mut playlist);
    assert!(playlist.media_sequence() > number + 10);
    let from = playlist.segments().map(|segment| segment.wall()).max().unwrap();
    assert!(from < made.gops[0].from);
}

#[test]
fn a_playlist_that_nobody_asked_for_in_long_begins_anew_with_higher_numbers() {
    let mut made = MadeUp::of(&[Event::Gops(2000, 1000)]);
    made.live = true;
    made.shown = 10;
    let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
    advanced(&made, &mut playlist);
    let number = playlist.media_sequence();
    made.shown = 2000;
    assert!(advanced(&made, &mut playlist));
    assert!(playlist.media_sequence() > number && playlist.segments().len() == 8);
    assert!(playlist.segments().next_back().unwrap().wall() > made.gops[1990].from);
}

/// So much was recorded meanwhile that it looks at the newest anew: also at what it listed before.
#[test]
fn a_playlist_that_nobody_asked_for_in_long_lists_nothing_again() {
    let events: Vec<Event> = (0..600).flat_map(|_| [Event::Gops(1, 200), Event::Gap(40)]).collect();
    let mut made = MadeUp::of(&events);
    made.live = true;
    made.shown = 600;
    let (mut playlist, mut log) = (LivePlaylist::new(STREAM, LiveOptions::default()), Log::default());
    advanced(&made, &mut playlist);
    log.note(&playlist).unwrap();
    let last = playlist.segments().next_back().unwrap().wall();
    let number = playlist.media_sequence() + playlist.segments().len() as u64;
    made.shown = made.chunks();
    assert!(advanced(&made, &mut playlist));
    log.note(&playlist).unwrap();
    let newest = playlist.segments().next_back().unwrap().wall();
    let listed = playlist.media_sequence() + playlist.segments().len() as u64 - number;
    // One a second at most, of what came since.
    assert!(listed as i64 <= newest.since_ns(last) / 1_000_000_000 + 1, "{listed} segments");
}

/// RFC 8216, section 4.3.5.1: pictures that lead a CRA picture are decoded from the segment before.
#[test]
fn segments_of_h265_are_not_said_to_be_independent() {
    for (codec, independent) in [(*b"avc1", true), (*b"hvc1", false), (*b"hev1", false)] {
        let mut made = MadeUp::of(&[Event::Gops(10, 1000)]);
        made.codec = Some(codec);
        let range = TimeRange::default();
        let plan = plan(&Index::new(&made), &made, STREAM, range, Duration::from_secs(1)).unwrap();
        assert_eq!(parsed(&vod(&plan.segments, &uris()).unwrap()).independent_segments, independent);
        made.live = true;
        let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
        advanced(&made, &mut playlist);
        assert_eq!(parsed(&playlist.render(&uris()).unwrap()).independent_segments, independent);
    }
}

#[test]
fn the_target_duration_follows_the_keyframe_interval_in_steps() {
    for (gop_ms, expected) in [(480, 2), (1000, 2), (2000, 2), (2520, 3), (4000, 4), (8000, 10), (50_000, 61)]
    {
        let mut made = MadeUp::of(&[Event::Gops(12, gop_ms)]);
        made.live = true;
        let mut playlist = LivePlaylist::new(STREAM, LiveOptions::default());
        advanced(&made, &mut playlist);
        assert_eq!(playlist.target_duration_s(), expected, "{gop_ms} ms");
    }
}

#[test]
fn nothing_that_could_end_a_line_gets_into_a_playlist() {
    for (prefix, suffix) in [("a b", ""), ("", "?x=\n#EXT"), ("\"", ""), ("", "ä")] {
        assert!(Uris::new(prefix, suffix).is_err());
    }
}

#[test]
fn a_master_playlist_lists_variants_in_order() {
    let variant = |uri: &str, bandwidth| Variant {
        uri: uri.to_owned(),
        codecs: vec!["hvc1.1.6.L93.B0".to_owned(), "fLaC".to_owned()],
        resolution: Some((3840, 2160)),
        frame_rate: Some(24.996),
        bandwidth,
        average_bandwidth: bandwidth / 2,
    };
    let variants = [variant("front.m3u8", 8_000_000), variant("front/sub.m3u8", 500_000)];
    let text = master(&variants).unwrap();
    assert!(!text.contains("EXT-X-INDEPENDENT-SEGMENTS"), "of H.265");
    let h264 = Variant { codecs: vec!["avc1.4d401f".to_owned()], ..variants[0].clone() };
    assert!(master(&[h264]).unwrap().contains("EXT-X-INDEPENDENT-SEGMENTS"));
    let (_, parsed) = m3u8_rs::parse_master_playlist(text.as_bytes()).unwrap();
    assert_eq!(
        parsed.variants.iter().map(|variant| variant.bandwidth).collect::<Vec<_>>(),
        [8_000_000, 500_000]
    );
    assert_eq!(parsed.variants[0].codecs.as_deref(), Some("hvc1.1.6.L93.B0,fLaC"));
    assert_eq!(parsed.variants[0].frame_rate, Some(25.0));
    assert!(master(&[]).is_err());
}
