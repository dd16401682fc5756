//! What was kept against what was sent.
//!
//! The clip of a looping camera is a ring of NAL units; footage without loss is an unbroken run on that ring.
//! Must not live here: reading files ([`crate::probe`]).

use crate::media::Clip;
use crate::media::nal::NalHash;
use crate::probe::Mkv;
use anyhow::{Context, Result, bail};
use std::collections::HashMap;

/// Where footage lies on the ring of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Index in the clip of the first unit.
    pub first: usize,
    /// Units in the footage.
    pub len: usize,
}

/// Where footage lies in a clip; an error saying where it breaks.
pub fn unbroken_run(exported: &[NalHash], clip: &[NalHash]) -> Result<Run> {
    let mut places: HashMap<NalHash, Option<usize>> = HashMap::new();
    for (i, hash) in clip.iter().enumerate() {
        places.entry(*hash).and_modify(|place| *place = None).or_insert(Some(i));
    }
    // The first unit that stands only once in the clip says where the run starts; parameter sets do not.
    let (at, place) = exported
        .iter()
        .enumerate()
        .find_map(|(at, hash)| Some((at, places.get(hash).copied().flatten()?)))
        .with_context(|| format!("none of {} exported units is a picture of the clip", exported.len()))?;
    let first = (place + clip.len() - at % clip.len()) % clip.len();
    for (i, hash) in exported.iter().enumerate() {
        let expected = (first + i) % clip.len();
        if clip[expected] != *hash {
            let found = match places.get(hash) {
                Some(Some(place)) => format!("unit {place} of the clip"),
                Some(None) => "a unit that stands in the clip more than once".to_owned(),
                None => "a unit that is not in the clip".to_owned(),
            };
            bail!(
                "broken at exported unit {i} of {}: expected unit {expected} of the clip, found {found}",
                exported.len()
            );
        }
    }
    Ok(Run { first, len: exported.len() })
}

/// Panics where footage is not an unbroken run of the clip.
pub fn assert_unbroken_run(exported: &[NalHash], clip: &[NalHash]) -> Run {
    unbroken_run(exported, clip).unwrap_or_else(|broken| panic!("{broken}"))
}

/// The video of an export as an unbroken run of what the camera serves.
pub fn video_run(mkv: &Mkv, clip: &Clip) -> Result<Run> {
    let track = clip.video()?;
    let exported = mkv.video()?.nal_hashes()?.concat();
    unbroken_run(&exported, &clip.hashes(track).concat())
}

/// Whether these bytes are a stretch of the looping payload, wherever either was cut into samples.
pub fn payload_run(exported: &[u8], clip: &[u8]) -> Result<Run> {
    let probe = exported.get(..64).context("less than 64 bytes of payload")?;
    let ring: Vec<u8> = clip.iter().chain(clip.iter().take(64)).copied().collect();
    let first =
        ring.windows(64).position(|window| window == probe).context("the payload is not from the clip")?;
    match exported.iter().enumerate().find(|(i, byte)| clip[(first + i) % clip.len()] != **byte) {
        None => Ok(Run { first, len: exported.len() }),
        Some((i, _)) => bail!("the payload breaks at byte {i} of {}", exported.len()),
    }
}

/// Numbers exported samples as the camera's send log does: on and on over the laps of the clip.
///
/// Each sample is found by its pictures; numbers only grow. A stretch of a whole lap lost at once would not be seen
/// by this, and cannot happen unseen: the camera goes on with the next picture after each connection.
pub fn number_samples(exported: &[Vec<NalHash>], clip: &[Vec<NalHash>]) -> Result<Vec<u64>> {
    let mut places = HashMap::new();
    for (i, sample) in clip.iter().enumerate() {
        let last = sample.last().context("an empty sample in the clip")?;
        places.insert(*last, i as u64);
    }
    let laps = clip.len() as u64;
    let mut numbers: Vec<u64> = Vec::with_capacity(exported.len());
    for (i, sample) in exported.iter().enumerate() {
        let place = *sample
            .last()
            .and_then(|last| places.get(last))
            .with_context(|| format!("exported sample {i} is not one of the clip"))?;
        let whole = &clip[place as usize];
        if whole != sample {
            bail!("exported sample {i} differs from sample {place} of the clip: {sample:?}, not {whole:?}");
        }
        let number = match numbers.last() {
            None => place,
            Some(last) => {
                let base = last - last % laps + place;
                if base > *last { base } else { base + laps }
            }
        };
        numbers.push(number);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(n: u32) -> Vec<NalHash> {
        // Every third unit repeats, as a parameter set does.
        (0..n)
            .map(|i| {
                NalHash::of(if i % 3 == 0 { b"set!".to_vec() } else { i.to_be_bytes().to_vec() }.as_slice())
            })
            .collect()
    }

    #[test]
    fn a_run_over_the_seam_of_the_loop_is_unbroken() {
        let clip = ring(9);
        let exported: Vec<_> = (6..30).map(|i| clip[i % 9]).collect();
        assert_eq!(unbroken_run(&exported, &clip).unwrap(), Run { first: 6, len: 24 });
    }

    #[test]
    fn a_missing_a_repeated_a_swapped_and_a_foreign_unit_are_each_found() {
        let clip = ring(9);
        let good: Vec<_> = (3..12).map(|i| clip[i % 9]).collect();
        let mut missing = good.clone();
        missing.remove(4);
        let mut missing_set = good.clone();
        missing_set.remove(3);
        let mut repeated = good.clone();
        repeated.insert(4, good[4]);
        let mut swapped = good.clone();
        swapped.swap(4, 5);
        let mut foreign = good.clone();
        foreign[8] = NalHash::of(b"foreign");
        for broken in [missing, missing_set, repeated, swapped, foreign] {
            assert!(unbroken_run(&broken, &clip).is_err());
        }
    }

    #[test]
    fn samples_are_numbered_on_over_laps_and_gaps() {
        let clip: Vec<Vec<NalHash>> =
            (0..5_u8).map(|i| vec![NalHash::of(b"set"), NalHash::of(&[i])]).collect();
        let exported: Vec<_> = [3, 4, 0, 2, 1].iter().map(|i: &usize| clip[*i].clone()).collect();
        assert_eq!(number_samples(&exported, &clip).unwrap(), [3, 4, 5, 7, 11]);
    }

    #[test]
    fn payload_cut_into_other_samples_is_still_a_run() {
        let clip: Vec<u8> =
            (0..3000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_be_bytes()).collect();
        let exported: Vec<u8> = clip.iter().cycle().skip(11_000).take(4000).copied().collect();
        assert_eq!(payload_run(&exported, &clip).unwrap(), Run { first: 11_000, len: 4000 });
        let mut broken = exported;
        broken.remove(2000);
        assert!(payload_run(&broken, &clip).is_err());
    }
}
