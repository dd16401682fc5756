//! What segments and init segments are called, also in URIs.
//!
//! A name begins with [`FORMAT`]: browsers keep for a year what a name meant, so other bytes of the same footage need another name.

use keha_fs::{ConfigurationHash, RunId, Uuid, WallTime};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// How segments and init segments are made. Who changes a byte of what is made of the same footage counts it up; 2: segments carry parameter
/// sets; 3: sound begins and ends with the pictures. Names of other formats are none.
pub const FORMAT: u8 = 3;

/// What the name of a segment with which a stretch begins ends with.
const BEGINS: &str = "-begins";

/// A segment's name within its stream. All that its bytes depend on beside the volume.
///
/// As text: `FORMAT-RUN-FROM-TO-CONFIGURATION`, the run and the configuration as 32 hexadecimal digits, the moments as nanoseconds since 1970;
/// with `-begins` behind it where a stretch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The run that its samples belong to.
    pub run: RunId,
    /// The wall time of its sync sample.
    pub from: WallTime,
    /// The wall time of the sync sample at which the next segment begins; at the end of a stretch, a moment behind its last sample.
    pub to: WallTime,
    /// The configuration that its samples need.
    pub configuration: ConfigurationHash,
    /// It is known that its stretch begins with it: then its sound begins with its pictures. Playlists that begin within a stretch do not
    /// know. Who claims it of another segment is given silence where that one's sound has none of its own.
    pub begins: bool,
}

/// An init segment's name within its stream. As text: `FORMAT-CONFIGURATION-AT`.
///
/// Names of one configuration are equal, for they name the same bytes: who makes up moments fills no cache with them.
#[derive(Clone, Copy, Debug)]
pub struct InitName {
    /// The configuration.
    pub configuration: ConfigurationHash,
    /// A moment at which samples need it: says where to look for it.
    pub at: WallTime,
}

impl PartialEq for InitName {
    fn eq(&self, other: &InitName) -> bool {
        self.configuration == other.configuration
    }
}

impl Eq for InitName {}

impl Hash for InitName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.configuration.hash(state);
    }
}

/// A text that names no segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no segment; take the names from a playlist")]
pub struct BadName(String);

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SegmentName { run, from, to, configuration, begins } = self;
        let begins = if *begins { BEGINS } else { "" };
        write!(f, "{FORMAT}-{}-{}-{}-{configuration}{begins}", run.0.simple(), from.0, to.0)
    }
}

impl fmt::Display for InitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORMAT}-{}-{}", self.configuration, self.at.0)
    }
}

impl FromStr for SegmentName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<SegmentName, BadName> {
        let rest = of_this_format(text)?;
        let (rest, begins) = rest.strip_suffix(BEGINS).map_or((rest, false), |rest| (rest, true));
        let mut parts = rest.splitn(4, '-');
        let mut part = || parts.next();
        let name = (|| {
            Some(SegmentName {
                run: RunId(Uuid::try_parse(part()?).ok()?),
                from: moment(part()?)?,
                to: moment(part()?)?,
                configuration: hash(part()?)?,
                begins,
            })
        })();
        canonical(name, text)
    }
}

impl FromStr for InitName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<InitName, BadName> {
        let name = of_this_format(text)?
            .split_once('-')
            .and_then(|(digits, at)| Some(InitName { configuration: hash(digits)?, at: moment(at)? }));
        canonical(name, text)
    }
}

/// What follows the format in a name.
fn of_this_format(text: &str) -> Result<&str, BadName> {
    let rest = text.split_once('-').filter(|(format, _)| format.parse() == Ok(FORMAT)).map(|(_, rest)| rest);
    rest.ok_or_else(|| bad(text))
}

fn bad(text: &str) -> BadName {
    BadName(text.chars().take(200).collect())
}

/// A name has one text alone: else one segment could be asked for, and cached, under many.
fn canonical<N: fmt::Display>(name: Option<N>, text: &str) -> Result<N, BadName> {
    name.filter(|name| name.to_string() == text).ok_or_else(|| bad(text))
}

fn moment(digits: &str) -> Option<WallTime> {
    digits.parse().ok().filter(|ns| *ns >= 0).map(WallTime)
}

fn hash(digits: &str) -> Option<ConfigurationHash> {
    let number = u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(ConfigurationHash(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_is_read_back_from_its_text(run: u128, from in 0..i64::MAX, to in 0..i64::MAX, hash: [u8; 16], begins: bool) {
            let configuration = ConfigurationHash(hash);
            let (run, from, to) = (RunId(Uuid::from_u128(run)), WallTime(from), WallTime(to));
            let name = SegmentName { run, from, to, configuration, begins };
            prop_assert_eq!(name.to_string().parse(), Ok(name));
            let name = InitName { configuration, at: from };
            let read: InitName = name.to_string().parse().unwrap();
            prop_assert_eq!((read, read.at), (name, from));
        }

        #[test]
        fn any_other_text_is_no_name(text in "[0-9a-fA-F+-]{0,120}(-begins)?") {
            if let Ok(name) = text.parse::<SegmentName>() {
                prop_assert_eq!(name.to_string(), text.clone());
            }
            if let Ok(name) = text.parse::<InitName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    /// Players and browsers keep what a name meant before the server was changed.
    #[test]
    fn a_name_says_how_its_bytes_are_made_and_one_of_another_format_is_none() {
        let configuration = ConfigurationHash([0xab; 16]);
        let run = RunId(Uuid::from_u128(0x12));
        let name = SegmentName { run, from: WallTime(5), to: WallTime(9), configuration, begins: false };
        let hash = "ab".repeat(16);
        assert_eq!(name.to_string(), format!("3-00000000000000000000000000000012-5-9-{hash}"));
        let begins = SegmentName { begins: true, ..name };
        assert_eq!(begins.to_string(), format!("3-00000000000000000000000000000012-5-9-{hash}-begins"));
        assert_eq!(InitName { configuration, at: WallTime(7) }.to_string(), format!("3-{hash}-7"));
        let rest = "00000000000000000000000000000012-5-9";
        for other in ["2-", "4-", "03-", "+3-", "-", ""] {
            assert!(format!("{other}{rest}-{hash}").parse::<SegmentName>().is_err(), "{other}");
            assert!(format!("{other}{hash}-7").parse::<InitName>().is_err(), "{other}");
        }
    }

    #[test]
    fn an_init_segment_is_kept_once_whatever_moments_are_made_up() {
        let name = |hash, at| InitName { configuration: ConfigurationHash([hash; 16]), at: WallTime(at) };
        let asked = (0..100).map(|at| name(1, at)).chain([name(2, 0)]);
        assert_eq!(asked.collect::<std::collections::HashSet<_>>().len(), 2);
    }
}
