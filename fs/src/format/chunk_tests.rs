//! Chunks as they are written and read.

use super::*;

const VIDEO: TrackNumber = TrackNumber(1);
const AUDIO: TrackNumber = TrackNumber(2);

fn anchor(track: TrackNumber, wall: i64, base: i64, first_entry: u32) -> AnchorRecord {
    let anchor = Anchor {
        track,
        timescale: 1_000_000_000,
        ticks: 0,
        wall: WallTime(wall),
        source: ClockSource::Arrival,
        uncertainty_us: 0,
        arrival: WallTime(0),
        camera_offset_ns: 0,
    };
    AnchorRecord::new(&anchor, base, first_entry)
}

fn piece(track: TrackNumber, delta: i32) -> Piece {
    let entry = Entry { track, delta, ..Entry::default() };
    Piece { entry, data: vec![Bytes::from_static(b"a coded "), Bytes::from_static(b"picture")] }
}

/// A chunk sealed into a buffer full of `stale` bytes.
fn sealed(anchors: &[AnchorRecord], stale: u8) -> (ChunkHeader, Vec<u8>) {
    let pieces = [piece(VIDEO, 0), piece(AUDIO, 0), piece(VIDEO, 40), piece(VIDEO, 10), piece(AUDIO, 20)];
    let mut out = vec![stale; bytes_padded(anchors.len(), pieces.len(), pieces.len() * 15, 4096)];
    let (header, _) = seal(&ChunkHeader::default(), anchors, &pieces, &mut out);
    (header, out)
}

#[test]
fn every_byte_of_a_chunk_is_written() {
    let anchors = [anchor(VIDEO, 5, 0, 0), anchor(AUDIO, 6, 0, 1)];
    assert_eq!(sealed(&anchors, 0), sealed(&anchors, 0xff));
}

#[test]
fn an_entry_is_timed_by_the_last_anchor_of_its_track_that_stands_at_or_before_it() {
    let anchors = [anchor(VIDEO, 1_000, 0, 0), anchor(AUDIO, 2_000, 7, 1), anchor(VIDEO, 1_100, 80, 3)];
    let (header, out) = sealed(&anchors, 0);
    let tables = Tables::at_tail(&header, &out).expect("it stands");
    let times: Vec<_> =
        (0..6).map(|entry| tables.time_of(entry).map(|(ticks, wall)| (ticks, wall.0))).collect();
    assert_eq!(
        times,
        [Some((0, 1_000)), Some((7, 2_007)), Some((40, 1_040)), Some((90, 1_190)), Some((27, 2_027)), None]
    );
}

#[test]
fn an_entry_before_its_tracks_first_anchor_has_no_time_and_anchors_out_of_order_are_refused() {
    let (header, out) = sealed(&[anchor(VIDEO, 1, 0, 0), anchor(AUDIO, 1, 0, 2)], 0);
    assert_eq!(Tables::at_head(&header, &out).and_then(|tables| tables.time_of(1)), None);
    let (header, out) = sealed(&[anchor(AUDIO, 1, 0, 1), anchor(VIDEO, 1, 0, 0)], 0);
    assert_eq!(Tables::at_head(&header, &out), None);
}

#[test]
fn the_last_sample_that_ends_in_a_chunk_is_the_last_in_it_that_is_whole() {
    let whole = SampleFlags::default();
    let (first, more, last) =
        (SampleFlags::FIRST_FRAGMENT, SampleFlags::MORE_FRAGMENT, SampleFlags::LAST_FRAGMENT);
    for (flags, ticks) in [
        (vec![whole, whole], Some(1)),
        (vec![last, whole], Some(1)),
        (vec![whole, last], Some(1)),
        (vec![last, first], Some(0)),
        (vec![more], None),
        (vec![first], None),
    ] {
        let piece = |(delta, flags)| {
            let piece = piece(VIDEO, delta);
            Piece { entry: Entry { flags, ..piece.entry }, data: piece.data }
        };
        let pieces: Vec<Piece> = (0..).zip(flags.iter().copied()).map(piece).collect();
        let anchors = [anchor(VIDEO, 1_000, 0, 0)];
        let mut out = vec![0; bytes_padded(1, pieces.len(), pieces.len() * 15, 4096)];
        let (header, _) = seal(&ChunkHeader::default(), &anchors, &pieces, &mut out);
        let tables = Tables::at_head(&header, &out).expect("it stands");
        assert_eq!(tables.last_sample(), ticks.map(|ticks| (VIDEO, ticks)), "{flags:?}");
    }
}
