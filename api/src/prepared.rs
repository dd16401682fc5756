//! Files of footage that were prepared, and how much memory they take: a bounded number of bytes over all downloads.
//!
//! A file is prepared whole before its first byte is given, and kept until its last was: of MP4 that is some 8 bytes a sample, which for a
//! day of one camera is tens of megabytes. While a file is laid out it takes a few times as much, so few are at once.
//!
//! A player that seeks, and a download that goes on, ask for the same file over and over. So what was prepared is kept for the next who
//! asks for it, too:
//!
//! ```text
//! asked --(nobody prepares it)--> being prepared --> kept, in use <--(asked for again)--> kept, unused --> gone
//!   |                               |  \-----------(fails)--> the next who waits for it tries        ^  after FOR, or as others
//!   \--(it is being prepared)--> waits for it                                                       |  need the room: oldest first
//!                                          made anew <--(its footage does not stand any more)------/
//! ```
//!
//! - It is given again only where it would be prepared the same again: to the same request, of the same volumes, whose footage stands as
//!   it stood then ([`Standing`]). What has no standing (an open range, footage of which something was erased) is prepared for each.
//! - What turned out not to be what the disk has is not given again, whatever the table says.
//! - Room that is needed is taken from what nobody uses, and from nothing else.
//! - Whoever prepares stops when nobody waits for it any more.

use crate::problem::Problem;
use axum::http::StatusCode;
use keha_fs::VolumeId;
use keha_player::footage::{FootageRequest, Prepared, Standing};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The most bytes of memory that prepared files take.
const MEMORY_MAX: u64 = 256 << 20;
/// How many are laid out at a time.
const AT_ONCE_MAX: usize = 4;
/// How long is waited for that.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How many are kept, and how long after they were asked for last.
const KEPT_MAX: usize = 64;
const FOR: Duration = Duration::from_secs(300);
/// How often whoever waits looks whether somebody still waits for him.
const LOOK: Duration = Duration::from_millis(100);

/// What prepared files take, and those that are kept.
pub(crate) struct Desk {
    memory_max: u64,
    taken: Arc<AtomicU64>,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    making: Vec<Making>,
    kept: Vec<Laid>,
    /// Whether somebody sees to what is kept for too long.
    is_swept: bool,
}

/// What is asked for, and what it would be prepared from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// The volumes, in the order of their identities.
    pub(crate) volumes: Vec<VolumeId>,
    pub(crate) request: FootageRequest,
    /// How the footage stands in each of them.
    pub(crate) standing: Option<Vec<Standing>>,
}

/// A file that is being prepared.
struct Making {
    asked: Asked,
    /// How many wait for it beside the one who prepares it.
    waiting: Arc<AtomicUsize>,
}

/// A file that is kept.
struct Laid {
    asked: Asked,
    file: Arc<Kept>,
    used: Instant,
}

/// A prepared file; what it takes is given back when the last who has it drops it.
pub(crate) struct Kept {
    prepared: Prepared,
    is_spoilt: AtomicBool,
    _taken: Taken,
}

impl Deref for Kept {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        &self.prepared
    }
}

impl Kept {
    /// It is not what the disk has: the next who asks has it prepared anew.
    pub(crate) fn spoil(&self) {
        self.is_spoilt.store(true, Ordering::SeqCst);
    }
}

/// Room that is taken; given back when dropped.
pub(crate) struct Taken(Arc<AtomicU64>, u64);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::SeqCst);
    }
}

impl Asked {
    /// Whether what is made for the one can be given to the other.
    fn is_same(&self, other: &Asked) -> bool {
        self.standing.is_some() && self == other
    }
}

impl Default for Desk {
    fn default() -> Desk {
        Desk { memory_max: MEMORY_MAX, taken: Arc::default(), state: Mutex::default(), ended: Condvar::new() }
    }
}

/// What whoever asks has to do.
enum Turn<'a> {
    Given(Arc<Kept>),
    Prepares(Preparing<'a>),
}

/// Leave to prepare a file; given back when dropped.
struct Preparing<'a> {
    desk: &'a Desk,
    waiting: Arc<AtomicUsize>,
}

impl Drop for Preparing<'_> {
    fn drop(&mut self) {
        self.desk.state().making.retain(|making| !Arc::ptr_eq(&making.waiting, &self.waiting));
        self.desk.ended.notify_all();
    }
}

/// Somebody waits for a file that another one prepares.
struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn for_same(before: Option<Waits>, waiting: &Arc<AtomicUsize>) -> Waits {
        before.filter(|before| Arc::ptr_eq(&before.0, waiting)).unwrap_or_else(|| {
            waiting.fetch_add(1, Ordering::SeqCst);
            Waits(Arc::clone(waiting))
        })
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Desk {
    /// A file that is kept, or that another one is preparing; else it is prepared, if there is room for it. Blocks, for as long as it
    /// is wanted; `prepare` is told whether it still is, by this one or by others who wait for it.
    ///
    /// # Errors
    /// Those of `prepare`; 503 where others take the room, 422 where it alone is too large.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        asked: Asked,
        is_wanted: &dyn Fn() -> bool,
        prepare: impl FnOnce(&dyn Fn() -> bool) -> keha_player::Result<Prepared>,
    ) -> Result<Arc<Kept>, Problem> {
        let preparing = match self.turn(&asked, is_wanted)? {
            Turn::Given(file) => return Ok(file),
            Turn::Prepares(preparing) => preparing,
        };
        let prepared = prepare(&|| is_wanted() || preparing.waiting.load(Ordering::SeqCst) > 0)?;
        let standing = asked.standing.iter().flatten().map(Standing::memory_bytes).sum();
        let taken = self.take(prepared.memory_bytes().saturating_add(standing))?;
        let file = Arc::new(Kept { prepared, is_spoilt: AtomicBool::new(false), _taken: taken });
        if asked.standing.is_some() {
            self.keep(asked, Arc::clone(&file), Instant::now());
        }
        drop(preparing);
        Ok(file)
    }

    /// Waits for a file that another one prepares, or for a place to prepare it.
    fn turn(&self, asked: &Asked, is_wanted: &dyn Fn() -> bool) -> Result<Turn<'_>, Problem> {
        let until = Instant::now() + WAIT_MAX;
        let mut waits: Option<Waits> = None;
        let mut state = self.state();
        loop {
            let now = Instant::now();
            state.forget(now);
            if let Some(laid) = state.kept.iter_mut().find(|laid| laid.asked.is_same(asked)) {
                laid.used = now;
                return Ok(Turn::Given(Arc::clone(&laid.file)));
            }
            let same = state.making.iter().find(|making| making.asked.is_same(asked));
            if same.is_none() && state.making.len() < AT_ONCE_MAX {
                let waiting = Arc::<AtomicUsize>::default();
                state.making.push(Making { asked: asked.clone(), waiting: Arc::clone(&waiting) });
                return Ok(Turn::Prepares(Preparing { desk: self, waiting }));
            }
            if same.is_none() && now >= until {
                return Err(busy("too many files are being prepared at a time"));
            }
            if !is_wanted() {
                return Err(keha_player::Error::Cancelled.into());
            }
            // It is waited for without a break for as long as the same one prepares it.
            waits = same.map(|making| Waits::for_same(waits.take(), &making.waiting));
            state = self.ended.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Keeps a file for the next who asks, in the place of what was kept for the same request before.
    fn keep(self: &Arc<Self>, asked: Asked, file: Arc<Kept>, now: Instant) {
        let mut state = self.state();
        let replaces =
            |laid: &Laid| (&laid.asked.volumes, &laid.asked.request) == (&asked.volumes, &asked.request);
        state.kept.retain(|laid| !replaces(laid));
        if state.kept.len() >= KEPT_MAX && !state.evict() {
            return;
        }
        state.kept.push(Laid { asked, file, used: now });
        let is_swept = std::mem::replace(&mut state.is_swept, true);
        drop(state);
        if !is_swept {
            self.sweep();
        }
    }

    /// Has what is kept for too long forgotten, until nothing is kept.
    fn sweep(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else {
            self.state().is_swept = false;
            return;
        };
        let desk = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(FOR / 4).await;
                let Some(desk) = Weak::upgrade(&desk) else { return };
                let mut state = desk.state();
                state.forget(Instant::now());
                if state.kept.is_empty() {
                    state.is_swept = false;
                    return;
                }
            }
        });
    }

    /// Takes room, if need be from files that are kept and not used.
    fn take(&self, bytes: u64) -> Result<Taken, Problem> {
        if bytes > self.memory_max {
            let why =
                "the file has more samples than this server prepares: ask for a shorter range, or for fmp4";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        let mut state = self.state();
        // Room is taken under the lock alone; that it is given back meanwhile does no harm.
        while self.taken.load(Ordering::SeqCst).saturating_add(bytes) > self.memory_max {
            if !state.evict() {
                return Err(busy("downloads take all the memory that they may"));
            }
        }
        self.taken.fetch_add(bytes, Ordering::SeqCst);
        Ok(Taken(Arc::clone(&self.taken), bytes))
    }

    /// How many bytes of memory files take that are kept, or in use.
    pub(crate) fn bytes(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Takes all the room there is.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> Taken {
        self.take(self.memory_max).expect("nobody uses anything")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what nobody asked for in a while, and what is not what the disk has.
    fn forget(&mut self, now: Instant) {
        let is_spoilt = |laid: &Laid| laid.file.is_spoilt.load(Ordering::SeqCst);
        self.kept.retain(|laid| !is_spoilt(laid) && now.saturating_duration_since(laid.used) < FOR);
    }

    /// Forgets the file that was asked for longest ago of those that nobody uses. Whether there was one.
    fn evict(&mut self) -> bool {
        let unused = self.kept.iter().enumerate().filter(|(_, laid)| Arc::strong_count(&laid.file) == 1);
        let oldest = unused.min_by_key(|(_, laid)| laid.used).map(|(place, _)| place);
        oldest.map(|place| drop(self.kept.swap_remove(place))).is_some()
    }
}

fn busy(why: &str) -> Problem {
    Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(10))
}

#[cfg(test)]
#[path = "prepared_tests.rs"]
mod tests;
