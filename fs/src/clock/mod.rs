//! Time as the ring sees it: a wall clock that may jump, and a monotonic one that only grows.
//!
//! Everything that needs the time gets a [`Clock`], so that simulations run years in minutes and wall clocks can
//! be set to 1970. What must not live here: calendars, time zones, media ticks.

mod kernel;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::types::WallTime;

/// How a wall clock is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockSync {
    /// It does not say.
    #[default]
    Unknown,
    /// By nothing: it runs as fast as its crystal does, from where somebody set it.
    FreeRunning,
    /// By a reference (NTP, PTP, a receiver).
    Synchronised {
        /// How far off it may be.
        error_max: Duration,
    },
}

/// Source of both times; shared between threads.
pub trait Clock: Send + Sync {
    /// What the calendar says, UTC. May jump either way at any moment.
    fn wall(&self) -> WallTime;

    /// Time since an arbitrary moment before the clock's first use. Never goes back.
    fn monotonic(&self) -> Duration;

    /// How the wall clock is kept.
    fn sync(&self) -> ClockSync;
}

impl<T: Clock + ?Sized> Clock for std::sync::Arc<T> {
    fn wall(&self) -> WallTime {
        (**self).wall()
    }

    fn monotonic(&self) -> Duration {
        (**self).monotonic()
    }

    fn sync(&self) -> ClockSync {
        (**self).sync()
    }
}

/// The machine's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Counts monotonic time from now on.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> WallTime {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => WallTime(0).plus(since),
            Err(before) => {
                i64::try_from(before.duration().as_nanos()).map_or(WallTime::MIN, |ns| WallTime(-ns))
            }
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sync(&self) -> ClockSync {
        kernel::sync()
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct SimClock {
    now: Mutex<SimNow>,
}

#[derive(Copy, Clone, Debug)]
struct SimNow {
    wall: WallTime,
    monotonic: Duration,
    sync: ClockSync,
}

impl SimClock {
    /// A clock that shows this wall time, and zero as monotonic time; how it is kept is not known.
    pub fn new(wall: WallTime) -> Self {
        Self { now: Mutex::new(SimNow { wall, monotonic: Duration::ZERO, sync: ClockSync::Unknown }) }
    }

    /// Both times go on by `by`.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        now.monotonic = now.monotonic.saturating_add(by);
        now.wall = now.wall.plus(by);
    }

    /// Sets the wall clock, forward or back; monotonic time does not notice.
    pub fn set_wall(&self, wall: WallTime) {
        self.lock().wall = wall;
    }

    /// Says how the wall clock is kept from now on.
    pub fn set_sync(&self, sync: ClockSync) {
        self.lock().sync = sync;
    }

    fn lock(&self) -> MutexGuard<'_, SimNow> {
        // Every change is a single assignment, so a poisoned state is still a good one.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn wall(&self) -> WallTime {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn sync(&self) -> ClockSync {
        self.lock().sync
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_wall_clock_leaves_monotonic_time_alone() {
        let clock = SimClock::new(WallTime(1_000));
        clock.advance(Duration::from_nanos(500));
        assert_eq!((clock.wall(), clock.monotonic()), (WallTime(1_500), Duration::from_nanos(500)));
        clock.set_wall(WallTime(-7));
        assert_eq!((clock.wall(), clock.monotonic()), (WallTime(-7), Duration::from_nanos(500)));
        clock.advance(Duration::MAX);
        assert_eq!((clock.wall(), clock.monotonic()), (WallTime(i64::MAX - 7), Duration::MAX));
    }

    #[test]
    fn the_systems_monotonic_time_does_not_go_back() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
        assert!(clock.wall() > WallTime(0));
        assert_ne!(clock.sync(), ClockSync::Unknown, "the kernel always answers");
    }
}
