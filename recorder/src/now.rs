//! The clocks at the recorder's edge: the only place that asks what time it is.

use crate::clock::Moment;
use keha_fs::WallTime;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks of the host, the steady one from a common zero.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    zero: Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { zero: Instant::now() }
    }

    /// This moment.
    pub(crate) fn now(&self) -> Moment {
        self.moment(Instant::now(), SystemTime::now())
    }

    /// Time since this clock was made.
    pub(crate) fn elapsed(&self) -> Duration {
        self.zero.elapsed()
    }

    /// The moment at which the host's clocks showed these.
    pub(crate) fn moment(&self, steady: Instant, wall: SystemTime) -> Moment {
        let mono_ns =
            i64::try_from(steady.saturating_duration_since(self.zero).as_nanos()).unwrap_or(i64::MAX);
        let wall_ns = match wall.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
        };
        Moment { mono_ns, wall: WallTime(wall_ns) }
    }
}
