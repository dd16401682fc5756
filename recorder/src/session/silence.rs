//! Finds out a camera that is connected but sends nothing, or nothing of use. Pure.
//!
//! Only RTP counts, and of a camera with video only the video: control traffic and sound go on while an encoder hangs.

use super::error::SessionError;
use crate::clock::{Moment, NS_PER_MS, NS_PER_S};
use keha_fs::GapReason;

/// Without a packet for this long the camera is silent. With what it takes to notice, that is within 10 s.
const SILENT_NS: i64 = 9_500 * NS_PER_MS;
/// Packets come, but for this long no whole sample: what comes is not understood.
const USELESS_NS: i64 = 30 * NS_PER_S;
/// As much of the time that opening took counts as silence: a camera that answers slowly is not one that sends nothing.
const OPENING_NS_MAX: i64 = 4 * NS_PER_S;

/// Since when something was to come, in a session that was asked for at `began` and plays since `opened`.
pub(crate) fn counted_from(began: Moment, opened: Moment) -> Moment {
    if opened.since_ns(began) <= OPENING_NS_MAX {
        return began;
    }
    Moment { mono_ns: opened.mono_ns.saturating_sub(OPENING_NS_MAX), ..opened }
}

/// What has come so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// Since when something was to come.
    pub(crate) counted_from: Moment,
    /// When the last packet came.
    pub(crate) last_packet: Option<Moment>,
    /// When the last sample came.
    pub(crate) last_sample: Option<Moment>,
}

impl Watch {
    /// Why the session should be given up now, if it should.
    pub(crate) fn verdict(&self, now: Moment) -> Option<SessionError> {
        let since = |last: Option<Moment>| now.since_ns(last.unwrap_or(self.counted_from));
        if since(self.last_packet) >= SILENT_NS {
            let detail = match self.last_packet {
                Some(_) => "connected, but nothing came for 10 s",
                None => "connected, but nothing ever came",
            };
            Some(SessionError::new(GapReason::Silent, detail))
        } else if since(self.last_sample) >= USELESS_NS {
            Some(SessionError::new(GapReason::Protocol, "packets came, but no whole sample for 30 s"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::WallTime;

    fn at(ms: i64) -> Moment {
        Moment { mono_ns: ms * NS_PER_MS, wall: WallTime(0) }
    }

    #[test]
    fn a_camera_that_never_sends_is_silent_within_ten_seconds_of_connecting() {
        let watch = Watch { counted_from: at(0), last_packet: None, last_sample: None };
        assert_eq!(watch.verdict(at(9_000)), None);
        assert_eq!(watch.verdict(at(9_800)).map(|error| error.reason), Some(GapReason::Silent));
    }

    #[test]
    fn a_camera_that_takes_twelve_seconds_to_answer_has_time_left_to_send() {
        let watch =
            Watch { counted_from: counted_from(at(0), at(12_000)), last_packet: None, last_sample: None };
        assert_eq!(watch.verdict(at(17_000)), None);
        assert!(watch.verdict(at(17_600)).is_some());
        assert_eq!(counted_from(at(0), at(3_000)), at(0));
    }

    #[test]
    fn packets_without_samples_are_told_from_silence() {
        let watch = Watch { counted_from: at(0), last_packet: Some(at(31_000)), last_sample: None };
        assert_eq!(watch.verdict(at(31_000)).map(|error| error.reason), Some(GapReason::Protocol));
        let watch = Watch { last_sample: Some(at(30_000)), ..watch };
        assert_eq!(watch.verdict(at(31_000)), None);
    }
}
