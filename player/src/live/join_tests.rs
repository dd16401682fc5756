//! Disk and tail join whatever each of them has, and wherever the mux was.

use super::super::start::{Start, start};
use super::*;
use bytes::Bytes;
use keha_fs::{ChunkNumber, ConfigurationHash, RunId, SampleFlags, TrackNumber, WallTime};
use proptest::prelude::*;
use std::convert::Infallible;

/// The `index`-th sample: pictures, and sound between them; `twice`: each picture has the time of the one before.
fn sample(index: usize, group: usize, twice: bool) -> StoredSample {
    let sound = index % 3 == 2;
    let key = !sound && index.is_multiple_of(group);
    let time = if twice && !sound { index / 2 } else { index };
    StoredSample {
        track: TrackNumber(if sound { 2 } else { 1 }),
        ticks: time as i64,
        wall: WallTime(time as i64),
        flags: if key || sound { SampleFlags::SYNC } else { SampleFlags::default() },
        data: Bytes::from(index.to_be_bytes().to_vec()),
        run: RunId::default(),
        configuration: ConfigurationHash::default(),
        chunk: ChunkNumber(0),
    }
}

fn entry(sample: &StoredSample) -> Option<Entry> {
    Some(match (sample.track.0, sample.flags.contains(SampleFlags::SYNC)) {
        (2, _) => Entry::Beside,
        (_, true) => Entry::Begins,
        _ => Entry::Needs,
    })
}

fn number(sample: &StoredSample) -> usize {
    usize::from_be_bytes(sample.data[..].try_into().unwrap_or_default())
}

fn numbers(items: &[TailItem]) -> Vec<usize> {
    let samples = items.iter().filter_map(|item| match item {
        TailItem::Sample(sample) => Some(number(sample)),
        _ => None,
    });
    samples.collect()
}

fn read(last: Option<SamplePlace>, disk: &[StoredSample], tail: &[TailItem], bytes_max: usize) -> Joined {
    let mut disk = disk.iter().cloned().map(Item::Sample);
    let joined = join(last, || Ok::<_, Infallible>(disk.next()), tail, entry, |_| (), bytes_max);
    match joined {
        Ok(joined) => joined,
    }
}

proptest! {
    #[test]
    fn all_from_the_last_sample_or_the_last_keyframe_on_comes_once(
        all in 2..80usize, group in 1..30usize, twice in any::<bool>(),
        (tail_from, overlap, given) in (0.0..1.0f64, 0..20usize, proptest::option::of(0.0..1.0f64)),
    ) {
        let samples: Vec<StoredSample> = (0..all).map(|index| sample(index, group * 3, twice)).collect();
        // The tail has the end; the disk all before it, and some of what the tail has.
        let tail_from = (tail_from * all as f64) as usize;
        let disk = &samples[..(tail_from + overlap).min(all)];
        let tail: Vec<TailItem> = samples[tail_from..].iter().cloned().map(TailItem::Sample).collect();
        let given = given.map(|given| (given * all as f64) as usize).filter(|_| !twice);
        let last = given.map(|given| place(&samples[given]));
        let key = |before: usize| samples[..before].iter().rposition(|s| entry(s) == Some(Entry::Begins));
        let (items, goes_on) = match start(last, &tail, entry) {
            Start::At { index, goes_on } => (tail[index..].to_vec(), goes_on),
            Start::Before => {
                let joined = read(last, disk, &tail, usize::MAX);
                let goes_on = joined.goes_on;
                (joined.items.into_iter().chain(tail).collect(), goes_on)
            }
            // Sound alone, where there are pictures.
            Start::Nowhere => return Ok(()),
        };
        let in_tail = samples[tail_from..].iter().any(|s| entry(s) == Some(Entry::Begins));
        let from = match given {
            Some(given) => given + 1,
            None if in_tail => key(all).unwrap_or(0),
            None => key(tail_from).unwrap_or(0),
        };
        prop_assert_eq!(goes_on, given.is_some());
        prop_assert_eq!(numbers(&items), (from..all).collect::<Vec<_>>());
    }

    #[test]
    fn a_group_that_is_too_large_is_not_held(all in 20..60usize, bytes_max in 0..100usize) {
        let samples: Vec<StoredSample> = (0..all).map(|index| sample(index, 999, false)).collect();
        let tail = [TailItem::Sample(samples[all - 1].clone())];
        let joined = read(None, &samples, &tail, bytes_max);
        prop_assert_eq!(joined, Joined::default());
    }
}

#[test]
fn a_damaged_first_sample_of_the_tail_is_no_seam() {
    let samples: Vec<StoredSample> = (0..12).map(|index| sample(index, 6, false)).collect();
    let tail: Vec<TailItem> = samples[9..].iter().cloned().map(TailItem::Sample).collect();
    let mut disk = samples.clone();
    disk.remove(9);
    let joined = read(Some(place(&samples[3])), &disk, &tail, usize::MAX);
    assert_eq!((numbers(&joined.items), joined.goes_on), (vec![4, 5, 6, 7, 8], true));
}
