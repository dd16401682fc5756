//! A camera that was recorded into one volume and then into another: all of it is given, as if it were one.

use crate::judge::{pictures, plays, tracks};
use crate::ring::{NOON, Ring, SECOND_NS, request, samples_of};
use crate::support::clip::Clip;
use crate::{FORMATS, SOUND, VIDEO, data, h264_aac};
use bytes::Bytes;
use keha_fs::{
    Configuration, Sample, SampleFlags, StreamName, TimeRange, TrackConfiguration, TrackKind, VolumeId,
    WallTime,
};
use keha_player::cursor::{Across, Direction, Mark, Nearest, Step};
use keha_player::footage::{FootageRequest, Format, Prepared, prepare_of};
use keha_player::hls::{Uris, vod};
use keha_player::library::{Library, Snapshot, Whole};
use keha_player::segments::{InitName, SegmentName, init, plan_of, segment};
use keha_player::snapshot::{Moment, find_of};
use keha_player::timeline::{Reason, Recorded, coalesce};
use keha_player::{Error, Result};
use proptest::prelude::*;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

const ANY_AGE: Duration = Duration::from_secs(3600);
const NAMES: [&str; 3] = ["attic", "cellar", "shed"];

pub(crate) fn rings(count: usize) -> Vec<Ring> {
    (0..count).map(|_| Ring::new(24 << 20, 1 << 20)).collect()
}

pub(crate) fn library(rings: &[Ring]) -> Library {
    Library::new(rings.iter().zip(NAMES).map(|(ring, name)| (name.to_owned(), ring.path())))
}

pub(crate) fn front(library: &Library) -> Whole {
    library.find_all(&StreamName::new("front").unwrap(), ANY_AGE).unwrap()
}

fn volumes(whole: &Whole) -> Vec<Arc<Snapshot>> {
    whole.parts().iter().map(|part| Arc::clone(&part.snapshot)).collect()
}

fn prepared(whole: &Whole, format: Format) -> Prepared {
    prepare_of(std::slice::from_ref(whole), &request(&["front"], format), &|| true).unwrap()
}

fn bytes(prepared: &Prepared, whole: &Whole, range: Range<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    let give = &mut |piece: Bytes| {
        out.extend_from_slice(&piece);
        ControlFlow::Continue(())
    };
    prepared.write(&volumes(whole), range, give).unwrap();
    out
}

/// The camera goes from the first volume to the second and back: a clip each time, a fraction of a second apart.
fn went_and_came_back(clip: &Clip) -> Vec<Ring> {
    let rings = rings(2);
    for (number, ring, at) in [(1, 0, 0), (2, 1, 3300), (3, 0, 6700)] {
        let at: i64 = at;
        let ring: &Ring = &rings[ring];
        ring.record(&["front"], |cameras| cameras[0].run(clip, number, NOON.plus_ns(at * 1_000_000)));
    }
    rings
}

#[test]
fn a_file_has_every_sample_of_both_volumes_in_its_order_whatever_the_format() {
    let clip = h264_aac();
    let rings = went_and_came_back(clip);
    let whole = front(&library(&rings));
    assert_eq!((whole.parts().len(), whole.missing().len()), (2, 0));
    let mut decoded = Vec::new();
    for format in FORMATS {
        let prepared = prepared(&whole, format);
        assert_eq!(prepared.samples(), 3 * clip.samples.len() as u64, "{format:?}");
        assert_eq!((prepared.parts().0.len(), prepared.volumes().len()), (1, 2));
        let file = bytes(&prepared, &whole, 0..u64::MAX);
        let path = rings[0].directory.path().join(prepared.file_name());
        std::fs::write(&path, &file).unwrap();
        plays(&path);
        let found = tracks(&path, format);
        let of = |track| {
            let once: Vec<&[u8]> = samples_of(clip, track).iter().map(|sample| &sample.data[..]).collect();
            once.repeat(3)
        };
        let video = found.iter().position(|track| track.len() == of(VIDEO).len()).unwrap();
        assert!(data(&found[video]) == of(VIDEO), "{format:?}");
        assert!(data(&found[1 - video]) == of(SOUND), "{format:?}");
        decoded.push(pictures(&path, 0));
        // Any range, and from marks.
        let (measured, marks) = prepared.measure_while(&volumes(&whole), 1 << 12, &|| true).unwrap();
        assert_eq!((measured.bytes, measured.hash), (file.len() as u64, blake3::hash(&file)));
        let end = file.len() as u64;
        for from in [0, 1, end / 5, end / 3, end / 2, end * 2 / 3, end - 1] {
            let range = from..(from + 70_000).min(end);
            let wanted = &file[range.start as usize..range.end as usize];
            assert!(bytes(&prepared, &whole, range.clone()) == wanted, "{format:?} {range:?}");
            let mut out = Vec::new();
            let give = &mut |piece: Bytes| {
                out.extend_from_slice(&piece);
                ControlFlow::Continue(())
            };
            prepared.write_while(&volumes(&whole), range.clone(), Some(&marks), &|| true, give).unwrap();
            assert!(out == wanted, "{format:?} {range:?} from a mark");
        }
    }
    assert_eq!(decoded[0].len(), 3 * 75);
    assert!(decoded.iter().all(|one| *one == decoded[0]));
}

#[test]
fn a_file_is_the_same_whatever_the_volumes_are_called_and_in_which_order_they_stand() {
    let rings = went_and_came_back(h264_aac());
    let one = front(&library(&rings));
    let turned = Library::new([("x".to_owned(), rings[1].path()), ("a".to_owned(), rings[0].path())]);
    let other = front(&turned);
    for format in FORMATS {
        let (first, second) = (prepared(&one, format), prepared(&other, format));
        assert_eq!(first.entity_tag(), second.entity_tag());
        assert!(bytes(&first, &other, 0..u64::MAX) == bytes(&second, &one, 0..u64::MAX), "{format:?}");
    }
}

#[test]
fn what_a_volume_that_does_not_answer_has_is_missing_and_told_and_the_rest_is_given() {
    for forgotten in [false, true] {
        what_does_not_answer_is_missing(forgotten);
    }
}

/// Once it was left behind, nothing told any more what it had.
fn what_does_not_answer_is_missing(forgotten: bool) {
    let clip = h264_aac();
    let rings = went_and_came_back(clip);
    let library = library(&rings);
    let all = prepared(&front(&library), Format::Mp4);
    let (there, away) = (rings[1].path(), rings[1].path().with_extension("away"));
    std::fs::rename(&there, &away).unwrap();
    match forgotten {
        true => library.forget("cellar"),
        false => library.outdate(),
    }
    let whole = front(&library);
    let missing: Vec<&str> = whole.missing().iter().map(|missing| missing.volume.as_str()).collect();
    assert_eq!((whole.parts().len(), missing), (1, vec!["cellar"]));
    let rest = prepared(&whole, Format::Mp4);
    assert_eq!(rest.samples(), 2 * clip.samples.len() as u64);
    assert_ne!(rest.entity_tag(), all.entity_tag());
    let refused = all.write(&volumes(&whole), 0..10, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Error::Invalid(_))), "a part of it is not all of it");
    let timeline = whole.timeline(TimeRange::default(), Duration::ZERO).unwrap();
    assert_eq!(timeline.recorded.len(), 2);
    let gap = timeline.gaps.iter().max_by_key(|gap| gap.to.since_ns(gap.from)).unwrap();
    assert!(gap.reason == Reason::Away && gap.to.since_ns(gap.from) > 3 * SECOND_NS, "{gap:?}");
    // It is there again, and all is as it was.
    std::fs::rename(&away, &there).unwrap();
    library.outdate();
    let whole = front(&library);
    let again = prepared(&whole, Format::Mp4);
    assert_eq!((again.entity_tag(), whole.missing().len()), (all.entity_tag(), 0));
    // A server that was started meanwhile does not know what it has.
    std::fs::rename(&there, &away).unwrap();
    let whole = front(&self::library(&rings));
    assert!(whole.missing()[0].known.is_none() && whole.away().is_empty());
}

/// A segment as a server finds it: by its name, wherever it is.
fn found<T>(whole: &Whole, make: impl Fn(&keha_player::library::Found) -> Result<T>) -> (usize, T) {
    let made = whole.parts().iter().enumerate().filter_map(|(part, found)| Some((part, make(found).ok()?)));
    let mut made: Vec<(usize, T)> = made.collect();
    assert!(!made.is_empty(), "it is nowhere");
    made.remove(0)
}

#[test]
fn a_playlist_goes_from_volume_to_volume_and_its_names_find_what_they_mean() {
    let clip = h264_aac();
    let rings = went_and_came_back(clip);
    let whole = front(&library(&rings));
    let plan = plan_of(&whole.holdings(), TimeRange::default(), Duration::from_secs(1)).unwrap();
    let parts: Vec<usize> = plan.segments.iter().map(|segment| segment.part).collect();
    let breaks = plan.segments.iter().filter(|segment| segment.discontinuity).count();
    let changes = parts.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((changes, breaks), (2, 2), "{parts:?}");
    assert!(plan.segments.windows(2).all(|pair| pair[0].wall() < pair[1].wall()));
    let directory = tempfile::tempdir().unwrap();
    let text = vod(&plan.segments, &Uris::default()).unwrap();
    for uri in text.split('"').filter(|part| part.ends_with(".mp4")) {
        let name: InitName = uri.trim_end_matches(".mp4").parse().unwrap();
        let (_, init) =
            found(&whole, |part| init(part.volume(), &part.snapshot.index, part.stream.id, &name));
        std::fs::write(directory.path().join(uri), init.data).unwrap();
    }
    let lines = text.lines().filter(|line| line.ends_with(".m4s"));
    for (uri, planned) in lines.zip(&plan.segments) {
        let name: SegmentName = uri.trim_end_matches(".m4s").parse().unwrap();
        let (part, made) = found(&whole, |part| segment(part.volume(), part.stream.id, &name));
        assert_eq!(part, planned.part);
        std::fs::write(directory.path().join(uri), made.data).unwrap();
    }
    let path = directory.path().join("x.m3u8");
    std::fs::write(&path, text).unwrap();
    assert_eq!(pictures(&path, 0).len(), 3 * 75);
}

#[test]
fn a_picture_is_found_in_the_volume_that_has_the_moment() {
    let rings = went_and_came_back(h264_aac());
    let whole = front(&library(&rings));
    let volume_of = |moment| {
        let (part, name) = find_of(&whole.holdings(), moment).unwrap().unwrap();
        (whole.parts()[part].snapshot.name.clone(), name.at.since_ns(NOON) / 1_000_000)
    };
    let at = |ms: i64| volume_of(Moment::At(NOON.plus_ns(ms * 1_000_000)));
    let is = |found: (String, i64), volume: &str, ms: i64| {
        assert!(found.0 == volume && (found.1 - ms).abs() < 100, "{found:?}, not {volume} {ms}");
    };
    is(at(1500), "attic", 1000);
    is(at(3250), "attic", 2000);
    is(at(4500), "cellar", 4300);
    is(at(6600), "cellar", 5300);
    is(at(8000), "attic", 7700);
    is(at(-5000), "attic", 0);
    is(at(99_000), "attic", 8700);
    is(volume_of(Moment::Newest), "attic", 8700);
}

/// Sound of one volume, made up: packets of 20 ms, each with bytes of its own.
#[derive(Clone, Debug)]
struct Stretch {
    ring: usize,
    from: WallTime,
    packets: i64,
}

impl Stretch {
    fn last(&self) -> WallTime {
        self.from.plus_ns((self.packets - 1) * PACKET_NS)
    }

    fn packet(&self, number: usize, packet: i64) -> Bytes {
        let mut data = vec![number as u8; 160];
        data[..8].copy_from_slice(&packet.to_le_bytes());
        data.into()
    }
}

const PACKET_NS: i64 = SECOND_NS / 50;

/// Stretches one after the other, each in one of some volumes; at a change of the volume they may overlap a little.
fn stretches(rings: usize) -> impl Strategy<Value = Vec<Stretch>> {
    let one = (0..rings, prop_oneof![4 => 1i64..30_000, 1 => -300i64..0], 40i64..100);
    prop::collection::vec(one, 1..9).prop_map(|made| {
        let mut all: Vec<Stretch> = Vec::new();
        for (ring, apart_ms, packets) in made {
            let last = all.last().map_or(NOON, |last| last.last().plus_ns(PACKET_NS));
            let apart_ms = match all.last() {
                Some(last) if last.ring != ring => apart_ms,
                _ => apart_ms.abs() + 1,
            };
            // No two begin at one moment.
            let begun = all.last().map_or(WallTime::MIN, |last| last.from.plus_ns(1));
            all.push(Stretch { ring, from: last.plus_ns(apart_ms * 1_000_000).max(begun), packets });
        }
        all
    })
}

fn record(rings: &[Ring], stretches: &[Stretch]) {
    let sound = TrackConfiguration {
        track: SOUND,
        kind: TrackKind::Audio,
        codec: *b"ulaw",
        timescale: 8000,
        width: 0,
        height: 0,
        channels: 1,
        sample_rate: 8000,
        private: Vec::new(),
    };
    let configuration = Configuration { tracks: vec![sound], session: Vec::new() };
    let clip = Clip { configuration, samples: Vec::new() };
    for (number, ring) in rings.iter().enumerate() {
        let mine = || stretches.iter().enumerate().filter(|(_, stretch)| stretch.ring == number);
        if mine().next().is_none() {
            continue;
        }
        ring.record(&["front"], |cameras| {
            for (place, stretch) in mine() {
                cameras[0].begin(&clip, place as u128 + 1, stretch.from);
                for packet in 0..stretch.packets {
                    let data = vec![stretch.packet(place, packet)];
                    cameras[0].sample(Sample {
                        track: SOUND,
                        ticks: packet * 160,
                        flags: SampleFlags::SYNC,
                        data,
                    });
                }
            }
        });
    }
}

/// All packets of a range, file by file.
fn given(whole: &Whole, range: TimeRange) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let directory = tempfile::tempdir().unwrap();
    for part in 1.. {
        let wanted = FootageRequest { range, part: Some(part), ..request(&["front"], Format::Mkv) };
        let prepared = match prepare_of(std::slice::from_ref(whole), &wanted, &|| true) {
            Ok(prepared) => prepared,
            Err(Error::Invalid(why)) => {
                assert!(part > 1 && why.contains("no part"), "{why}");
                break;
            }
            Err(Error::NotRecorded { .. }) => break,
            Err(error) => panic!("{error}"),
        };
        let path = directory.path().join("x.mkv");
        std::fs::write(&path, bytes(&prepared, whole, 0..u64::MAX)).unwrap();
        all.extend(tracks(&path, Format::Mkv).into_iter().flatten().map(|found| found.data));
    }
    all
}

/// All packets that are stepped to, by run and number; from a mark on again and again, as by one who asks for pages.
fn stepped(whole: &Whole, direction: Direction) -> Vec<(u128, i64)> {
    let (mut all, mut cursor) = (Vec::new(), Across::new(whole.parts(), &|| true));
    while let Some(moment) = cursor.step(direction, Step::Picture).unwrap() {
        all.push((moment.row.run.0.as_u128(), moment.row.ticks / 160));
        if all.len() % 17 == 0 {
            let volume = cursor.volume().unwrap();
            cursor = Across::new(whole.parts(), &|| true);
            let again = cursor.resume(volume, Mark::of(&moment.row)).unwrap().unwrap();
            assert_eq!((again.row, again.keyframe), (moment.row, moment.keyframe));
        }
    }
    all
}

/// What was not known to be durable when its volume failed was taken over to another one: it stands in both.
#[test]
fn what_was_taken_over_to_another_volume_is_stepped_to_once() {
    let rings = rings(2);
    let sound = h264_aac().configuration.tracks.iter().find(|track| track.track == SOUND).unwrap().clone();
    let configuration = Configuration { tracks: vec![sound], session: Vec::new() };
    let clip = Clip { configuration, samples: Vec::new() };
    for (ring, run, from_s, packets) in [(0, 1, 0, 0..100), (1, 1, 0, 80..150), (0, 2, 60, 0..30)] {
        rings[ring].record(&["front"], |cameras| {
            cameras[0].begin(&clip, run, NOON.plus_ns(from_s * SECOND_NS));
            for packet in packets {
                let data = vec![Bytes::from(vec![packet as u8; 160])];
                let sample = Sample { track: SOUND, ticks: packet * 160, flags: SampleFlags::SYNC, data };
                cameras[0].sample(sample);
            }
        });
    }
    let whole = front(&library(&rings));
    let all: Vec<(u128, i64)> = (0..150).map(|at| (1, at)).chain((0..30).map(|at| (2, at))).collect();
    assert_eq!(stepped(&whole, Direction::Forwards), all);
    assert!(stepped(&whole, Direction::Backwards).into_iter().rev().eq(all));
    let mut cursor = Across::new(whole.parts(), &|| true);
    let mut told = Vec::new();
    while let Some(moment) = cursor.step(Direction::Forwards, Step::Picture).unwrap() {
        told.extend(moment.discontinuity.map(|told| (moment.row.run.0.as_u128(), told.as_str().to_owned())));
    }
    assert_eq!(told, [(2, "run".to_owned())], "a seam at which nothing is missing is none");
    let mut sought = |at_s: i64, nearest| {
        let wall = NOON.plus_ns(at_s * SECOND_NS);
        let found = cursor.seek(wall, nearest, Step::Picture).unwrap();
        found.map(|moment| moment.row.run.0.as_u128())
    };
    assert_eq!(sought(30, Nearest::AtOrBefore), Some(1));
    assert_eq!(sought(30, Nearest::AtOrAfter), Some(2));
    assert_eq!((sought(-5, Nearest::AtOrBefore), sought(100, Nearest::AtOrAfter)), (None, None));
}

/// What is recorded of some stretches.
fn covered(stretches: &[Stretch]) -> Vec<Recorded> {
    let each = stretches.iter().map(|stretch| Recorded { from: stretch.from, to: stretch.last() });
    coalesce(each.collect(), 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_volumes_have_it_all_of_it_is_given_and_none_twice(
        all in (1usize..=3).prop_flat_map(stretches),
        fails in prop::option::of(0usize..3),
        known: bool,
        (from, length) in (0i64..60_000, 1i64..60_000),
    ) {
        let rings = rings(3);
        record(&rings, &all);
        let library = library(&rings);
        if known {
            library.all(ANY_AGE);
        }
        let failed = fails.filter(|fails| all.iter().any(|stretch| stretch.ring != *fails));
        if let Some(failed) = failed {
            std::fs::remove_file(rings[failed].path()).unwrap();
            library.outdate();
        }
        let (gone, stand): (Vec<Stretch>, Vec<Stretch>) =
            all.iter().cloned().partition(|stretch| Some(stretch.ring) == failed);
        let whole = front(&library);
        // Of a volume that answered before it is known whether it has something.
        let told = whole.missing().len();
        prop_assert_eq!(told, usize::from(failed.is_some() && (!known || !gone.is_empty())));
        let packets = |wanted: &dyn Fn(WallTime) -> bool| {
            let each = all.iter().enumerate().filter(|(_, stretch)| Some(stretch.ring) != failed);
            let packets = each.flat_map(|(place, stretch)| {
                let mine = 0..stretch.packets;
                let mine = mine.filter(move |packet| wanted(stretch.from.plus_ns(packet * PACKET_NS)));
                mine.map(move |packet| stretch.packet(place, packet).to_vec())
            });
            packets.collect::<Vec<_>>()
        };
        prop_assert!(given(&whole, TimeRange::default()) == packets(&|_| true));
        let each = all.iter().enumerate().filter(|(_, stretch)| Some(stretch.ring) != failed);
        let each = each.flat_map(|(place, stretch)| (0..stretch.packets).map(move |at| (place as u128 + 1, at)));
        prop_assert_eq!(stepped(&whole, Direction::Forwards), each.clone().collect::<Vec<_>>());
        let back = stepped(&whole, Direction::Backwards);
        prop_assert!(back.into_iter().rev().eq(each));
        let (from, to) = (NOON.plus_ns(from * 1_000_000), NOON.plus_ns((from + length) * 1_000_000));
        let range = TimeRange { from: Some(from), to: Some(to) };
        // Where it begins while two volumes have it, which of them comes first is said by what each begins with.
        let sorted = |mut packets: Vec<Vec<u8>>| {
            packets.sort();
            packets
        };
        prop_assert!(sorted(given(&whole, range)) == sorted(packets(&|wall| wall >= from && wall < to)));
        for resolution_ms in [0, 500, 60_000] {
            let timeline = whole.timeline(TimeRange::default(), Duration::from_millis(resolution_ms)).unwrap();
            let resolution_ns = resolution_ms as i64 * 1_000_000;
            let expected = coalesce(covered(&stand), resolution_ns);
            prop_assert!(
                timeline.recorded.len() == expected.len()
                    && timeline.recorded.iter().zip(&expected).all(|(one, other)| {
                        // Moments are rounded from ticks.
                        one.from.since_ns(other.from).abs() < 1000 && one.to.since_ns(other.to).abs() < 1000
                    }),
                "{:?} {expected:?}", timeline.recorded
            );
            prop_assert!(timeline.gaps.windows(2).all(|pair| pair[0].to <= pair[1].from));
            prop_assert!(resolution_ms > 0 || timeline.overlaps.len() == covers_twice(&stand));
            for lost in gone.iter().filter(|_| known && resolution_ms == 0) {
                let middle = lost.from.plus_ns(lost.last().since_ns(lost.from) / 2);
                let elsewhere = stand.iter().any(|other| other.from <= middle && middle <= other.last());
                let away = timeline.gaps.iter().any(|gap| {
                    gap.reason == Reason::Away && gap.from <= middle && middle <= gap.to
                });
                prop_assert!(elsewhere || away, "{:?}", timeline.gaps);
            }
        }
    }
}

/// How many overlaps there are: two that follow each other do so more than once at most.
fn covers_twice(stretches: &[Stretch]) -> usize {
    stretches.windows(2).filter(|pair| pair[1].from < pair[0].last()).count()
}

#[test]
fn a_stream_that_another_volume_has_under_another_identity_is_the_same_to_who_asks() {
    let rings = went_and_came_back(h264_aac());
    let whole = front(&library(&rings));
    let ids: Vec<_> = whole.parts().iter().map(|part| part.stream.id).collect();
    assert_ne!(ids[0], ids[1], "they were admitted each by itself");
    let [one, other]: [VolumeId; 2] =
        whole.parts().iter().map(|part| part.volume().info().id).collect::<Vec<_>>().try_into().unwrap();
    assert!(one < other);
    let alone = whole.in_volumes(&[other]);
    assert_eq!((alone.parts().len(), prepared(&alone, Format::Mkv).volumes()), (1, vec![other]));
}
