//! What the kernel knows of its own wall clock.

#![expect(unsafe_code, reason = "adjtimex has no safe wrapper")]

use super::ClockSync;
use nix::libc;
use std::time::Duration;

/// The kernel's bound for the error of a clock that nobody keeps grows by 500 ppm up to this (NTP_PHASE_LIMIT).
const ERROR_LIMIT: Duration = Duration::from_secs(16);

/// Asks the kernel (adjtimex(2)). The error bound tells more than the flag `STA_UNSYNC`, which some time daemons leave set on
/// purpose so that the kernel does not write the battery clock.
pub(super) fn sync() -> ClockSync {
    // SAFETY: timex is plain numbers, for which zero is a value; `modes` = 0 asks and changes nothing.
    let mut answer: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `answer` is a timex that lives during the call.
    let state = unsafe { libc::adjtimex(&mut answer) };
    if state < 0 {
        return ClockSync::Unknown;
    }
    match u64::try_from(answer.maxerror).map(Duration::from_micros) {
        Ok(error_max) if error_max < ERROR_LIMIT => ClockSync::Synchronised { error_max },
        _ => ClockSync::FreeRunning,
    }
}
