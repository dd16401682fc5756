//! Lists of pictures of rings that go on while somebody steps: what is left is given, whatever was taken meanwhile.

use crate::SOUND;
use crate::across::{front, library, rings};
use crate::ring::{NOON, Ring, SECOND_NS};
use crate::support::clip::Clip;
use bytes::Bytes;
use keha_fs::{Configuration, Sample, SampleFlags, StreamName, TrackConfiguration, TrackKind, VolumeId};
use keha_player::cursor::{Across, Direction, Step};
use keha_player::library::Whole;
use std::cell::Cell;
use std::ops::Range;

const PACKET_BYTES: usize = 20_000;
/// About a block.
const BLOCK: i64 = 50;

/// A packet a second, each of a size that makes blocks go by.
fn record(ring: &Ring, name: &str, run: u128, from_s: i64, packets: Range<i64>) {
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
    ring.record(&[name], |cameras| {
        cameras[0].begin(&clip, run, NOON.plus_ns(from_s * SECOND_NS));
        for packet in packets {
            let data = vec![Bytes::from(vec![packet as u8; PACKET_BYTES])];
            cameras[0].sample(Sample { track: SOUND, ticks: packet * 8000, flags: SampleFlags::SYNC, data });
        }
    });
}

/// How many blocks a ring has of the front, and the take of the oldest.
fn oldest(ring: &Ring) -> (usize, u64) {
    let volume = ring.volume();
    let Ok(stream) = volume.stream(&StreamName::new("front").unwrap()) else { return (0, 0) };
    let rows = volume.stream_rows(stream.id);
    (rows.len(), rows.first().map_or(0, |row| row.sequence.0))
}

/// The ring goes on until the oldest block of the front is taken.
fn lap(ring: &Ring, name: &str) {
    let before = oldest(ring).1;
    for turn in 0..100 {
        if oldest(ring).1 != before {
            return;
        }
        record(ring, name, 100 + turn, 100_000 + turn as i64 * 1000, 0..BLOCK);
    }
    panic!("the ring does not go round");
}

/// The first volume has something before and behind what the second has.
fn world() -> Vec<Ring> {
    let rings = rings(2);
    record(&rings[0], "front", 1, 0, 0..6 * BLOCK);
    record(&rings[1], "front", 2, 1000, 0..BLOCK);
    record(&rings[0], "front", 3, 2000, 0..2 * BLOCK);
    rings
}

/// What is stepped to, by run and second.
type Stepped = Vec<(u128, i64)>;

/// Steps so far, or to the end.
fn step(cursor: &mut Across<'_>, direction: Direction, at_most: usize) -> (Stepped, Vec<String>) {
    let (mut all, mut told) = (Vec::new(), Vec::new());
    while all.len() < at_most {
        let Some(moment) = cursor.step(direction, Step::Picture).unwrap() else { break };
        told.extend(moment.discontinuity.map(|told| told.as_str().to_owned()));
        all.push((moment.row.run.0.as_u128(), moment.row.ticks / 8000));
    }
    (all, told)
}

/// What is left of before the lap, as a later look has it.
fn left(rings: &[Ring], of: &[VolumeId]) -> Stepped {
    let whole = front(&library(rings)).in_volumes(of);
    let mut cursor = Across::new(whole.parts(), &|| true);
    let all = step(&mut cursor, Direction::Forwards, usize::MAX).0;
    all.into_iter().filter(|(run, _)| *run < 100).collect()
}

/// The whole stream, and what of it stands in the volume that is lapped.
fn looks(rings: &[Ring]) -> [(Whole, Vec<VolumeId>); 2] {
    let whole = front(&library(rings));
    let ids: Vec<VolumeId> = whole.parts().iter().map(|part| part.volume().info().id).collect();
    let alone = vec![rings[0].volume().info().id];
    [(whole.clone(), ids), (whole.in_volumes(&alone), alone)]
}

/// The order of the volumes is found by looking at their oldest blocks: lists were refused for pictures that nobody asked for.
#[test]
fn what_is_left_is_stepped_to_though_the_ring_takes_the_oldest_block_meanwhile() {
    let rings = world();
    let looks = looks(&rings);
    let mut cursors: Vec<Across<'_>> =
        looks.iter().map(|(look, _)| Across::new(look.parts(), &|| true)).collect();
    let mut begun: Vec<Stepped> =
        cursors.iter_mut().map(|cursor| step(cursor, Direction::Backwards, 3).0).collect();
    lap(&rings[0], "front");
    for ((look, of), (cursor, begun)) in looks.iter().zip(cursors.iter_mut().zip(&mut begun)) {
        let left = left(&rings, of);
        assert!(left.len() > 4 * BLOCK as usize && left[0].1 > 0, "{left:?}");
        begun.extend(step(cursor, Direction::Backwards, usize::MAX).0);
        begun.reverse();
        assert_left(begun, &left);
        let mut anew = Across::new(look.parts(), &|| true);
        let (mut all, told) = step(&mut anew, Direction::Forwards, usize::MAX);
        all.retain(|(run, _)| *run < 100);
        assert_left(&all, &left);
        assert!(told.iter().all(|told| told == "run"), "{told:?}");
    }
}

/// All that is left is stepped to, and before it at most what was in memory of what is not, without a hole.
fn assert_left(all: &[(u128, i64)], left: &[(u128, i64)]) {
    assert!(all.ends_with(left), "{:?}, not {:?}", all.first(), left.first());
    let more = all.len() - left.len() + 1;
    assert!(all[..more].windows(2).all(|pair| pair[0].0 == 1 && pair[0].1 + 1 == pair[1].1), "{all:?}");
}

#[test]
fn who_stands_in_what_the_ring_takes_goes_on_with_what_is_left_and_is_told() {
    let rings = world();
    let looks = looks(&rings);
    let mut cursors: Vec<Across<'_>> =
        looks.iter().map(|(look, _)| Across::new(look.parts(), &|| true)).collect();
    for cursor in &mut cursors {
        assert_eq!(step(cursor, Direction::Forwards, 2).0, [(1, 0), (1, 1)]);
    }
    lap(&rings[0], "front");
    for ((_, of), cursor) in looks.iter().zip(&mut cursors) {
        let left = left(&rings, of);
        let (mut all, told) = step(cursor, Direction::Forwards, usize::MAX);
        all.retain(|(run, _)| *run < 100);
        assert!(all.ends_with(&left), "of {} volumes: {:?}", of.len(), all.first());
        assert_eq!(told[0], "overwritten");
    }
}

/// A camera that went over long ago: the little that its former volume has is taken.
#[test]
fn a_volume_of_which_nothing_is_left_keeps_nobody_from_the_others() {
    let rings = rings(2);
    record(&rings[0], "front", 1, 0, 0..BLOCK / 3);
    record(&rings[1], "front", 2, 1000, 0..BLOCK);
    let whole = front(&library(&rings));
    lap(&rings[0], "yard");
    assert_eq!(oldest(&rings[0]).0, 0);
    let all: Stepped = (0..BLOCK).map(|packet| (2, packet)).collect();
    let mut back = Across::new(whole.parts(), &|| true);
    assert!(step(&mut back, Direction::Backwards, usize::MAX).0.into_iter().rev().eq(all.clone()));
    let mut on = Across::new(whole.parts(), &|| true);
    assert_eq!(step(&mut on, Direction::Forwards, all.len()).0, all);
    // Whether that one has newer footage this look cannot tell.
    let end = on.step(Direction::Forwards, Step::Picture);
    assert!(matches!(end, Err(keha_player::Error::Volume(keha_fs::Error::Overwritten { .. }))), "{end:?}");
}

/// Finding the order of volumes may read many blocks.
#[test]
fn it_is_asked_whether_it_is_wanted_before_each_block_is_read_to_find_the_order() {
    let rings = world();
    let whole = front(&library(&rings));
    let asked = Cell::new(0);
    let is_wanted = || {
        asked.set(asked.get() + 1);
        asked.get() < 5
    };
    let stopped = Across::new(whole.parts(), &is_wanted).step(Direction::Backwards, Step::Picture);
    assert!(matches!(stopped, Err(keha_player::Error::Cancelled)), "{stopped:?}");
    assert_eq!(asked.get(), 5);
}
