//! Every sequence of up to four deeds, with the power cut at every I/O event of its last one: those before it were the last ones
//! of shorter sequences.

use super::driver::Cuts;
use super::words::{DEEDS, Deed, recorder, word};
use super::{Verdict, demand, number};

/// The longest sequences.
const LENGTH_MAX: u32 = 4;

/// How many sequences there are.
pub(super) fn count() -> u64 {
    (1..=LENGTH_MAX).map(|length| (DEEDS.len() as u64).pow(length)).sum()
}

/// The `index`-th one, shorter ones first.
fn sequence(mut index: u64) -> Vec<Deed> {
    let deeds = DEEDS.len() as u64;
    let mut length = 1;
    while index >= deeds.pow(length) {
        index -= deeds.pow(length);
        length += 1;
    }
    (0..length).map(|place| DEEDS[(index / deeds.pow(place) % deeds) as usize]).collect()
}

/// Tries the `index`-th sequence with so many plans at each event.
pub(super) fn try_sequence(index: u64, plans: usize) -> Verdict<u64> {
    let deeds = sequence(index);
    let Some((last, before)) = deeds.split_last() else { return Ok(0) };
    if last.is_silent() {
        return Ok(0);
    }
    let context = |why| format!("sequence {index} `{}`: {why}", word(&deeds));
    let mut driver = recorder(index).map_err(context)?;
    before.iter().try_for_each(|deed| deed.run(&mut driver)).map_err(context)?;
    driver.cuts = Cuts { one_in: 1, plans, deep_one_in: 0 };
    last.run(&mut driver).map_err(context)?;
    Ok(driver.judged)
}

/// Some sequences of each length, for those who have little time: `seed` says which.
pub(super) fn some_sequences(seed: u64) -> Verdict<u64> {
    let mut judged = 0;
    for index in (seed % SLICES..count()).step_by(SLICES as usize) {
        judged += try_sequence(index, 6)?;
    }
    Ok(judged)
}

/// Into how many parts the sequences are cut for [`some_sequences`].
const SLICES: u64 = 96;

#[test]
fn every_short_sequence_survives_a_power_cut_at_every_event() {
    // All of one and two deeds, and a part of the longer ones: the whole is `make torture`.
    let short = (DEEDS.len() * (DEEDS.len() + 1)) as u64;
    let all = number("KEHA_SEED").map_or(0..short, |index| index..index + 1);
    let mut judged = 0;
    let began = std::time::Instant::now();
    for index in all.clone() {
        judged +=
            try_sequence(index, 12).unwrap_or_else(|why| panic!("{why}\nreproduce with KEHA_SEED={index}"));
    }
    println!("short sequences: {all:?}, {judged} judged in {:.1?}", began.elapsed());
}

#[test]
fn long_sequences_survive_a_power_cut_at_every_event() {
    super::for_seeds("sequences", 0, 1, some_sequences);
}

#[test]
fn sequences_are_counted_through_without_one_left_out() {
    let outcome = || -> Verdict {
        let all: std::collections::HashSet<String> =
            (0..count()).map(|index| word(&sequence(index))).collect();
        demand!(all.len() as u64 == count(), "{} of {} differ", all.len(), count());
        demand!(all.iter().all(|word| (1..=4).contains(&word.len())), "a sequence is too long or too short");
        Ok(())
    };
    assert_eq!(outcome(), Ok(()));
}
