//! Where an answer of the thread goes. Whoever asks waits only so long; what was done for one who does not wait any more can be taken
//! back, and what was not begun for him by then is not.
//!
//! An answer is taken, or nobody waits: both ends agree on which. One that is given in the moment in which whoever asks gives up is
//! taken.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The end of the thread.
pub(in crate::writer) struct Answer<T> {
    sender: SyncSender<T>,
    waits: Waits,
}

/// The end of whoever asks.
pub(in crate::writer) struct Answered<T> {
    receiver: Receiver<T>,
    waits: Waits,
}

/// Whether somebody waits still.
#[derive(Clone)]
struct Waits(Arc<Mutex<bool>>);

impl Waits {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends.
pub(in crate::writer) fn answer<T>() -> (Answer<T>, Answered<T>) {
    let (sender, receiver) = sync_channel(1);
    let waits = Waits(Arc::new(Mutex::new(true)));
    (Answer { sender, waits: waits.clone() }, Answered { receiver, waits })
}

impl<T> Answer<T> {
    /// Whether somebody waits for it.
    pub(super) fn is_awaited(&self) -> bool {
        *self.waits.lock()
    }

    /// Gives it. Waits for nobody.
    ///
    /// # Errors
    /// The answer, where nobody waits for it any more.
    pub(super) fn send(&self, answer: T) -> Result<(), T> {
        let waits = self.waits.lock();
        if !*waits {
            return Err(answer);
        }
        self.sender.try_send(answer).map_err(|error| match error {
            TrySendError::Full(answer) | TrySendError::Disconnected(answer) => answer,
        })
    }
}

impl<T> Answered<T> {
    /// Waits for it, and after so long no more.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub(super) fn within(self, patience: Duration) -> Result<T, RecvTimeoutError> {
        match self.receiver.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => {
                let mut waits = self.waits.lock();
                let given = self.receiver.try_recv();
                *waits = given.is_ok();
                given.map_err(|_| RecvTimeoutError::Timeout)
            }
            answered => answered,
        }
    }

    /// What was answered by now.
    #[cfg(test)]
    pub(super) fn now(&self) -> Result<T, std::sync::mpsc::TryRecvError> {
        self.receiver.try_recv()
    }
}

impl<T> Drop for Answered<T> {
    fn drop(&mut self) {
        // What was given by then was taken, or nobody wants it.
        *self.waits.lock() = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_up_and_who_answers_agree_on_which_came_first() {
        let (given, asked) = answer::<u8>();
        assert!(given.is_awaited() && given.send(7).is_ok());
        assert_eq!(asked.within(Duration::ZERO), Ok(7));
        let (given, asked) = answer::<u8>();
        assert_eq!(asked.within(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert!(!given.is_awaited());
        assert_eq!(given.send(7), Err(7));
        let (given, asked) = answer::<u8>();
        drop(given);
        assert_eq!(asked.within(Duration::from_secs(60)), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn however_both_meet_an_answer_is_taken_or_given_back() {
        for turn in 0..2000 {
            let (given, asked) = answer::<u8>();
            let asks = std::thread::spawn(move || asked.within(Duration::from_micros(turn % 50)).is_ok());
            let taken = given.send(7).is_ok();
            assert_eq!(asks.join().expect("no panic"), taken);
        }
    }
}
