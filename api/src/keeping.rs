//! What is kept in a file of the state directory ([`crate::state`]), and written on a thread of its own: its disk may not answer.
//!
//! ```text
//! written --change--> changed --soon, keep--> being written --+--> written: who waits is told so
//!    ^                                            ^           \--> failed: who waits is told why; asked for again it is tried again
//!    |                                            \--- asked for again meanwhile: once more, as it is by then
//! ```
//!
//! - What counts is in memory. Reading and changing it never waits for a disk.
//! - At most one thread writes the file, and ends when nobody asks for more. However many ask meanwhile, what waits is one state: the newest.
//! - Who is told that it is kept asked before that was begun to be written, or it stood there already. Nobody waits for longer than he says.
//!
//! What must not live here: what a file means, and what is to be done where it cannot be kept.

use crate::error::{Error, Result};
use crate::state::StateFile;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long whoever needs to know that something is kept waits for it: disks take up to ten seconds to spin up.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What is kept in a file.
pub struct Keeping<T>(Arc<Shared<T>>);

struct Shared<T> {
    file: StateFile,
    render: fn(&T) -> Vec<u8>,
    /// What it means that it is not kept, for the log.
    unkept: &'static str,
    state: Mutex<State<T>>,
    tried: Condvar,
}

struct State<T> {
    now: T,
    /// What stands in the file, if that is known.
    written: Option<T>,
    /// How often it was asked for to be written, and up to which of these it was tried.
    asked: u64,
    tried: u64,
    /// What went wrong the last time.
    failed: Option<String>,
    /// Since when the thread is at it, and whether the log has it that it takes long.
    writing: Option<(Instant, bool)>,
}

impl<T: Clone + PartialEq + Send + 'static> Keeping<T> {
    /// What stands in a file now, as it is written by `render`. `unkept` is what the log says where it cannot be.
    pub fn new(file: StateFile, now: T, render: fn(&T) -> Vec<u8>, unkept: &'static str) -> Keeping<T> {
        let written = Some(now.clone());
        let state = State { now, written, asked: 0, tried: 0, failed: None, writing: None };
        Keeping(Arc::new(Shared { file, render, unkept, state: Mutex::new(state), tried: Condvar::new() }))
    }

    /// What `look` sees of it.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.0.lock().now)
    }

    /// Changes it, from now on until the server ends. Waits for no disk, and has nothing written.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.0.lock().now)
    }

    /// Has what changed written. Waits for no disk.
    pub fn soon(&self) {
        let mut state = self.0.lock();
        if !state.is_kept() {
            self.ask(&mut state);
        }
    }

    /// Has what changed written, and waits for that: when this returns it survives any crash.
    ///
    /// # Errors
    /// [`Error::Unkept`] where it is not so by then: the disk refuses it, or does not answer.
    pub fn keep(&self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        let mut state = self.0.lock();
        if state.is_kept() {
            return Ok(());
        }
        self.ask(&mut state);
        let mine = state.asked;
        loop {
            if state.tried >= mine {
                return state.failed.clone().map_or(Ok(()), |why| Err(self.unkept(why)));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("its disk does not answer for {} s", patience.as_secs());
                return Err(self.unkept(why));
            }
            state = self.0.tried.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn unkept(&self, why: String) -> Error {
        Error::Unkept { path: self.0.file.path().to_owned(), why }
    }

    fn ask(&self, state: &mut State<T>) {
        state.asked += 1;
        let path = self.0.file.path().display();
        if let Some((since, is_told)) = &mut state.writing {
            if since.elapsed() >= PATIENCE && !std::mem::replace(is_told, true) {
                tracing::error!(%path, "the disk of the state directory does not answer: {}", self.0.unkept);
            }
            return;
        }
        let shared = Arc::clone(&self.0);
        match std::thread::Builder::new().name("state".to_owned()).spawn(move || shared.write()) {
            Ok(_) => state.writing = Some((Instant::now(), false)),
            Err(error) => {
                tracing::error!(%path, %error, "cannot start a thread: {}", self.0.unkept);
                (state.tried, state.failed) =
                    (state.asked, Some(format!("no thread can be started: {error}")));
            }
        }
    }
}

impl<T: PartialEq> State<T> {
    /// Whether all stands in the file. What is just being written may be something else.
    fn is_kept(&self) -> bool {
        self.writing.is_none() && self.written.as_ref() == Some(&self.now)
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Shared<T> {
    /// Writes the file until nobody asks for more.
    fn write(&self) {
        let mut state = self.lock();
        while state.tried < state.asked {
            let (asked, now) = (state.asked, state.now.clone());
            state.writing = Some((Instant::now(), false));
            drop(state);
            let bytes = (self.render)(&now);
            let done = self.file.change(|_| Ok((bytes, ())));
            state = self.lock();
            state.tried = asked;
            // What the file has after an error is not known.
            (state.written, state.failed) = match done {
                Ok(()) => (Some(now), None),
                Err(error) => {
                    tracing::error!(%error, "{}", self.unkept);
                    (None, Some(error.to_string()))
                }
            };
            self.tried.notify_all();
        }
        state.writing = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    /// How often `counted` was rendered.
    static RENDERED: AtomicUsize = AtomicUsize::new(0);

    fn plain() -> (tempfile::TempDir, Keeping<String>) {
        keeping(|text| text.clone().into_bytes())
    }

    fn counted() -> (tempfile::TempDir, Keeping<String>) {
        keeping(|text| {
            RENDERED.fetch_add(1, Ordering::SeqCst);
            text.clone().into_bytes()
        })
    }

    fn keeping(render: fn(&String) -> Vec<u8>) -> (tempfile::TempDir, Keeping<String>) {
        let directory = tempfile::tempdir().expect("a directory");
        let file = StateFile::new(directory.path(), "x.json");
        (directory, Keeping::new(file, String::new(), render, "it is lost"))
    }

    fn file(directory: &tempfile::TempDir) -> String {
        std::fs::read_to_string(directory.path().join("x.json")).unwrap_or_default()
    }

    /// A disk that does not answer, until this is dropped.
    fn hang(directory: &tempfile::TempDir) -> File {
        let lock = directory.path().join("x.json.lock");
        let held = OpenOptions::new().create(true).truncate(false).write(true).open(lock).expect("a file");
        held.lock().expect("it is free");
        held
    }

    #[test]
    fn what_is_kept_stands_in_the_file_and_nothing_is_written_twice() {
        let (directory, keeping) = plain();
        keeping.change(|text| text.push('a'));
        assert_eq!(file(&directory), "", "nobody asked for it");
        keeping.keep(LONG).expect("kept");
        assert_eq!((file(&directory).as_str(), keeping.look(Clone::clone)), ("a", "a".to_owned()));
        std::fs::write(directory.path().join("x.json"), "b").expect("written");
        keeping.keep(LONG).expect("kept");
        assert_eq!(file(&directory), "b", "nothing changed");
    }

    /// Requests waited for ever, each with a thread, and behind each other.
    #[test]
    fn a_disk_that_hangs_is_waited_for_only_so_long_by_one_thread_and_has_the_newest_in_the_end() {
        let (directory, keeping) = counted();
        let hung = hang(&directory);
        for round in 0..20 {
            keeping.change(|text| *text = round.to_string());
            let error = keeping.keep(SHORT).expect_err("it hangs").to_string();
            assert!(error.contains("x.json") && error.contains("does not answer"), "{error}");
            keeping.soon();
            assert_eq!(keeping.look(Clone::clone), round.to_string(), "nobody waits to see it");
        }
        assert_eq!(RENDERED.load(Ordering::SeqCst), 1, "one writes, whoever asks");
        // What the file has by now is not what is being written.
        keeping.change(|text| text.clear());
        assert!(keeping.keep(SHORT).is_err(), "it is as the file was, which it will not be");
        drop(hung);
        keeping.keep(LONG).expect("it answers again");
        assert_eq!(file(&directory), "");
        keeping.change(|text| text.push('z'));
        keeping.keep(LONG).expect("kept");
        assert_eq!(file(&directory), "z");
        assert!(RENDERED.load(Ordering::SeqCst) <= 4, "what nobody wants any more is not written");
    }

    #[test]
    fn what_the_disk_refuses_is_told_and_tried_again() {
        let (directory, keeping) = plain();
        let temporary = directory.path().join("x.json.new");
        std::fs::create_dir(&temporary).expect("made");
        keeping.change(|text| text.push('a'));
        let error = keeping.keep(LONG).expect_err("that is a directory").to_string();
        assert!(error.contains("x.json"), "{error}");
        std::fs::remove_dir(&temporary).expect("removed");
        keeping.keep(LONG).expect("kept");
        assert_eq!(file(&directory), "a");
    }
}
