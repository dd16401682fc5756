//! The gaps of one stream: every interruption of footage becomes one gap with its reason.
//!
//! A gap begins where the footage before it ended, is written open when it is noticed, and again, closed, when footage goes
//! on. Attempts that fail meanwhile add nothing to the volume: a camera that is away for a week costs two records. A stream
//! that never had footage has no gap either, until its first sample comes. Pure; the caller writes what is returned.

use keha_fs::{Gap, GapReason, WallTime};

/// The recorder's absence is recorded as beginning this long after the start of the last sample, which is shorter than any
/// sample. A gap that was open when the recorder went down begins with that start, and must not be replaced.
pub(crate) const AFTER_LAST_SAMPLE_NS: i64 = 1_000_000;

/// What is known of a stream when its recording begins.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    /// Up to when there is footage, if there is any.
    pub(crate) last: Option<WallTime>,
    /// Why there is none since.
    pub(crate) reason: GapReason,
    /// More about it.
    pub(crate) detail: String,
    /// From when on there is none, where that is known although nothing is known of before.
    pub(crate) from: Option<WallTime>,
    /// Samples that were lost since.
    pub(crate) samples_lost: u64,
    /// Their bytes.
    pub(crate) bytes_lost: u64,
}

impl Before {
    pub(crate) fn new(reason: GapReason, detail: String) -> Before {
        Before { last: None, reason, detail, from: None, samples_lost: 0, bytes_lost: 0 }
    }
}

impl From<(WallTime, GapReason)> for Before {
    fn from((last, reason): (WallTime, GapReason)) -> Before {
        Before { last: Some(last), ..Before::new(reason, String::new()) }
    }
}

/// The gaps of a stream.
#[derive(Clone, Debug)]
pub(crate) struct GapLedger {
    started: WallTime,
    footage_end: Option<WallTime>,
    open: Option<OpenGap>,
    count: u64,
}

#[derive(Clone, Debug)]
struct OpenGap {
    gap: Gap,
    failed_attempts: u32,
    last_failure: String,
}

impl GapLedger {
    /// The ledger of a stream with the moment of its newest footage and the reason why there is none since (the recorder was
    /// down, the stream was stopped, or recorded on another volume), and the gap to write for that.
    pub(crate) fn new(before: Option<Before>, started: WallTime) -> (GapLedger, Option<Gap>) {
        let end =
            |before: &Before| before.last.map(|last| last.plus_ns(AFTER_LAST_SAMPLE_NS)).or(before.from);
        let footage_end = before.as_ref().and_then(end);
        let mut ledger = GapLedger { started, footage_end, open: None, count: 0 };
        let gap = before.and_then(|before| {
            let Before { samples_lost, bytes_lost, .. } = before;
            let gap = ledger.interrupted(started, before.reason, &before.detail);
            ledger.lost(samples_lost, bytes_lost);
            gap.map(|gap| Gap { samples_lost, bytes_lost, ..gap })
        });
        (ledger, gap)
    }

    /// Up to when there is footage.
    pub(crate) fn footage_end(&self) -> Option<WallTime> {
        self.footage_end
    }

    /// Footage stands up to `end`.
    pub(crate) fn footage(&mut self, end: WallTime) {
        self.footage_end = Some(self.footage_end.map_or(end, |known| known.max(end)));
    }

    /// Footage ended. Returns the gap to write, unless one is open already.
    pub(crate) fn interrupted(&mut self, now: WallTime, reason: GapReason, detail: &str) -> Option<Gap> {
        if let Some(open) = &mut self.open {
            open.last_failure = detail.to_owned();
            return None;
        }
        let from = self.footage_end.unwrap_or(now);
        let gap = Gap { reason, from, to: None, samples_lost: 0, bytes_lost: 0, detail: detail.to_owned() };
        self.open = Some(OpenGap { gap: gap.clone(), failed_attempts: 0, last_failure: String::new() });
        self.count += 1;
        self.footage_end.map(|_| gap)
    }

    /// An attempt to reach the camera failed. If until now only the recorder's own absence explained the gap, that one ends
    /// when the recorder started, and the camera's begins: those two are returned, to be written in this order.
    pub(crate) fn attempt_failed(&mut self, reason: GapReason, detail: &str) -> Vec<Gap> {
        let mut write = Vec::new();
        match &self.open {
            Some(open) if is_ours(open.gap.reason) => {
                let from = open.gap.from;
                let to = self.started.max(from);
                write.push(Gap { to: Some(to), ..open.gap.clone() });
                self.open = None;
                self.footage_end = Some(to.plus_ns(i64::from(to == from)));
                write.extend(self.interrupted(self.started, reason, detail));
            }
            Some(_) => {}
            None => write.extend(self.interrupted(self.started, reason, detail)),
        }
        if let Some(open) = &mut self.open {
            open.failed_attempts += 1;
            open.last_failure = detail.to_owned();
        }
        write
    }

    /// Samples were left out of the footage.
    pub(crate) fn lost(&mut self, samples: u64, bytes: u64) {
        if let Some(open) = &mut self.open {
            open.gap.samples_lost += samples;
            open.gap.bytes_lost += bytes;
        }
    }

    /// Footage goes on from `at`. Returns the closed gap to write.
    pub(crate) fn resumed(&mut self, at: WallTime) -> Option<Gap> {
        let OpenGap { mut gap, failed_attempts, last_failure, .. } = self.open.take()?;
        gap.to = Some(at.max(gap.from));
        if failed_attempts > 0 && last_failure != gap.detail {
            let several = if failed_attempts == 1 { "" } else { "s" };
            let separator = if gap.detail.is_empty() { "" } else { "; " };
            gap.detail.push_str(&format!(
                "{separator}{failed_attempts} failed attempt{several}, the last: {last_failure}"
            ));
        }
        Some(gap)
    }

    /// Whether footage is interrupted, and why.
    pub(crate) fn open_reason(&self) -> Option<GapReason> {
        self.open.as_ref().map(|open| open.gap.reason)
    }

    /// How many gaps began since the recorder started.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// Whether a gap that is open when recording begins ends when it has begun, however long the camera is away then.
fn is_ours(reason: GapReason) -> bool {
    matches!(reason, GapReason::RecorderDown | GapReason::Stopped | GapReason::OtherVolume)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn t(seconds: i64) -> WallTime {
        WallTime(seconds * 1_000_000_000)
    }

    const fn after(seconds: i64) -> WallTime {
        WallTime(t(seconds).0 + AFTER_LAST_SAMPLE_NS)
    }

    fn told(gap: &Gap) -> (GapReason, WallTime, Option<WallTime>) {
        (gap.reason, gap.from, gap.to)
    }

    #[test]
    fn a_lost_connection_is_written_open_and_closed_when_footage_goes_on() {
        let (mut ledger, none) = GapLedger::new(None, t(0));
        assert_eq!(none, None);
        ledger.footage(t(10));
        let open = ledger.interrupted(t(11), GapReason::ConnectionLost, "reset by peer").unwrap();
        assert_eq!(told(&open), (GapReason::ConnectionLost, t(10), None));
        for _ in 0..14 {
            assert!(ledger.attempt_failed(GapReason::Refused, "connection refused").is_empty());
        }
        let closed = ledger.resumed(t(40)).unwrap();
        assert_eq!(told(&closed), (GapReason::ConnectionLost, t(10), Some(t(40))));
        assert_eq!(closed.detail, "reset by peer; 14 failed attempts, the last: connection refused");
        assert_eq!((ledger.resumed(t(41)), ledger.count()), (None, 1));
    }

    #[test]
    fn the_time_without_a_recorder_ends_with_the_first_sample() {
        let (mut ledger, open) = GapLedger::new(Some((t(5), GapReason::RecorderDown).into()), t(100));
        assert_eq!(told(&open.unwrap()), (GapReason::RecorderDown, after(5), None));
        assert_eq!(told(&ledger.resumed(t(101)).unwrap()), (GapReason::RecorderDown, after(5), Some(t(101))));
    }

    /// A camera was lost and the recorder then killed: both gaps count from the last sample, and gaps of one beginning
    /// replace each other.
    #[test]
    fn the_time_without_a_recorder_does_not_replace_the_gap_that_was_open_before() {
        let (mut ledger, _) = GapLedger::new(None, t(0));
        ledger.footage(t(10));
        let lost = ledger.interrupted(t(11), GapReason::ConnectionLost, "").unwrap();
        let (_, down) = GapLedger::new(Some((t(10), GapReason::RecorderDown).into()), t(60));
        assert_ne!(lost.from, down.unwrap().from);
    }

    #[test]
    fn a_camera_that_is_away_when_the_recorder_starts_has_a_gap_of_its_own() {
        let (mut ledger, _) = GapLedger::new(Some((t(5), GapReason::RecorderDown).into()), t(100));
        let gaps = ledger.attempt_failed(GapReason::Unreachable, "no route to host");
        let told: Vec<_> = gaps.iter().map(told).collect();
        assert_eq!(
            told,
            [(GapReason::RecorderDown, after(5), Some(t(100))), (GapReason::Unreachable, t(100), None)]
        );
        assert!(ledger.attempt_failed(GapReason::Refused, "").is_empty());
        assert_eq!(ledger.resumed(t(130)).unwrap().from, t(100));
    }

    #[test]
    fn a_stream_that_never_had_footage_has_its_gap_written_only_when_footage_comes() {
        let (mut ledger, _) = GapLedger::new(None, t(100));
        assert!(ledger.attempt_failed(GapReason::Unauthorised, "401").is_empty());
        let gap = ledger.resumed(t(130)).unwrap();
        assert_eq!(self::told(&gap), (GapReason::Unauthorised, t(100), Some(t(130))));
    }

    #[test]
    fn what_an_overload_left_out_is_counted_in_its_gap() {
        let (mut ledger, _) = GapLedger::new(None, t(0));
        ledger.footage(t(3));
        ledger.interrupted(t(3), GapReason::Overload, "");
        ledger.lost(50, 9_000);
        let gap = ledger.resumed(t(5)).unwrap();
        assert_eq!((gap.samples_lost, gap.bytes_lost), (50, 9_000));
    }

    #[test]
    fn a_clock_set_back_never_makes_a_gap_end_before_it_begins() {
        let (mut ledger, _) = GapLedger::new(Some((t(500), GapReason::RecorderDown).into()), t(100));
        assert_eq!(ledger.resumed(t(101)).unwrap().to, Some(after(500)));
        ledger.footage(t(101));
        let (mut ledger, _) = GapLedger::new(Some((t(500), GapReason::RecorderDown).into()), t(100));
        let gaps = ledger.attempt_failed(GapReason::Refused, "");
        assert!(gaps.iter().all(|gap| gap.to.is_none_or(|to| to >= gap.from)));
        assert_ne!(gaps[0].from, gaps[1].from, "the second must not replace the first");
    }

    #[test]
    fn a_stream_that_came_over_says_so_and_a_camera_that_is_away_then_has_a_gap_of_its_own() {
        let why = "it came over from volume main, which failed: gone";
        let over = |last| Before { last, ..Before::new(GapReason::OtherVolume, why.to_owned()) };
        let (mut ledger, open) = GapLedger::new(Some(over(Some(t(5)))), t(8));
        let open = open.unwrap();
        assert_eq!((told(&open), open.detail.as_str()), ((GapReason::OtherVolume, after(5), None), why));
        let gaps: Vec<_> =
            ledger.attempt_failed(GapReason::Unreachable, "no route").iter().map(told).collect();
        let expected = [(GapReason::OtherVolume, after(5), Some(t(8))), (GapReason::Unreachable, t(8), None)];
        assert_eq!(gaps, expected);
        // Where nothing is known of what was before, the gap is written when it ends.
        let (mut ledger, open) = GapLedger::new(Some(over(None)), t(8));
        assert_eq!(open, None);
        let closed = ledger.resumed(t(9)).unwrap();
        assert_eq!(
            (told(&closed), closed.detail.as_str()),
            ((GapReason::OtherVolume, t(8), Some(t(9))), why)
        );
    }
}
