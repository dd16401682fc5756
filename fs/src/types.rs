//! The numbers that stand on disk and in time, each a type of its own so that none is taken for another.
//!
//! Nothing here does I/O or knows a layout.

use std::fmt;
use std::time::Duration;

pub use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A block's place in the volume, from 0 to N-1.
    BlockIndex(u32)
}
number! {
    /// The order in which blocks were taken, over the whole volume; 0 means never. A block's content is named by (block, sequence).
    Sequence(u64)
}
number! {
    /// A chunk's number within its stream, on and on across blocks; the first is 1.
    ChunkNumber(u64)
}
number! {
    /// Counts the writable opens of a volume; the first is 1.
    Epoch(u32)
}
number! {
    /// Counts flush rounds over the life of a volume; the first is 1.
    RoundNumber(u64)
}
number! {
    /// A track within a stream, 1 to 200 (the values above are the format's own).
    TrackNumber(u8)
}

impl ChunkNumber {
    /// The number after this one.
    pub fn next(self) -> ChunkNumber {
        ChunkNumber(self.0.saturating_add(1))
    }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new random identity.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

identity! {
    /// The identity of a volume, given at creation.
    VolumeId
}
identity! {
    /// The identity of a stream in its volume; its name may change, this does not.
    StreamId
}
identity! {
    /// The identity of a hold on footage.
    HoldId
}
identity! {
    /// The identity of a run: a stretch of one continuous media clock.
    RunId
}

/// UTC as nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

impl WallTime {
    /// Before every time that can stand on disk.
    pub const MIN: WallTime = WallTime(i64::MIN);
    /// After every time that can stand on disk.
    pub const MAX: WallTime = WallTime(i64::MAX);

    /// This time plus `nanoseconds`, stopping at the ends of the range.
    pub fn plus_ns(self, nanoseconds: i64) -> WallTime {
        WallTime(self.0.saturating_add(nanoseconds))
    }

    /// This time plus `duration`, stopping at the end of the range.
    pub fn plus(self, duration: Duration) -> WallTime {
        self.plus_ns(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Nanoseconds from `earlier` to this time, negative if this is before it.
    pub fn since_ns(self, earlier: WallTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The content hash of a [`crate::Configuration`]: the first 16 bytes of the BLAKE3 of its stored form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigurationHash(pub [u8; 16]);

impl fmt::Display for ConfigurationHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A stream's address: a camera's name, or `camera/sub` for a further stream of it. Each part is `[a-z0-9][a-z0-9_-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(String);

/// Why a text is no stream name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a stream name: use a camera's name or camera/sub, each part of a-z, 0-9, '_' and '-', at most 63 characters, beginning with a letter or digit"
)]
pub struct BadStreamName(pub String);

impl StreamName {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<StreamName, BadStreamName> {
        let mut parts = text.split('/');
        let camera = parts.next().unwrap_or_default();
        let well_formed = is_name(camera) && parts.next().is_none_or(is_name) && parts.next().is_none();
        if well_formed { Ok(StreamName(text.to_owned())) } else { Err(BadStreamName(text.to_owned())) }
    }

    /// The whole name, as addressed on the command line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that names the camera.
    pub fn camera(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_name(part: &str) -> bool {
    let letter_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.len() <= 63
        && bytes.first().copied().is_some_and(letter_or_digit)
        && bytes.iter().all(|&byte| letter_or_digit(byte) || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_checked_part_by_part() {
        for good in ["a", "front", "0door_2-b", "front/sub", &"a".repeat(63)] {
            assert!(StreamName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a/b/c", "Front", "-a", "_a", "a b", "ä", &"a".repeat(64)] {
            assert!(StreamName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(StreamName::new("front/sub").unwrap().camera(), "front");
    }
}
