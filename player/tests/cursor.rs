//! Cursors over real volumes, against an oracle that reads all of a stream.

#[path = "cursor/oracle.rs"]
mod oracle;
#[path = "cursor/ring.rs"]
mod ring;

use keha_fs::{GapReason, OutlineKind, StreamId, StreamName, Volume, WallTime};
use keha_player::Error;
use keha_player::cursor::{Cursor, Direction, Discontinuity, Nearest, Step};
use keha_player::timeline::Index;
use oracle::{Oracle, Random};
use ring::{Kind, NOON, PLAIN, Ring, S};
use std::cell::Cell;

fn at(seconds: i64) -> WallTime {
    NOON.plus_ns(seconds * S)
}

fn front(volume: &Volume) -> StreamId {
    volume.stream(&StreamName::new("front").unwrap()).unwrap().id
}

fn judge(ring: &Ring, seed: u64) -> Oracle {
    let volume = ring.volume();
    let stream = front(&volume);
    let oracle = Oracle::read(&volume, stream);
    oracle.judge(&volume, stream, seed);
    oracle
}

/// What does not join, forwards.
fn breaks(ring: &Ring) -> Vec<String> {
    let volume = ring.volume();
    let index = Index::new(&volume);
    let mut cursor = Cursor::new(&volume, &index, front(&volume));
    let mut breaks = Vec::new();
    while let Some(moment) = cursor.step(Direction::Forwards, Step::Sample).unwrap() {
        breaks.extend(moment.discontinuity.map(|told| told.as_str().to_owned()));
    }
    breaks
}

#[test]
fn runs_gaps_and_configurations_are_told_where_they_are() {
    let ring = Ring::new(16 << 20);
    let mut camera = ring.camera(PLAIN);
    camera.run(at(0), 60);
    camera.gap(GapReason::ConnectionLost, at(12), None);
    camera.gap(GapReason::ConnectionLost, at(12), Some(at(40)));
    camera.run(at(40), 60);
    camera.run(at(53), 30);
    camera.settle();
    camera.goes_on(60_000, 20);
    camera.gap(GapReason::Overload, at(117), Some(at(119)));
    camera.goes_on(66_000, 20);
    camera.close();
    let mut camera = ring.camera(Kind { private: 1, ..PLAIN });
    camera.run(at(200), 25);
    camera.close();
    judge(&ring, 1);
    assert_eq!(breaks(&ring), ["connection lost", "run", "unknown", "overload", "run"]);
}

#[test]
fn any_weather_is_stepped_through_as_it_was_recorded() {
    for seed in 0..4 {
        let mut random = Random(seed);
        let ring = Ring::new(16 << 20);
        let mut clock = 0;
        for session in 0..3 {
            let kind = Kind {
                video: random.below(5) > 0,
                second_video: random.below(3) == 0,
                gop: [1, 7, 10, 150][random.below(4)],
                keyframe_bytes: [9000, 70_000, 600_000][random.below(3)],
                picture_bytes: [500, 4000, 60_000][random.below(3)],
                private: random.below(2) as u8,
            };
            let mut camera = ring.camera(kind);
            for _ in 0..1 + random.below(4) {
                let pictures = 1 + random.below(120) as i64;
                camera.run(at(clock), pictures);
                clock += pictures / 5;
                match random.below(5) {
                    0 => clock -= 1 + random.below(40) as i64,
                    1 => clock += 1000,
                    2 => {
                        camera.gap(GapReason::Silent, at(clock), Some(at(clock + 60)));
                        clock += 60;
                    }
                    3 => camera.goes_on(pictures * 200 + 3000, 30),
                    _ => {}
                }
                clock += 20;
            }
            camera.close();
            if session == 1 && random.below(2) == 0 {
                let from = random.below(clock.max(1) as usize) as i64;
                ring.erase(at(from), at(from + 1 + random.below(30) as i64));
            }
        }
        let volume = ring.volume();
        if volume.stream_rows(front(&volume)).iter().any(|row| row.samples > 0) {
            judge(&ring, seed);
        }
    }
}

#[test]
fn what_the_ring_went_over_is_not_there_and_what_is_left_is() {
    let ring = Ring::new(16 << 20);
    let mut camera = ring.camera(Kind { picture_bytes: 9000, ..PLAIN });
    for run in 0..20 {
        camera.run(at(run * 100), 150);
    }
    camera.close();
    let oracle = judge(&ring, 3);
    assert!(oracle.samples[0].sample.wall > at(300), "the ring went round");
}

/// The host's clock was in the future, was set right, and recording went on.
#[test]
fn behind_the_last_keyframe_of_a_clock_that_was_ahead_a_seek_ends_without_what_came_since() {
    let ring = Ring::new(16 << 20);
    let mut camera = ring.camera(Kind { picture_bytes: 9000, ..PLAIN });
    camera.run(at(100_000), 15);
    (0..6).for_each(|run| camera.run(at(run * 100), 150));
    camera.close();
    judge(&ring, 5);
    let volume = ring.volume();
    let (index, stream) = (Index::new(&volume), front(&volume));
    let asked = Cell::new(0);
    let count = || {
        asked.set(asked.get() + 1);
        true
    };
    let behind = at(100_002).plus_ns(S / 2);
    let mut cursor = Cursor::new(&volume, &index, stream).while_wanted(&count);
    assert_eq!(cursor.seek(behind, Nearest::AtOrAfter, Step::Keyframe).unwrap(), None);
    let sought = asked.replace(0);
    while cursor.step(Direction::Forwards, Step::Keyframe).unwrap().is_some() {}
    assert!(sought < asked.get() / 2, "asked {sought} times, and {} times from end to end", asked.get());
}

#[test]
fn who_is_not_wanted_any_more_goes_no_further() {
    let ring = Ring::new(16 << 20);
    let mut camera = ring.camera(PLAIN);
    camera.run(at(0), 60);
    camera.close();
    let volume = ring.volume();
    let index = Index::new(&volume);
    let mut cursor = Cursor::new(&volume, &index, front(&volume)).while_wanted(&|| false);
    for step in [Step::Sample, Step::Picture, Step::Keyframe] {
        assert!(matches!(cursor.step(Direction::Forwards, step), Err(Error::Cancelled)));
    }
    let sought = cursor.seek(at(3), Nearest::AtOrAfter, Step::Keyframe);
    assert!(matches!(sought, Err(Error::Cancelled)));
}

#[test]
fn what_is_erased_or_damaged_is_told_and_passed_over() {
    for seed in 0..3 {
        let ring = Ring::new(16 << 20);
        let mut camera = ring.camera(Kind { keyframe_bytes: 40_000, picture_bytes: 6000, ..PLAIN });
        camera.run(at(0), 700);
        camera.close();
        ring.erase(at(40), at(45));
        let volume = ring.volume();
        let (stream, mut random) = (front(&volume), Random(seed));
        let rows = volume.stream_rows(stream);
        assert!(rows.len() > 3, "{rows:?}");
        let (place, mut hit) = (1 + random.below(2), None);
        for (chunk, outline) in
            volume.outline(stream, &rows[place]).unwrap().chunks.iter().enumerate().skip(2)
        {
            if outline.kind == OutlineKind::Media && random.below(4) == 0 {
                hit = Some(chunk);
            }
        }
        let (begin, bytes) = ring.chunk(stream, place, hit.unwrap_or(3));
        match seed % 3 {
            // A sample.
            0 => ring.damage(begin + u64::from(bytes) / 2, 10),
            // A chunk of which the footer tells.
            1 => ring.damage(begin, bytes as usize),
            // A chunk, and what tells of it.
            _ => {
                ring.damage(begin, bytes as usize);
                let end = volume.block_at(rows[place].block) + u64::from(volume.info().block_bytes);
                let page = u64::from(volume.info().page_bytes);
                ring.damage(end - page, page as usize);
            }
        }
        judge(&ring, seed);
        if seed % 3 > 0 {
            let breaks = breaks(&ring);
            assert!(breaks.contains(&"erased".to_owned()), "{breaks:?}");
            assert!(breaks.contains(&"damaged".to_owned()), "{seed}: {breaks:?}");
        }
    }
}

/// A sample that does not verify is known by reading it: then what follows does not join.
#[test]
fn a_sample_that_is_damaged_is_not_given_and_the_next_step_tells() {
    let ring = Ring::new(16 << 20);
    let mut camera = ring.camera(Kind { picture_bytes: 6000, ..PLAIN });
    camera.run(at(0), 200);
    camera.close();
    let stream = front(&ring.volume());
    let (begin, bytes) = ring.chunk(stream, 0, 3);
    ring.damage(begin + u64::from(bytes) / 2, 10);
    let volume = ring.volume();
    let index = Index::new(&volume);
    let mut cursor = Cursor::new(&volume, &index, stream);
    let (mut lost, mut told) = (0, Vec::new());
    while let Some(moment) = cursor.step(Direction::Forwards, Step::Sample).unwrap() {
        told.extend(moment.discontinuity);
        lost += u32::from(cursor.read().unwrap().is_none());
    }
    assert_eq!((lost, told.iter().map(Discontinuity::as_str).collect::<Vec<_>>()), (1, vec!["damaged"]));
}

#[test]
fn a_long_group_comes_in_parts_and_steps_by_keyframe_read_no_footage() {
    let ring = Ring::new(128 << 20);
    let mut camera = ring.camera(Kind { gop: 20_000, picture_bytes: 4000, ..PLAIN });
    camera.run(at(0), 15_000);
    camera.goes_on(3_000_000, 20);
    camera.close();
    let volume = ring.volume();
    let index = Index::new(&volume);
    let mut cursor = Cursor::new(&volume, &index, front(&volume));
    let before = read_bytes();
    let first = cursor.step(Direction::Forwards, Step::Keyframe).unwrap().unwrap();
    let second = cursor.step(Direction::Forwards, Step::Keyframe).unwrap().unwrap();
    assert_eq!(second.row.wall, at(3000));
    assert_eq!(cursor.read().unwrap().unwrap().len(), 9000);
    assert_eq!(cursor.step(Direction::Backwards, Step::Keyframe).unwrap().unwrap().row, first.row);
    let read = read_bytes() - before;
    assert!(read < 4 << 20, "of 60 MB were read {read}");
    let mut gop = cursor.gop().unwrap().unwrap();
    let (mut parts, mut samples) = (0, 0);
    while let Some(part) = gop.next_part().unwrap() {
        assert!(part.len() <= keha_player::cursor::GOP_PART_SAMPLES);
        (parts, samples) = (parts + 1, samples + part.len());
    }
    assert!(parts > 6, "{parts} parts");
    // Sound stands behind each picture.
    assert_eq!(samples, 30_000);
}

/// What this thread has read from files.
fn read_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn who_is_overtaken_by_the_ring_is_told_so_and_seeks_elsewhere() {
    let ring = Ring::new(16 << 20);
    let kind = Kind { picture_bytes: 9000, ..PLAIN };
    let mut camera = ring.camera(kind);
    camera.run(at(0), 600);
    camera.close();
    let volume = ring.volume();
    let stream = front(&volume);
    let index = Index::new(&volume);
    let mut cursor = Cursor::new(&volume, &index, stream);
    let first = cursor.step(Direction::Forwards, Step::Keyframe).unwrap().unwrap();
    let mark = keha_player::cursor::Mark::of(&first.row);
    let mut camera = ring.camera(kind);
    for run in 0..20 {
        camera.run(at(1000 + run * 100), 150);
    }
    camera.close();
    let mut walk = || -> Result<(), keha_player::Error> {
        while cursor.step(Direction::Forwards, Step::Sample)?.is_some() {}
        Ok(())
    };
    let error = walk().expect_err("it is gone");
    assert!(matches!(error, keha_player::Error::Volume(keha_fs::Error::Overwritten { .. })), "{error}");
    let volume = ring.volume();
    let index = Index::new(&volume);
    let mut cursor = Cursor::new(&volume, &index, stream);
    let gone = cursor.resume(mark).expect_err("it is before the first that is left");
    assert!(matches!(gone, keha_player::Error::Volume(keha_fs::Error::Overwritten { .. })), "{gone}");
    let found = cursor.seek(at(1950), Nearest::AtOrBefore, Step::Keyframe).unwrap().unwrap();
    assert!(found.keyframe && found.row.wall <= at(1950));
    assert!(cursor.read().unwrap().is_some());
}
