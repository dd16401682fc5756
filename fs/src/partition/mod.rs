//! Partitions of a GPT as the place of a volume: `partuuid:UUID` becomes the kernel's device, at every opening anew.
//!
//! What is found, and what it means:
//!
//! | found | outcome |
//! |---|---|
//! | no entry with that identity in any table | refused; names the disks that were read, and those that could not be, with the reason |
//! | one entry, and the kernel has a partition of that number, start and size, and its node is that device | the node |
//! | one entry, and the kernel has none such, or has it elsewhere | refused; `partx` makes the kernel read the table again |
//! | one entry, and the node is missing or another device | refused; `mknod` makes it |
//! | two entries or more, on one disk or several (a cloned disk) | refused, all are named |
//! | one entry, and another disk does not answer | the node, with a word in the log |
//! | no entry, and a disk does not answer | refused; that one is named |
//! | primary table whole | it counts, as it does for the kernel |
//! | primary table damaged or gone, backup whole | the backup counts: read with a word in the log, never written |
//!
//! Promises: nothing is written here, ever; no table makes it panic or take more than a few hundred KiB; a device's name is
//! never remembered: disks are found again wherever they are plugged in. All disks are read each time, all at once, although udev keeps
//! links by this identity: a link names one of two clones and does not say so. A disk that hangs is waited for once, for a second where the
//! partition is found on another one: volumes of other disks are opened all the same. One that spins up is waited for by all who ask
//! meanwhile.
//!
//! A disk that is claimed whole (multipath, RAID) is passed over: what claims it is a disk of its own.
//!
//! `table` parses, without I/O of its own; `sysfs` asks the kernel; `survey` waits for disks; `find` puts all together. `guard` is what a device must be
//! before it is written to, `signature` what other programs leave on theirs. What must not live here: what stands in a volume.

mod find;
pub(crate) mod guard;
mod signature;
mod survey;
mod sysfs;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::{Error, Result};

/// How a partition is named where a path is expected: this, and its unique identity from the table.
pub const PREFIX: &str = "partuuid:";

/// Linux swap: what partitions of Keha are of, so that nobody takes them for a filesystem (UEFI specification 2.10, 5.3.3; Discoverable
/// Partitions Specification).
pub const LINUX_SWAP: Uuid = Uuid::from_u128(0x0657_fd6d_a4ab_43c4_84e5_0933_c84b_4f4f);

/// Attribute bit 63: not to be mounted or swapped to by itself (Discoverable Partitions Specification, "no-auto").
pub const NO_AUTO: u64 = 1 << 63;

/// A partition of a GPT, as its table and the kernel agree on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its unique identity.
    pub id: Uuid,
    /// Its type; nil where the table has none that is known.
    pub type_id: Uuid,
    /// Its attribute bits.
    pub attributes: u64,
    /// Its number in the table, from 1.
    pub number: u32,
    /// The disk's node at this moment.
    pub disk: PathBuf,
    /// The partition's node at this moment.
    pub device: PathBuf,
    /// Where it begins on the disk, in bytes.
    pub start_bytes: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The unit in which the disk is addressed, in bytes.
    pub logical_sector_bytes: u32,
    /// The unit in which the disk writes, in bytes.
    pub physical_sector_bytes: u32,
    /// How far behind a physical sector's begin it begins, in bytes; 0 is as it should be.
    pub misaligned_bytes: u64,
    /// What is wrong with the primary table, if something is.
    pub damage: Option<String>,
    /// The device's number.
    pub(crate) device_number: u64,
}

impl Partition {
    /// Whether its type is Linux swap.
    pub fn is_swap_type(&self) -> bool {
        self.type_id == LINUX_SWAP
    }

    /// Whether its attributes say that no system shall use it by itself.
    pub fn is_no_auto(&self) -> bool {
        self.attributes & NO_AUTO != 0
    }
}

/// The identity that `path` names, if it names a partition by one.
///
/// # Errors
/// [`Error::Invalid`]: it begins so, but is no identity.
pub fn id_of(path: &Path) -> Result<Option<Uuid>> {
    let Some(text) = path.to_str().and_then(|text| text.strip_prefix(PREFIX)) else { return Ok(None) };
    let wrong = || {
        let shown = path.display();
        Error::Invalid(format!(
            "{shown}: not the identity of a partition; write {PREFIX}01234567-89ab-cdef-0123-456789abcdef, as `lsblk -o +PARTUUID` \
             shows it (a file of that name is ./{shown})"
        ))
    };
    // Hyphenated alone: `lsblk` shows it so, and a partition of a disk without GPT has another kind of identity.
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36).ok_or_else(wrong)?;
    if id.is_nil() { Err(wrong()) } else { Ok(Some(id)) }
}

/// The partition that `path` names, by `partuuid:` or as a node; `None` for all else, also for a partition of a disk without GPT.
///
/// # Errors
/// [`Error::NoDevice`], [`Error::Invalid`], [`Error::Io`].
pub fn at(path: &Path) -> Result<Option<Partition>> {
    match id_of(path)? {
        Some(id) => find::by_id(path, id).map(Some),
        None => find::by_node(path),
    }
}

/// Whether `path` names a device rather than a file, or would.
///
/// # Errors
/// [`Error::Invalid`]: it begins like a partition's identity, but is none.
pub fn is_device(path: &Path) -> Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    let is_node = || std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device());
    Ok(id_of(path)?.is_some() || is_node())
}
