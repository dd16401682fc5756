//! How long footage stays: the quota, minimum and maximum age of each stream.
//!
//! | setting | what it does | decided in |
//! |---|---|---|
//! | quota | a stream that has more blocks gives its own lowest one to the ring | [`quota`], [`victim`] |
//! | minimum age | younger blocks are passed over while any other can be taken: a wish | [`age`], [`victim`] |
//! | maximum age | what is older is given to nobody, and overwritten in place | [`age`], [`erase`] |
//! | (erasing) | what was asked for is overwritten in place, but for what is held | [`erase`] |
//!
//! Invariants:
//! R1 which block of a stream is taken never depends on a clock: always its lowest by rank. Ages and quotas only choose between
//!    streams.
//! R2 no wall clock alone makes a block younger or older: see [`age`].
//! R3 recording never waits for any of it: where only young blocks are left, the lowest of them goes, and that is said.
//! R4 what is void was overwritten before anyone was told so, and its place in the chain says what was there.
//!
//! R5 what is held is neither hidden nor overwritten.
//!
//! Pure functions; the writer's part is `writer/retention.rs`, `writer/ledger` and `writer/erase`, the reader's `reader/past.rs`.

pub(crate) mod age;
pub(crate) mod erase;
pub(crate) mod quota;
pub(crate) mod victim;

use crate::format::Zero;
use crate::format::directory::RetentionRecord;
use crate::types::StreamName;

/// How long a stream's footage stays. 0 means none, everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// How much of the volume its blocks may take, in bytes; counted in whole blocks, rounded down. What is held does not count.
    pub quota_bytes: u64,
    /// Footage younger than this is overwritten last, in seconds.
    pub minimum_age_s: u64,
    /// Footage older than this is not given to anyone any more, and overwritten, in seconds.
    pub maximum_age_s: u64,
}

/// How long each stream's footage stays, on its way to the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRequest {
    /// Whose.
    pub stream: StreamName,
    /// How long.
    pub retention: Retention,
}

impl Retention {
    /// Why these cannot be for a volume with blocks of this size, if so.
    pub fn invalid(&self, block_bytes: u32) -> Option<String> {
        let least = u64::from(quota::BLOCKS_MIN) * u64::from(block_bytes);
        if self.quota_bytes > 0 && self.quota_bytes < least {
            return Some(format!(
                "a quota of {} bytes is less than {} blocks of this volume: give at least {least} bytes, or none",
                self.quota_bytes,
                quota::BLOCKS_MIN
            ));
        }
        if self.minimum_age_s.max(self.maximum_age_s) > AGE_MAX_S {
            return Some(format!("an age of more than {AGE_MAX_S} seconds is none"));
        }
        (self.maximum_age_s > 0 && self.minimum_age_s >= self.maximum_age_s)
            .then(|| "the minimum age must be less than the maximum age".to_owned())
    }

    /// As it stands in the directory.
    pub(crate) fn record(&self) -> RetentionRecord {
        let Retention { quota_bytes, minimum_age_s, maximum_age_s } = *self;
        RetentionRecord { quota_bytes, minimum_age_s, maximum_age_s, zero: Zero }
    }

    /// What stands in the directory.
    pub(crate) fn of(record: &RetentionRecord) -> Retention {
        let RetentionRecord { quota_bytes, minimum_age_s, maximum_age_s, zero: _ } = *record;
        Retention { quota_bytes, minimum_age_s, maximum_age_s }
    }
}

/// The greatest age, in seconds: two hundred years.
const AGE_MAX_S: u64 = 200 * 366 * 86_400;

/// What retention did since the volume was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Blocks that were taken although they were younger than their stream's minimum age: nothing else was left. An alarm.
    pub young_taken: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_kept_are_refused() {
        let of = |quota_bytes, minimum_age_s, maximum_age_s| {
            Retention { quota_bytes, minimum_age_s, maximum_age_s }.invalid(1 << 20)
        };
        for good in [(0, 0, 0), (3 << 20, 0, 0), (u64::MAX, 5, 6), (0, 7, 0), (0, 0, 1)] {
            assert_eq!(of(good.0, good.1, good.2), None, "{good:?}");
        }
        for bad in
            [((3 << 20) - 1, 0, 0), (1, 0, 0), (0, 6, 6), (0, 7, 6), (0, u64::MAX, 0), (0, 0, u64::MAX)]
        {
            assert!(of(bad.0, bad.1, bad.2).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let retention = Retention { quota_bytes: 1 << 40, minimum_age_s: 7, maximum_age_s: 9 };
        assert_eq!(Retention::of(&retention.record()), retention);
    }
}
