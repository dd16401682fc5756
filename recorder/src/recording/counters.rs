//! What was recorded, and what was left out.

use crate::status::Drops;

/// What was recorded since the recorder started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    pub(crate) video_samples: u64,
    pub(crate) dropped_samples: u64,
    pub(crate) dropped_bytes: u64,
    /// The same by reason.
    pub(crate) drops: [Drops; 3],
}

impl Default for Counters {
    fn default() -> Counters {
        let drops = Drops::none();
        Counters { samples: 0, bytes: 0, video_samples: 0, dropped_samples: 0, dropped_bytes: 0, drops }
    }
}
