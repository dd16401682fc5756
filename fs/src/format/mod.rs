//! The byte layout of a volume, written once: each structure is a [`record!`] whose fields stand in the order of their bytes.
//!
//! A *framed* structure is `magic (8 bytes) | record | zeros | crc32c (4 bytes)`, the checksum over everything behind the
//! magic. All numbers are little-endian; reserved bytes are zero and checked to be so. This module does no I/O and decides
//! nothing: it turns bytes into values and says `None` where they are not what they should be.

pub(crate) mod block;
pub(crate) mod checksum;
pub(crate) mod chunk;
pub(crate) mod directory;
pub(crate) mod extents;
pub(crate) mod footer;
pub(crate) mod geometry;
pub(crate) mod hold;
pub(crate) mod round;
pub(crate) mod scrub;
pub(crate) mod session;
pub(crate) mod superblock;
pub(crate) mod table;

use self::checksum::crc32c;
use crate::types::{
    BlockIndex, ChunkNumber, ConfigurationHash, Epoch, HoldId, RoundNumber, RunId, Sequence, StreamId,
    TrackNumber, Uuid, VolumeId, WallTime,
};

/// The version of the format that this crate writes; it reads all from 1 up to this.
pub const FORMAT_VERSION: u16 = 1;

/// The smallest unit that a disk writes whole or not at all, in bytes.
pub(crate) const SECTOR_BYTES: usize = 512;

/// A value with a fixed place and size on disk.
pub(crate) trait Field: Sized {
    /// Its size in bytes.
    const BYTES: usize;
    /// Writes it; `out` has exactly that size.
    fn put(&self, out: &mut [u8]);
    /// Reads it; `None` if these bytes cannot stand for it.
    fn get(bytes: &[u8]) -> Option<Self>;
}

/// A record: what can be framed.
pub(crate) trait Record: Field {
    /// Its fields in order, for the document that describes them: name, size in bytes, meaning.
    #[cfg(test)]
    fn fields() -> Vec<(&'static str, usize, &'static str)>;
}

macro_rules! record {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $(#[doc = $meaning:literal] $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        $vis struct $name { $(#[doc = $meaning] $vis $field: $type,)* }

        impl $crate::format::Field for $name {
            const BYTES: usize = 0 $(+ <$type as $crate::format::Field>::BYTES)*;

            fn put(&self, out: &mut [u8]) {
                let mut rest = out;
                $(
                    let (head, tail) = rest.split_at_mut(<$type as $crate::format::Field>::BYTES);
                    $crate::format::Field::put(&self.$field, head);
                    rest = tail;
                )*
                debug_assert!(rest.is_empty());
            }

            fn get(bytes: &[u8]) -> Option<Self> {
                let rest = bytes;
                $(
                    let (head, rest) = rest.split_at_checked(<$type as $crate::format::Field>::BYTES)?;
                    let $field = <$type as $crate::format::Field>::get(head)?;
                )*
                rest.is_empty().then_some($name { $($field,)* })
            }
        }

        impl $crate::format::Record for $name {
            #[cfg(test)]
            fn fields() -> Vec<(&'static str, usize, &'static str)> {
                vec![$((stringify!($field), <$type as $crate::format::Field>::BYTES, $meaning)),*]
            }
        }
    };
}
pub(crate) use record;

/// A record that stands alone on disk, with magic and checksum.
pub(crate) trait Framed: Record {
    /// What it begins with.
    const MAGIC: [u8; 8];
    /// Its whole size on disk in bytes.
    const SIZE: usize;

    /// Writes the frame into the first [`Framed::SIZE`] bytes of `out` and returns its checksum.
    fn seal(&self, out: &mut [u8]) -> u32 {
        self.seal_as(Self::MAGIC, out)
    }

    /// [`Framed::seal`] under another magic; the checksum is the same.
    fn seal_as(&self, magic: [u8; 8], out: &mut [u8]) -> u32 {
        const { assert!(8 + Self::BYTES + 4 <= Self::SIZE) };
        let out = &mut out[..Self::SIZE];
        out[..8].copy_from_slice(&magic);
        self.put(&mut out[8..8 + Self::BYTES]);
        out[8 + Self::BYTES..Self::SIZE - 4].fill(0);
        let checksum = crc32c(&out[8..Self::SIZE - 4]);
        out[Self::SIZE - 4..].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }

    /// Reads a frame from the first [`Framed::SIZE`] bytes, with its checksum.
    fn unseal(bytes: &[u8]) -> Option<(Self, u32)> {
        Self::unseal_as(Self::MAGIC, bytes)
    }

    /// [`Framed::unseal`] under another magic.
    fn unseal_as(magic: [u8; 8], bytes: &[u8]) -> Option<(Self, u32)> {
        let (body, checksum) = framed(magic, bytes.get(..Self::SIZE)?)?;
        let (record, rest) = body.split_at_checked(Self::BYTES)?;
        if !is_zero(rest) {
            return None;
        }
        Some((Self::get(record)?, checksum))
    }
}

/// What stands between magic and checksum of a frame that verifies, and that checksum.
fn framed(magic: [u8; 8], frame: &[u8]) -> Option<(&[u8], u32)> {
    let (body, checksum) = frame.strip_prefix(&magic)?.split_last_chunk::<4>()?;
    let checksum = u32::from_le_bytes(*checksum);
    (crc32c(body) == checksum || planted!(FrameUnverified)).then_some((body, checksum))
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// `value` rounded up to a multiple of `unit` (a power of two).
pub(crate) fn round_up(value: usize, unit: usize) -> usize {
    debug_assert!(unit.is_power_of_two());
    (value + unit - 1) & !(unit - 1)
}

/// Reserved bytes: zero on disk, refused otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zero<const N: usize>;

impl<const N: usize> Field for Zero<N> {
    const BYTES: usize = N;

    fn put(&self, out: &mut [u8]) {
        out.fill(0);
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        is_zero(bytes).then_some(Zero)
    }
}

/// Room that this version leaves zero, and passes over and keeps when it reads: for what a reader may do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare<const N: usize>([u8; N]);

impl<const N: usize> Default for Spare<N> {
    fn default() -> Self {
        Spare([0; N])
    }
}

impl<const N: usize> Field for Spare<N> {
    const BYTES: usize = N;

    fn put(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Spare)
    }
}

/// A byte that is 0 or 1.
impl Field for bool {
    const BYTES: usize = 1;

    fn put(&self, out: &mut [u8]) {
        out[0] = u8::from(*self);
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

macro_rules! number_field {
    ($($type:ty),*) => {$(
        impl Field for $type {
            const BYTES: usize = size_of::<$type>();

            fn put(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }

            fn get(bytes: &[u8]) -> Option<Self> {
                Some(<$type>::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}
number_field!(u8, u16, u32, u64, i32, i64);

macro_rules! newtype_field {
    ($($type:ident($inner:ty)),*) => {$(
        impl Field for $type {
            const BYTES: usize = <$inner as Field>::BYTES;

            fn put(&self, out: &mut [u8]) {
                self.0.put(out);
            }

            fn get(bytes: &[u8]) -> Option<Self> {
                <$inner as Field>::get(bytes).map($type)
            }
        }
    )*};
}
newtype_field!(
    BlockIndex(u32),
    Sequence(u64),
    ChunkNumber(u64),
    Epoch(u32),
    RoundNumber(u64),
    TrackNumber(u8),
    WallTime(i64),
    VolumeId(Uuid),
    StreamId(Uuid),
    RunId(Uuid),
    HoldId(Uuid)
);

impl Field for Uuid {
    const BYTES: usize = 16;

    fn put(&self, out: &mut [u8]) {
        out.copy_from_slice(self.as_bytes());
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok()
    }
}

impl Field for ConfigurationHash {
    const BYTES: usize = 16;

    fn put(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        Some(ConfigurationHash(bytes.try_into().ok()?))
    }
}

/// Bytes that are text, UTF-8 padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<const N: usize>([u8; N]);

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text([0; N])
    }
}

impl<const N: usize> Text<N> {
    /// The text, if it fits and has no zero byte.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; N];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        (!text.contains('\0')).then_some(Text(bytes))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(N);
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

impl<const N: usize> Field for Text<N> {
    const BYTES: usize = N;

    fn put(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..end]).ok()?;
        is_zero(&bytes[end..]).then_some(Text(bytes.try_into().ok()?))
    }
}

#[cfg(test)]
mod document;
