//! Disks asked all at once, each on a thread of its own: one that does not answer keeps nobody from what stands on another one.
//!
//! | answers | outcome |
//! |---|---|
//! | all, in time | all are given |
//! | what is looked for is found | the others are waited for a moment longer: one that is a clone is to be noticed |
//! | it is not found | the others are waited for as long as a disk takes to spin up |
//! | one does not answer | it is told, with since when; it is asked again once those who wait for it have their answer, and by none before |
//! | somebody else asks within a moment of that | both are answered; later ones are told that it does not answer, also if it only spins up |
//!
//! So a disk that hangs costs one thread, and whoever opens something waits for it once. What must not live here: what is read.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until what is looked for is found.
    pub(super) until_found: Duration,
    /// And from then on.
    pub(super) once_found: Duration,
}

/// Those who wait for disks: each for one, since when.
#[derive(Clone, Default)]
pub(super) struct Askers(Arc<Mutex<BTreeMap<Waiting, Instant>>>);

/// A disk, and how many waited for one before.
type Waiting = (String, u64);

/// A disk that is waited for, until this is dropped.
struct Waits {
    askers: Askers,
    waiting: Waiting,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.askers.lock().remove(&self.waiting);
    }
}

impl Askers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Waiting, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait for a disk; since when another one does who has waited for so long.
    fn wait(&self, disk: &str, long: Duration) -> Result<Waits, Instant> {
        let mut all = self.lock();
        let since = all.iter().filter(|((of, _), _)| of == disk).map(|(_, since)| *since).min();
        if let Some(since) = since.filter(|since| since.elapsed() >= long) {
            return Err(since);
        }
        let last = all.keys().filter(|(of, _)| of == disk).map(|(_, number)| *number).max();
        let waiting = (disk.to_owned(), last.map_or(0, |last| last.wrapping_add(1)));
        all.insert(waiting.clone(), Instant::now());
        Ok(Waits { askers: self.clone(), waiting })
    }

    /// Asks disks, each with what it is told apart by. The answers are in their order; in words why there is none.
    pub(super) fn ask<D: Clone + Send + 'static, T: Send + 'static>(
        &self,
        disks: &[(String, D)],
        read: fn(&D) -> T,
        is_found: impl Fn(&T) -> bool,
        patience: Patience,
    ) -> Vec<Result<T, String>> {
        let (give, given) = channel();
        let silent = |since: Instant| format!("it does not answer for {} s", since.elapsed().as_secs());
        let began = Instant::now();
        let mut answers: Vec<Option<Result<T, String>>> = Vec::with_capacity(disks.len());
        for (place, (id, disk)) in disks.iter().enumerate() {
            let begun = self.wait(id, patience.once_found).map_err(silent).and_then(|waits| {
                let (disk, give) = (disk.clone(), give.clone());
                let asks = move || {
                    let answer = read(&disk);
                    drop(waits);
                    // Whoever asked may not wait any more.
                    let _gone = give.send((place, answer));
                };
                let spawned = thread::Builder::new().name("keha-disk".to_owned()).spawn(asks);
                spawned.map_err(|error| format!("no thread can be started to ask it: {error}"))
            });
            answers.push(begun.err().map(Err));
        }
        drop(give);
        let mut until = began + patience.until_found;
        while answers.iter().any(Option::is_none) {
            match given.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((place, answer)) => {
                    if is_found(&answer) {
                        until = until.min(Instant::now() + patience.once_found);
                    }
                    if let Some(mine) = answers.get_mut(place) {
                        *mine = Some(Ok(answer));
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(silent(began)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A disk that answers once it is let, with a number.
    #[derive(Clone)]
    struct Disk(Arc<(Mutex<()>, AtomicUsize)>, u8);

    fn read(disk: &Disk) -> u8 {
        disk.0.1.fetch_add(1, Ordering::SeqCst);
        drop(disk.0.0.lock());
        disk.1
    }

    fn disk(number: u8) -> (String, Disk) {
        (format!("disk{number}"), Disk(Arc::default(), number))
    }

    const SOON: Patience =
        Patience { until_found: Duration::from_secs(60), once_found: Duration::from_secs(2) };

    #[test]
    fn a_disk_that_hangs_keeps_nobody_from_another_one_and_is_asked_by_one_thread() {
        let (askers, disks) = (Askers::default(), [disk(1), disk(2), disk(3)]);
        let asked = |number: usize| disks[number].1.0.1.load(Ordering::SeqCst);
        let hung = disks[0].1.0.0.lock().unwrap();
        for times in 1..4 {
            let answers = askers.ask(&disks, read, |answer| *answer == 2, SOON);
            assert!(answers[0].as_ref().is_err_and(|why| why.contains("does not answer")), "{answers:?}");
            assert_eq!((&answers[1], &answers[2]), (&Ok(2), &Ok(3)));
            assert_eq!((asked(0), asked(1)), (1, times));
        }
        drop(hung);
        while !askers.lock().is_empty() {
            thread::yield_now();
        }
        let answers = askers.ask(&disks, read, |answer| *answer == 1, SOON);
        assert_eq!(answers[0], Ok(1));
        assert_eq!(asked(0), 2, "it is asked again");
    }

    /// One of them was told that the disk does not answer.
    #[test]
    fn those_who_ask_at_once_are_all_answered() {
        let (askers, disks) = (Askers::default(), [disk(1)]);
        let slow = disks[0].1.0.0.lock().unwrap();
        thread::scope(|scope| {
            let all = [(); 3].map(|()| scope.spawn(|| askers.ask(&disks, read, |_| true, SOON)));
            while disks[0].1.0.1.load(Ordering::SeqCst) < 3 {
                thread::yield_now();
            }
            drop(slow);
            all.into_iter().for_each(|asked| assert_eq!(asked.join().unwrap(), [Ok(1)]));
        });
        assert!(askers.lock().is_empty());
    }

    #[test]
    fn what_is_not_found_is_waited_for_only_so_long() {
        let (askers, disks) = (Askers::default(), [disk(1), disk(2)]);
        let _hung = disks[0].1.0.0.lock().unwrap();
        let patience =
            Patience { until_found: Duration::from_millis(50), once_found: Duration::from_secs(60) };
        let answers = askers.ask(&disks, read, |_| false, patience);
        assert!(answers[0].is_err());
        // That one may be late, too, on a machine that is busy.
        assert!(answers[1].as_ref().is_ok_and(|number| *number == 2) || answers[1].is_err());
        assert_eq!(askers.ask(&[], read, |_| false, patience), []);
    }

    #[test]
    fn a_disk_of_which_reading_panics_is_asked_again() {
        let askers = Askers::default();
        let disks = [("disk".to_owned(), ())];
        let panics = |_: &()| -> u8 { panic!("a table that nobody foresaw") };
        for _ in 0..2 {
            let answers = askers.ask(&disks, panics, |_| false, SOON);
            assert!(answers[0].is_err() && askers.lock().is_empty());
        }
    }
}
