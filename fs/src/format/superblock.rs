//! The superblock: what a volume is. Written at creation, label and growth, never in operation; several copies.

use super::extents::{EXTENTS, Sizes};
use super::geometry::Geometry;
use super::{FORMAT_VERSION, Field, Framed, Text, framed, is_zero, record};
use crate::types::{Uuid, VolumeId, WallTime};

/// Features that a writer must know.
pub(crate) const RO_COMPAT: u64 = 0;
/// Features that every user must know.
pub(crate) const INCOMPAT: u64 = EXTENTS;

record! {
    /// The superblock. The places in it are derived from the sizes and stand there for those who read without this crate.
    pub(crate) struct Superblock {
        /// Format version.
        version: u16,
        /// Log2 of the page size.
        page_shift: u8,
        /// Log2 of the block size.
        block_shift: u8,
        /// Number of blocks that it was created with.
        blocks: u32,
        /// Features that a reader may ignore.
        compat: u64,
        /// Features that a writer must know.
        ro_compat: u64,
        /// Features that every user must know.
        incompat: u64,
        /// The volume.
        volume: VolumeId,
        /// Who created it.
        recorder: Uuid,
        /// The set it belongs to, zero = none.
        volume_set: Uuid,
        /// Grows with each change of the superblock; the highest wins.
        generation: u64,
        /// When the volume was created.
        created: WallTime,
        /// The size that it was created with, in bytes.
        size_bytes: u64,
        /// How many streams it can have.
        streams_max: u32,
        /// How many holds it can have.
        holds_max: u32,
        /// Zone size in bytes for zoned devices, 0 = none.
        zone_bytes: u32,
        /// The unit on which regions begin, in bytes.
        region_bytes: u32,
        /// Slots in the round log.
        log_slots: u32,
        /// Bytes of a slot in the round log.
        log_slot_bytes: u32,
        /// Bytes of a copy of the stream directory.
        directory_bytes: u32,
        /// Bytes of a copy of the holds.
        holds_bytes: u32,
        /// Bytes of the block table.
        table_bytes: u64,
        /// Bytes of the key slots, 0 = none.
        key_slot_bytes: u32,
        /// How many sessions it remembers.
        sessions_max: u32,
        /// Bytes of a copy of the sessions.
        sessions_bytes: u32,
        /// Bytes of a copy of the scrub's place.
        scrub_bytes: u32,
        /// Where the front copies of directory, holds, sessions, scrub and round log and the block table begin.
        front_at: [u64; 6],
        /// Where the back copies of directory, holds, sessions, scrub and round log begin.
        back_at: [u64; 5],
        /// Where the copies of this superblock stand, but for those at the ends of extents.
        copies_at: [u64; 4],
        /// Where the three stretches of blocks that it was created with begin.
        stretches_at: [u64; 3],
        /// A name for people.
        label: Text<64>,
        /// With the feature `extents` (bit 0 of `incompat`): the size of the whole volume after each time that it grew, in bytes; 0 = none.
        grown: Sizes,
    }
}

impl Framed for Superblock {
    const MAGIC: [u8; 8] = *b"KEHA-VOL";
    const SIZE: usize = 512;
}

impl<const N: usize> super::Field for [u64; N] {
    const BYTES: usize = 8 * N;

    fn put(&self, out: &mut [u8]) {
        for (place, value) in out.chunks_exact_mut(8).zip(self) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let mut values = [0; N];
        for (value, place) in values.iter_mut().zip(bytes.chunks_exact(8)) {
            *value = u64::from_le_bytes(place.try_into().ok()?);
        }
        Some(values)
    }
}

/// What stands in the superblock of any version, at the same place: enough to know whether the rest can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The volume.
    pub(crate) volume: VolumeId,
    features: Features,
}

/// Version and feature words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// Format version.
    pub(crate) version: u16,
    /// Features that a writer must know.
    pub(crate) ro_compat: u64,
    /// Features that every user must know.
    pub(crate) incompat: u64,
}

impl Features {
    /// Why this crate cannot read the volume, if so.
    pub(crate) fn unsupported(&self) -> Option<String> {
        let unknown = self.incompat & !INCOMPAT;
        if !(1..=FORMAT_VERSION).contains(&self.version) {
            let known = if FORMAT_VERSION == 1 { "1".to_owned() } else { format!("1 to {FORMAT_VERSION}") };
            Some(format!("its format version is {}, this keha knows {known}", self.version))
        } else if unknown != 0 {
            Some(format!("it uses features {unknown:#x} that this keha does not know"))
        } else {
            None
        }
    }

    /// Why this crate cannot write the volume, if so.
    pub(crate) fn read_only(&self) -> Option<String> {
        let unknown = self.ro_compat & !RO_COMPAT;
        (unknown != 0).then(|| format!("it uses features {unknown:#x} that this keha can only read past"))
    }
}

impl Head {
    /// The head of a copy that verifies, whatever the rest of it says.
    pub(crate) fn read(bytes: &[u8]) -> Option<Head> {
        let (body, _) = framed(Superblock::MAGIC, bytes.get(..Superblock::SIZE)?)?;
        let word = |at: usize| u64::get(body.get(at..at + 8)?);
        Some(Head {
            volume: VolumeId::get(body.get(32..48)?)?,
            features: Features {
                version: u16::get(body.get(..2)?)?,
                ro_compat: word(16)?,
                incompat: word(24)?,
            },
        })
    }

    /// Why this crate cannot read the volume, if so.
    pub(crate) fn unsupported(&self) -> Option<String> {
        self.features.unsupported()
    }
}

impl Superblock {
    /// A copy that verifies and that this crate can read. Where there is a feature that it may only read past, bytes that are
    /// reserved may have got a meaning.
    pub(crate) fn read(bytes: &[u8]) -> Option<Superblock> {
        let (body, _) = framed(Superblock::MAGIC, bytes.get(..Superblock::SIZE)?)?;
        let (record, rest) = body.split_at_checked(Superblock::BYTES)?;
        let mut superblock = Superblock::get(record)?;
        let features = superblock.features();
        let mut whole = is_zero(rest);
        if superblock.incompat & EXTENTS == 0 {
            // Without the feature these bytes are reserved like the rest.
            whole &= superblock.grown.is_empty();
            superblock.grown = Sizes::default();
        }
        let readable = whole || features.read_only().is_some();
        (readable && features.unsupported().is_none()).then_some(superblock)
    }

    /// The places of all copies, as it has them itself.
    pub(crate) fn all_copies_at(&self) -> Vec<u64> {
        match Geometry::of(self) {
            Some(geometry) => geometry.copies_at,
            None => self.copies_at.to_vec(),
        }
    }

    /// Its version and feature words.
    pub(crate) fn features(&self) -> Features {
        Features { version: self.version, ro_compat: self.ro_compat, incompat: self.incompat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_stands_where_it_does_in_every_version() {
        let superblock = Superblock {
            version: 0x0102,
            ro_compat: 7,
            incompat: 9,
            volume: VolumeId(Uuid::from_u128(0x1234)),
            ..Superblock::default()
        };
        let mut bytes = [0; Superblock::SIZE];
        superblock.seal(&mut bytes);
        let head = Head { volume: superblock.volume, features: superblock.features() };
        assert_eq!(Head::read(&bytes), Some(head));
        bytes[20] ^= 1;
        assert_eq!(Head::read(&bytes), None);
    }
}
