//! Disks asked all at once, each on a thread of its own: one that does not answer keeps nobody from what stands on another one.
//!
//! | answers | outcome |
//! |---|---|
//! | all, in time | all are given |
//! | what is looked for is found | the others are waited for a moment longer: one that is a clone is to be noticed |
//! | it is not found | the others are waited for as long as a disk takes to spin up |
//! | one does not answer | it is told, with since when; it is asked again once those who wait for it have their answer, and by none before |
//! | somebody else asks within a moment of that | it is asked for him, too: both are answered |
//! | later, while it may be spinning up | he waits for the answer that is awaited already, for as long as whoever asked first does, and no longer |
//! | later still | he is told at once that it does not answer |
//!
//! So a disk that hangs costs one thread, and whoever opens something waits for it once; one that is slow is waited for by all.
//! What must not live here: what is read.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
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
pub(super) struct Askers<T>(Arc<Mutex<BTreeMap<Waiting, Awaited<T>>>>);

/// A disk, and how many waited for one before.
type Waiting = (String, u64);

/// An answer that is awaited.
struct Awaited<T> {
    since: Instant,
    /// Others who wait for it, each with the place that the disk has for him.
    others: Vec<(usize, Sender<(usize, T)>)>,
}

/// A disk that is waited for, until this is dropped.
struct Waits<T> {
    askers: Askers<T>,
    waiting: Waiting,
}

impl<T> Waits<T> {
    /// Waits no longer; who else wants the answer.
    fn end(&self) -> Vec<(usize, Sender<(usize, T)>)> {
        self.askers.lock().remove(&self.waiting).map(|awaited| awaited.others).unwrap_or_default()
    }
}

impl<T> Drop for Waits<T> {
    fn drop(&mut self) {
        // Those who still wait are told that nothing comes.
        drop(self.end());
    }
}

/// How somebody comes by the answer of a disk.
enum Turn<T> {
    /// He asks it.
    Asks(Waits<T>),
    /// Who asked at this moment lets him have it.
    Shares(Instant),
    /// It does not answer since then.
    Silent(Instant),
}

impl<T> Default for Askers<T> {
    fn default() -> Askers<T> {
        Askers(Arc::default())
    }
}

impl<T> Clone for Askers<T> {
    fn clone(&self) -> Askers<T> {
        Askers(Arc::clone(&self.0))
    }
}

impl<T> Askers<T> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Waiting, Awaited<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait for a disk.
    fn wait(
        &self,
        disk: &str,
        patience: Patience,
        share: impl FnOnce() -> (usize, Sender<(usize, T)>),
    ) -> Turn<T> {
        let mut all = self.lock();
        let mine = all.iter_mut().filter(|((of, _), _)| of == disk);
        if let Some((_, first)) = mine.min_by_key(|(_, awaited)| awaited.since) {
            let (since, waited) = (first.since, first.since.elapsed());
            if waited >= patience.until_found {
                return Turn::Silent(since);
            }
            if waited >= patience.once_found {
                first.others.push(share());
                return Turn::Shares(since);
            }
        }
        let last = all.keys().filter(|(of, _)| of == disk).map(|(_, number)| *number).max();
        let waiting = (disk.to_owned(), last.map_or(0, |last| last.wrapping_add(1)));
        all.insert(waiting.clone(), Awaited { since: Instant::now(), others: Vec::new() });
        Turn::Asks(Waits { askers: self.clone(), waiting })
    }
}

impl<T: Clone + Send + 'static> Askers<T> {
    /// Asks disks, each with what it is told apart by. The answers are in their order; in words why there is none.
    pub(super) fn ask<D: Clone + Send + 'static>(
        &self,
        disks: &[(String, D)],
        read: fn(&D) -> T,
        is_found: impl Fn(&T) -> bool,
        patience: Patience,
    ) -> Vec<Result<T, String>> {
        let (give, given) = channel();
        let mut answers: Vec<Answer<T>> = Vec::with_capacity(disks.len());
        for (place, (id, disk)) in disks.iter().enumerate() {
            answers.push(match self.wait(id, patience, || (place, give.clone())) {
                Turn::Asks(waits) => begin(waits, disk.clone(), read, (place, give.clone())),
                Turn::Shares(since) => Answer::Awaited(since),
                Turn::Silent(since) => Answer::Had(Err(silent(since))),
            });
        }
        drop(give);
        let mut found = None;
        while let Some(until) = until(&answers, patience, found) {
            match given.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((place, answer)) => {
                    if found.is_none() && is_found(&answer) {
                        found = Some(Instant::now());
                    }
                    if let Some(mine) = answers.get_mut(place) {
                        *mine = Answer::Had(Ok(answer));
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let told = |answer| match answer {
            Answer::Had(answer) => answer,
            Answer::Awaited(since) => Err(silent(since)),
        };
        answers.into_iter().map(told).collect()
    }
}

/// What a disk answered, or since when that is awaited.
enum Answer<T> {
    Had(Result<T, String>),
    Awaited(Instant),
}

/// Until when is waited; `None` where all have answered.
fn until<T>(answers: &[Answer<T>], patience: Patience, found: Option<Instant>) -> Option<Instant> {
    let since = answers.iter().filter_map(|answer| match answer {
        Answer::Awaited(since) => Some(*since),
        Answer::Had(_) => None,
    });
    let until = since.max()? + patience.until_found;
    Some(found.map_or(until, |found| until.min(found + patience.once_found)))
}

fn silent(since: Instant) -> String {
    format!("it does not answer for {} s", since.elapsed().as_secs())
}

/// Asks a disk on a thread of its own.
fn begin<D: Send + 'static, T: Clone + Send + 'static>(
    waits: Waits<T>,
    disk: D,
    read: fn(&D) -> T,
    (place, give): (usize, Sender<(usize, T)>),
) -> Answer<T> {
    let since = Instant::now();
    let asks = move || {
        let answer = read(&disk);
        // Whoever asked may not wait any more.
        for (place, give) in waits.end() {
            let _gone = give.send((place, answer.clone()));
        }
        drop(waits);
        let _gone = give.send((place, answer));
    };
    match thread::Builder::new().name("keha-disk".to_owned()).spawn(asks) {
        Ok(_) => Answer::Awaited(since),
        Err(error) => Answer::Had(Err(format!("no thread can be started to ask it: {error}"))),
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

    /// It was taken for one that hangs, and its volume was not there until it was tried again.
    #[test]
    fn who_comes_while_a_disk_spins_up_has_the_answer_that_is_awaited_already() {
        let (askers, disks) = (Askers::default(), [disk(1)]);
        let patience = Patience { until_found: Duration::from_secs(60), once_found: Duration::ZERO };
        let slow = disks[0].1.0.0.lock().unwrap();
        let ask =
            || askers.ask(&disks, read, |_| true, Patience { once_found: SOON.until_found, ..patience });
        thread::scope(|scope| {
            let first = scope.spawn(ask);
            while disks[0].1.0.1.load(Ordering::SeqCst) < 1 {
                thread::yield_now();
            }
            let others = [(); 3].map(|()| scope.spawn(|| askers.ask(&disks, read, |_| false, patience)));
            let waiting = || askers.lock().values().map(|awaited| awaited.others.len()).sum::<usize>();
            while waiting() < 3 {
                assert!(others.iter().all(|asked| !asked.is_finished()), "it was not waited for");
                thread::yield_now();
            }
            drop(slow);
            others.into_iter().for_each(|asked| assert_eq!(asked.join().unwrap(), [Ok(1)]));
            assert_eq!(first.join().unwrap(), [Ok(1)]);
        });
        assert_eq!(disks[0].1.0.1.load(Ordering::SeqCst), 1, "one thread asked");
        assert!(askers.lock().is_empty());
    }

    #[test]
    fn whoever_comes_waits_for_a_disk_no_longer_than_who_came_first_and_later_not_at_all() {
        let (askers, disks) = (Askers::default(), [disk(1)]);
        let _hung = disks[0].1.0.0.lock().unwrap();
        let patience = Patience { until_found: Duration::from_secs(2), once_found: Duration::ZERO };
        let began = Instant::now();
        let first = || askers.ask(&disks, read, |_| false, patience);
        thread::scope(|scope| {
            let first = scope.spawn(first);
            while disks[0].1.0.1.load(Ordering::SeqCst) < 1 {
                thread::yield_now();
            }
            thread::sleep(Duration::from_secs(1));
            let second = askers.ask(&disks, read, |_| false, patience);
            assert!(
                second[0].is_err() && began.elapsed() < Duration::from_millis(2900),
                "{:?}",
                began.elapsed()
            );
            assert!(first.join().unwrap()[0].is_err());
        });
        let long = Patience { once_found: Duration::from_secs(60), ..patience };
        let third = askers.ask(&disks, read, |_| false, long);
        assert!(third[0].as_ref().is_err_and(|why| why.contains("does not answer")), "{third:?}");
        assert_eq!(disks[0].1.0.1.load(Ordering::SeqCst), 1, "nobody asks it again");
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
        let askers: Askers<u8> = Askers::default();
        let disks = [("disk".to_owned(), ())];
        let panics = |_: &()| -> u8 { panic!("a table that nobody foresaw") };
        for _ in 0..2 {
            let answers = askers.ask(&disks, panics, |_| false, SOON);
            assert!(answers[0].is_err() && askers.lock().is_empty());
        }
    }
}
