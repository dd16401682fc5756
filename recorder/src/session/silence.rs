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

/// What has come so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// When the attempt began.
    pub(crate) began: Moment,
    /// When the last packet came.
    pub(crate) last_packet: Option<Moment>,
    /// When the last sample came.
    pub(crate) last_sample: Option<Moment>,
}

impl Watch {
    /// Why the session should be given up now, if it should.
    pub(crate) fn verdict(&self, now: Moment) -> Option<SessionError> {
        let since = |last: Option<Moment>| now.since_ns(last.unwrap_or(self.began));
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
        let watch = Watch { began: at(0), last_packet: None, last_sample: None };
        assert_eq!(watch.verdict(at(9_000)), None);
        assert_eq!(watch.verdict(at(9_800)).map(|error| error.reason), Some(GapReason::Silent));
    }

    #[test]
    fn packets_without_samples_are_told_from_silence() {
        let watch = Watch { began: at(0), last_packet: Some(at(31_000)), last_sample: None };
        assert_eq!(watch.verdict(at(31_000)).map(|error| error.reason), Some(GapReason::Protocol));
        let watch = Watch { last_sample: Some(at(30_000)), ..watch };
        assert_eq!(watch.verdict(at(31_000)), None);
    }
}
