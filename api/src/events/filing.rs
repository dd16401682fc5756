//! Writing events down, on a thread of its own: the disk of the state directory may not answer, and who notes an event judges volumes by the
//! second.
//!
//! What waits to be written is bounded. What finds no room is told and followed as ever, and lost to who starts the server again: it is
//! counted, and the log says so.

use super::event::Event;
use super::file::EventFile;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many events may wait to be written.
const WAITING_MAX: usize = 4096;
/// How long whoever ends waits for what is being written.
const LAST: Duration = Duration::from_secs(1);

/// The way to the file.
pub(super) struct Filing {
    waiting: Option<SyncSender<Arc<Event>>>,
    /// Ends when the thread does.
    ended: Mutex<Receiver<()>>,
    /// How many wait, or are being written.
    left: Arc<AtomicU64>,
    unwritten: AtomicU64,
}

impl Filing {
    /// Begins to write.
    pub(super) fn start(file: EventFile) -> std::io::Result<Filing> {
        Filing::through(file, EventFile::append)
    }

    /// The same, where `write` does it to `file`.
    fn through<F: Send + 'static>(
        mut file: F,
        write: impl Fn(&mut F, &Event) + Send + 'static,
    ) -> std::io::Result<Filing> {
        let (waiting, events) = sync_channel::<Arc<Event>>(WAITING_MAX);
        let (ends, ended): (Sender<()>, _) = channel();
        let left = Arc::new(AtomicU64::new(0));
        let writing = Arc::clone(&left);
        std::thread::Builder::new().name("events".into()).spawn(move || {
            let _ends = ends;
            for event in events {
                write(&mut file, &event);
                writing.fetch_sub(1, Ordering::Relaxed);
            }
        })?;
        let (waiting, ended) = (Some(waiting), Mutex::new(ended));
        Ok(Filing { waiting, ended, left, unwritten: AtomicU64::new(0) })
    }

    /// Has an event written. Waits for nobody.
    pub(super) fn file(&self, event: Arc<Event>) {
        let Some(waiting) = &self.waiting else { return };
        self.left.fetch_add(1, Ordering::Relaxed);
        match waiting.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.left.fetch_sub(1, Ordering::Relaxed);
                let before = self.unwritten.fetch_add(1, Ordering::Relaxed);
                if before.is_multiple_of(WAITING_MAX as u64) {
                    tracing::error!(
                        unwritten = before + 1,
                        "events are not written: the disk of the state directory does not answer"
                    );
                }
            }
        }
    }

    /// Waits until all is written.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        while self.left.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
    }

    /// How many events found no room.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }
}

impl Drop for Filing {
    fn drop(&mut self) {
        self.waiting = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: this is that its sender is gone, or time is over.
        let _ = ended.recv_timeout(LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{EventId, EventKind};
    use super::*;

    fn event(number: u64) -> Arc<Event> {
        let (kind, text) = (EventKind::Disk, String::new());
        let at = jiff::Timestamp::UNIX_EPOCH;
        Arc::new(Event { id: EventId(number), at, kind, camera: None, user: None, text })
    }

    /// The loop that judges volumes wrote events itself: a state directory on the disk that hung kept cameras from going over.
    #[test]
    fn a_disk_that_does_not_answer_holds_nobody_up_and_what_it_does_not_take_is_counted() {
        let (taken, takes) = channel();
        let (answers, disk) = channel::<()>();
        let filing = Filing::through(taken, move |taken: &mut Sender<u64>, event| {
            // Waits until the disk answers, for each event.
            let _ = disk.recv();
            let _ = taken.send(event.id.0);
        })
        .expect("a thread");
        let noted = WAITING_MAX as u64 + 100;
        (0..noted).for_each(|number| filing.file(event(number)));
        // The thread may have one in its hands.
        let unwritten = filing.unwritten();
        assert!((99..=100).contains(&unwritten), "{unwritten}");
        (0..noted).for_each(|_| answers.send(()).expect("it is being written"));
        drop(filing);
        let written: Vec<u64> = takes.into_iter().collect();
        assert_eq!(written, (0..noted - unwritten).collect::<Vec<_>>(), "in their order");
    }
}
