//! Every n-th write or flush of many recordings fails, with every error, once and for ever: nothing that was reported durable is
//! lost, and when the fault is gone the volume records on by itself.

use super::driver::Cuts;
use super::fault_tests::goes_on;
use super::words::{deeds, recorder};
use super::{Verdict, for_seeds};
use crate::disk::sim::{Errno, Kinds, Repeat};

/// What is recorded meanwhile; letters as in [`super::words`].
pub(super) const RECORDINGS: [&str; 41] = [
    "sr",
    "sdr",
    "sdrdr",
    "srtr",
    "lr",
    "lrlr",
    "fr",
    "frfr",
    "frfrfr",
    "xr",
    "xrsr",
    "sgr",
    "sgrgr",
    "scr",
    "srcsr",
    "snsr",
    "srnsr",
    "spr",
    "sprsr",
    "sprsprsr",
    "srpsrpsr",
    "tqtr",
    "trqrtr",
    "stpqrstr",
    "srsrsrsrsr",
    "sdwdwdwr",
    "lwlwr",
    "fwrfwr",
    "xwrtr",
    "sclgnsr",
    "ftrfpqrstr",
    "srtrlrgrcfrpsrqtrnsr",
    "hr",
    "hfrur",
    "srhfrfrur",
    "htrurhsr",
    "ser",
    "fefr",
    "trestr",
    "hrerur",
    "sretrfrer",
];

/// With which errors.
pub(super) const ERRORS: [Errno; 7] =
    [Errno::EIO, Errno::ENOSPC, Errno::EROFS, Errno::ENODEV, Errno::EAGAIN, Errno::ETIMEDOUT, Errno::ENXIO];

/// With which errors reads fail. A disk gives none twice over by itself: what a driver calls interrupted has failed like any other.
pub(super) const READ_ERRORS: [Errno; 8] = [
    Errno::EIO,
    Errno::ENXIO,
    Errno::EBADMSG,
    Errno::EUCLEAN,
    Errno::EAGAIN,
    Errno::EINTR,
    Errno::ETIMEDOUT,
    Errno::ENODEV,
];

/// The errors with which one read fails: one of all by its number, or every one.
pub(super) fn read_errors_for(number: u64, all: bool) -> Vec<Errno> {
    if all { READ_ERRORS.to_vec() } else { vec![READ_ERRORS[number as usize % READ_ERRORS.len()]] }
}

/// Lets each operation of a recording fail, each by one of the faults in turn or (`all`) by every one of them.
pub(super) fn every_operation_fails(which: usize, all: bool) -> Verdict<u64> {
    let word = RECORDINGS[which % RECORDINGS.len()];
    let mut driver = recorder(which as u64)?;
    let before = driver.disk.submitted();
    deeds(word).into_iter().try_for_each(|deed| deed.run(&mut driver))?;
    let operations = driver.disk.submitted() - before;
    let mut judged = 0;
    for nth in 0..operations {
        for (errno, repeat) in faults_for(nth + which as u64, all) {
            judged += one_fails(word, which as u64, nth, errno, repeat)
                .map_err(|why| format!("`{word}`, {errno} {repeat:?} at {nth} of {operations}: {why}"))?;
        }
    }
    Ok(judged)
}

/// The faults that strike one operation: one of all by its number, or every one.
pub(super) fn faults_for(number: u64, all: bool) -> Vec<(Errno, Repeat)> {
    let faults: Vec<_> =
        ERRORS.into_iter().flat_map(|errno| [(errno, Repeat::Once), (errno, Repeat::Forever)]).collect();
    let mine = number as usize % faults.len();
    if all { faults } else { vec![faults[mine]] }
}

fn one_fails(word: &str, seed: u64, nth: u64, errno: Errno, repeat: Repeat) -> Verdict<u64> {
    let mut driver = recorder(seed ^ nth)?;
    driver.faulty = true;
    driver.cuts = Cuts { one_in: 30, plans: 4, deep_one_in: 0 };
    driver.disk.fail_nth(driver.disk.submitted() + nth, errno, repeat, Kinds::ALL);
    deeds(word).into_iter().try_for_each(|deed| deed.run(&mut driver))?;
    driver.disk.clear_faults();
    goes_on(&mut driver, nth.is_multiple_of(32))?;
    Ok(driver.judged)
}

/// Lets each read of the writer fail during a recording, once or for ever in turn, by one of the errors in turn or (`all`) by
/// every one of them.
pub(super) fn every_read_fails(which: usize, all: bool) -> Verdict<u64> {
    let word = RECORDINGS[which % RECORDINGS.len()];
    let mut driver = recorder(which as u64)?;
    let before = driver.disk.reader_reads();
    deeds(word).into_iter().try_for_each(|deed| deed.run(&mut driver))?;
    let reads = driver.disk.reader_reads() - before;
    let mut judged = 0;
    for nth in 0..reads {
        let repeat = if (nth + which as u64).is_multiple_of(2) { Repeat::Once } else { Repeat::Forever };
        // Both repeats meet every error.
        for errno in read_errors_for(nth / 2 + which as u64, all) {
            judged += one_read_fails(word, which as u64, nth, errno, repeat)
                .map_err(|why| format!("`{word}`, {errno} {repeat:?} at read {nth} of {reads}: {why}"))?;
        }
    }
    Ok(judged)
}

fn one_read_fails(word: &str, seed: u64, nth: u64, errno: Errno, repeat: Repeat) -> Verdict<u64> {
    let mut driver = recorder(seed)?;
    driver.faulty = true;
    driver.cuts = Cuts { one_in: 30, plans: 4, deep_one_in: 0 };
    driver.disk.fail_reader(driver.disk.reader_reads() + nth, errno, repeat);
    deeds(word).into_iter().try_for_each(|deed| deed.run(&mut driver))?;
    driver.disk.clear_faults();
    goes_on(&mut driver, nth.is_multiple_of(32))?;
    Ok(driver.judged)
}

#[test]
fn whichever_read_of_the_writer_fails_nothing_durable_is_lost() {
    for_seeds("every read fails", 0, RECORDINGS.len() as u64, |which| {
        every_read_fails(which as usize, false)
    });
}

#[test]
fn whichever_operation_of_a_recording_fails_with_any_error_nothing_durable_is_lost() {
    for_seeds("every operation fails", 0, RECORDINGS.len() as u64, |which| {
        every_operation_fails(which as usize, false)
    });
}
