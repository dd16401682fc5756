//! Which wall time a camera's samples belong to: pure arithmetic, no clock is read here.
//!
//! A track's media clock (RTP timestamps) says how far apart two samples are, but not when they were. That is estimated:
//!
//! - **by arrival**: no sample arrives before it was taken, so the sample with the least delay in the last minute
//!   ([`window`]) gives the best anchor;
//! - **by sender reports** (RFC 3550, section 6.4.1), once they come, if the camera's clock is within 5 s of ours.
//!   Other reports are ignored and told, for an examiner needs to know how wrong the camera's own overlay is.
//!
//! Promises: within a run wall time grows with every tick, for an estimate is never jumped to but slewed to, by at most
//! 500 ppm (5,000 ppm in the first 20 s of a media clock that no report was followed for, when the estimate still settles);
//! by how much a followed camera leads arrival is carried over to its next session, for a minute; a step of the host's clock, a jump of the
//! media clock, or an estimate off by more than 5 s is reported, so that the caller begins a new run.
//!
//! | module | what |
//! |---|---|
//! | [`host`] | the recorder's own clock, followed while it behaves |
//! | [`window`] | the least delay of the last minute |
//! | [`track`] | one track's mapping from ticks to wall time |
//! | [`run`] | all tracks of a run, on one origin |
//!
//! Must not live here: samples, storage, RTP packets.

pub(crate) mod host;
pub(crate) mod run;
pub(crate) mod track;
pub(crate) mod window;

use keha_fs::WallTime;

/// An instant on both of the recorder's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Nanoseconds on a clock that only grows, from an arbitrary zero.
    pub(crate) mono_ns: i64,
    /// What the wall clock showed.
    pub(crate) wall: WallTime,
}

impl Moment {
    /// Nanoseconds from `earlier` to this moment.
    pub(crate) fn since_ns(self, earlier: Moment) -> i64 {
        self.mono_ns.saturating_sub(earlier.mono_ns)
    }
}

pub(crate) const NS_PER_MS: i64 = 1_000_000;
pub(crate) const NS_PER_S: i64 = 1_000_000_000;

/// Nanoseconds that `ticks` of a clock of `timescale` Hz take.
pub(crate) fn ticks_to_ns(ticks: i64, timescale: u32) -> i64 {
    clamped(i128::from(ticks) * i128::from(NS_PER_S) / i128::from(timescale.max(1)))
}

/// Ticks of a clock of `timescale` Hz in `ns` nanoseconds.
pub(crate) fn ns_to_ticks(ns: i64, timescale: u32) -> i64 {
    clamped(i128::from(ns) * i128::from(timescale) / i128::from(NS_PER_S))
}

fn clamped(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
