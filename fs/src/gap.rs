//! Gaps: why a stream has no footage for a while, kept in the stream itself.
//!
//! Stored form (little-endian, 64 bytes and the detail, as one entry of an event chunk):
//!
//! ```text
//! u16 reason | u16 detail length | u32 zero | i64 from | i64 to (0: still open) | u64 samples lost | u64 bytes lost
//! | 24 zero bytes | detail (UTF-8)
//! ```

use crate::types::WallTime;

/// Why there is no footage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum GapReason {
    /// The connection to the camera broke.
    ConnectionLost = 1,
    /// The camera, or its host, refused the connection or the session.
    Refused = 2,
    /// The camera did not accept the credentials.
    Unauthorised = 3,
    /// The camera is connected but sends nothing.
    Silent = 4,
    /// The recorder or its disk could not keep up; whole GOPs were left out.
    Overload = 5,
    /// The recorder was not running.
    RecorderDown = 6,
    /// The camera's media clock jumped.
    Clock = 7,
    /// A sample was larger than can be kept.
    SampleTooLarge = 8,
    /// The camera's host name does not resolve or its address cannot be reached.
    Unreachable = 9,
    /// The camera has no such stream.
    NotFound = 10,
    /// What the camera sends cannot be understood.
    Protocol = 11,
    /// The stream's configuration changed; the footage goes on in a new run.
    ConfigurationChange = 12,
    /// Recording of this camera was switched off.
    Stopped = 13,
    /// The volume that this was copied from was damaged here.
    Damaged = 14,
    /// It was overwritten: erased on request, or past the stream's maximum age.
    Erased = 15,
    /// The stream was recorded on another volume meanwhile, or came over from it. The detail says which, and why.
    OtherVolume = 16,
    /// A reason of a later version, which this one does not know. What the record says else is read all the same.
    Unknown = u16::MAX,
}

impl GapReason {
    /// All reasons that this version knows, and the one that stands for all others.
    pub const ALL: [GapReason; 17] = [
        GapReason::ConnectionLost,
        GapReason::Refused,
        GapReason::Unauthorised,
        GapReason::Silent,
        GapReason::Overload,
        GapReason::RecorderDown,
        GapReason::Clock,
        GapReason::SampleTooLarge,
        GapReason::Unreachable,
        GapReason::NotFound,
        GapReason::Protocol,
        GapReason::ConfigurationChange,
        GapReason::Stopped,
        GapReason::Damaged,
        GapReason::Erased,
        GapReason::OtherVolume,
        GapReason::Unknown,
    ];

    /// The reason as people read it, in lower case: `connection lost`, `recorder down` ...
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::ConnectionLost => "connection lost",
            GapReason::Refused => "refused",
            GapReason::Unauthorised => "unauthorised",
            GapReason::Silent => "silent",
            GapReason::Overload => "overload",
            GapReason::RecorderDown => "recorder down",
            GapReason::Clock => "clock",
            GapReason::SampleTooLarge => "sample too large",
            GapReason::Unreachable => "unreachable",
            GapReason::NotFound => "not found",
            GapReason::Protocol => "protocol",
            GapReason::ConfigurationChange => "configuration change",
            GapReason::Stopped => "stopped",
            GapReason::Damaged => "damaged",
            GapReason::Erased => "erased",
            GapReason::OtherVolume => "other volume",
            GapReason::Unknown => "unknown",
        }
    }

    /// The reason of a code as it is stored. Those of later versions are gaps, too; 0 is none.
    fn of(code: u16) -> Option<GapReason> {
        let known = GapReason::ALL.into_iter().find(|known| *known as u16 == code);
        known.or((code != 0).then_some(GapReason::Unknown))
    }
}

/// A gap record. A stream's later record with the same `from` replaces the earlier one: it is written with `to` open when
/// the gap begins and again when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// Where the footage before it ended, by the recorder's clock.
    pub from: WallTime,
    /// Where the footage goes on; `None` while it does not.
    pub to: Option<WallTime>,
    /// Samples that arrived but were not kept.
    pub samples_lost: u64,
    /// Their bytes.
    pub bytes_lost: u64,
    /// More for a reader, without secrets; at most 1,024 bytes are kept.
    pub detail: String,
}

const FIXED_BYTES: usize = 64;
const DETAIL_BYTES_MAX: usize = 1024;

impl Gap {
    /// Takes in a later gap, where there are more than can wait: from the beginning of the one to the end of the other.
    pub(crate) fn absorb(&mut self, later: &Gap) {
        self.to = later.to;
        self.samples_lost = self.samples_lost.saturating_add(later.samples_lost);
        self.bytes_lost = self.bytes_lost.saturating_add(later.bytes_lost);
        self.detail = "several gaps in one: they came while the disk did not write".to_owned();
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut end = self.detail.len().min(DETAIL_BYTES_MAX);
        while !self.detail.is_char_boundary(end) {
            end -= 1;
        }
        let mut out = Vec::with_capacity(FIXED_BYTES + end);
        out.extend((self.reason as u16).to_le_bytes());
        out.extend((end as u16).to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.from.0.to_le_bytes());
        out.extend(self.to.map_or(0, |to| to.0).to_le_bytes());
        out.extend(self.samples_lost.to_le_bytes());
        out.extend(self.bytes_lost.to_le_bytes());
        out.extend([0; 24]);
        out.extend(&self.detail.as_bytes()[..end]);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Gap> {
        let fixed: &[u8; FIXED_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| fixed[at + i]));
        let reason = u16::from_le_bytes([fixed[0], fixed[1]]);
        let detail = bytes.get(FIXED_BYTES..)?;
        if detail.len() != usize::from(u16::from_le_bytes([fixed[2], fixed[3]])) {
            return None;
        }
        Some(Gap {
            reason: GapReason::of(reason)?,
            from: WallTime(word(8) as i64),
            to: (word(16) != 0).then_some(WallTime(word(16) as i64)),
            samples_lost: word(24),
            bytes_lost: word(32),
            detail: std::str::from_utf8(detail).ok()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_read_as_it_was_written() {
        for reason in GapReason::ALL {
            for to in [None, Some(WallTime(9))] {
                let gap = Gap {
                    reason,
                    from: WallTime(-5),
                    to,
                    samples_lost: 3,
                    bytes_lost: 4,
                    detail: "ä".repeat(20),
                };
                assert_eq!(Gap::decode(&gap.encode()), Some(gap));
            }
        }
    }

    #[test]
    fn a_gap_whose_reason_a_later_version_gave_is_read_with_all_that_it_says_else() {
        let gap = Gap {
            reason: GapReason::Stopped,
            from: WallTime(5),
            to: Some(WallTime(6)),
            samples_lost: 3,
            bytes_lost: 4,
            detail: "the camera was painted over".into(),
        };
        let mut bytes = gap.encode();
        for code in [17_u16, 999, u16::MAX] {
            bytes[..2].copy_from_slice(&code.to_le_bytes());
            let read = Gap::decode(&bytes);
            assert_eq!(read, Some(Gap { reason: GapReason::Unknown, ..gap.clone() }), "{code}");
        }
        bytes[..2].fill(0);
        assert_eq!(Gap::decode(&bytes), None);
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character() {
        let gap = Gap {
            reason: GapReason::Clock,
            from: WallTime(1),
            to: None,
            samples_lost: 0,
            bytes_lost: 0,
            detail: "aä".repeat(900),
        };
        let read = Gap::decode(&gap.encode()).expect("a cut detail still decodes");
        assert!(gap.detail.starts_with(&read.detail) && read.detail.len() > 1000);
    }
}
