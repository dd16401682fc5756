//! A sample's name within its stream, to come back to it: as text `chunk-track-place`.

use keha_fs::{ChunkNumber, SampleRow, TrackNumber};
use std::fmt;
use std::str::FromStr;

/// Where a sample stands in its stream. It stands for the same sample for as long as the footage is there: chunks are numbered on and on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The chunk in which it ends.
    pub chunk: ChunkNumber,
    /// Its track.
    pub track: TrackNumber,
    /// How many of its track stand before it in that chunk.
    pub place: u32,
}

impl Mark {
    /// The mark of a sample.
    pub fn of(row: &SampleRow) -> Mark {
        Mark { chunk: row.chunk, track: row.track, place: row.place }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.chunk, self.track, self.place)
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Mark, String> {
        let mut numbers = text.split('-');
        let mut next = || numbers.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        let parsed = (|| {
            let chunk = ChunkNumber(next()?.parse().ok()?);
            let track = TrackNumber(next()?.parse().ok()?);
            Some(Mark { chunk, track, place: next()?.parse().ok()? })
        })();
        let whole = parsed.filter(|mark| mark.to_string() == text);
        whole.ok_or_else(|| format!("{text:?} is no mark: give back one as it was told"))
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;
    use keha_fs::{ChunkNumber, TrackNumber};

    #[test]
    fn a_mark_is_read_as_it_was_told_and_nothing_else_is() {
        let mark = Mark { chunk: ChunkNumber(u64::MAX), track: TrackNumber(2), place: 17 };
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for text in
            ["", "1", "1-2", "1-2-3-4", "1-2-", "-1-2-3", "+1-2-3", "1-256-3", "01-2-3", "1-2-x", "1 -2-3"]
        {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
    }
}
