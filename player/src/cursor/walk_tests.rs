//! Walks over streams that are made up: no disk is read.

use super::joins::Met;
use super::walk::{Begun, Spot, Walk};
use super::{Direction, Discontinuity};
use crate::segments::made_up::{Event, MadeUp, STREAM, events};
use crate::timeline::TimelineSource;
use keha_fs::{OutlineChunk, OutlineKind, SampleRow, WallTime};
use proptest::prelude::*;

/// Every chunk of samples that a walk in a direction meets, with why it does not join the one before it.
fn met(walk: &Walk<'_>, direction: Direction) -> Vec<(Spot, Option<Discontinuity>)> {
    let (mut all, mut from): (Vec<(Spot, _)>, _) = (Vec::new(), None);
    loop {
        let mut met = Met::default();
        let Some(next) = walk.next(from, direction, false, &mut met).expect("all is there") else {
            return all;
        };
        let row = |spot| row(&walk.chunk(spot).expect("it is there").expect("a chunk"));
        let joint = from.and_then(|from| met.between(&row(from), &row(next)));
        all.push((next, joint));
        from = Some(next);
    }
}

fn row(chunk: &OutlineChunk) -> SampleRow {
    SampleRow {
        track: keha_fs::TrackNumber(1),
        ticks: 0,
        wall: chunk.from,
        flags: keha_fs::SampleFlags::SYNC,
        bytes: 0,
        run: chunk.run,
        configuration: chunk.configuration,
        begins: keha_fs::ChunkNumber(0),
        chunk: keha_fs::ChunkNumber(0),
        chunk_checksum: 0,
        place: 0,
    }
}

proptest! {
    #[test]
    fn both_ways_meet_the_same_chunks_and_the_same_breaks(events in events()) {
        let made = MadeUp::of(&events);
        let rows = made.rows(STREAM);
        let walk = Walk::new(&made, STREAM, &rows);
        let forwards = met(&walk, Direction::Forwards);
        let mut backwards = met(&walk, Direction::Backwards);
        backwards.reverse();
        let spots = |met: &[(Spot, _)]| met.iter().map(|(spot, _)| *spot).collect::<Vec<_>>();
        prop_assert_eq!(spots(&forwards), spots(&backwards));
        // Backwards the break before a chunk is told with the one before it.
        let told = forwards.iter().skip(1).map(|(_, joint)| joint);
        prop_assert!(told.eq(backwards.iter().take(forwards.len().saturating_sub(1)).map(|(_, joint)| joint)));
    }

    #[test]
    fn keyframes_are_those_of_the_groups_and_decoding_begins_with_them(events in events()) {
        let made = MadeUp::of(&events);
        let rows = made.rows(STREAM);
        let walk = Walk::new(&made, STREAM, &rows);
        let (mut keyframes, mut begun) = (Vec::new(), None);
        for (place, row) in rows.iter().enumerate() {
            let outline = made.outline(STREAM, row).expect("it is there");
            for (chunk, stands) in outline.chunks.iter().enumerate() {
                let spot = Spot { place, chunk };
                match stands.kind {
                    OutlineKind::Media => {
                        let is_begun = if begun == Some(stands.run) { Begun::Yes } else { Begun::No };
                        prop_assert_eq!(walk.is_begun(spot).expect("it is there"), is_begun);
                        let mine = walk.keyframes(spot).expect("it is there");
                        begun = if mine.is_empty() { begun } else { Some(stands.run) };
                        keyframes.extend(mine.into_iter().map(|sync| sync.wall));
                    }
                    OutlineKind::Erased => begun = None,
                    _ => {}
                }
            }
        }
        let groups: Vec<WallTime> = made.gops.iter().map(|gop| gop.from).collect();
        prop_assert_eq!(keyframes, groups);
    }
}

#[test]
fn blocks_without_keyframes_are_passed_over_unread() {
    // Eight chunks of a second make a block: one group reaches over many.
    let made = MadeUp::of(&[Event::Gops(1, 400_000), Event::Gops(1, 1000)]);
    let rows = made.rows(STREAM);
    let walk = Walk::new(&made, STREAM, &rows);
    let mut from = None;
    while let Some(next) =
        walk.next(from, Direction::Forwards, true, &mut Met::default()).expect("all is there")
    {
        from = Some(next);
    }
    assert!(rows.len() > 50 && made.asked.get() <= 3, "{} of {} were read", made.asked.get(), rows.len());
}
