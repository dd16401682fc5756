//! Opening a file or block device for I/O past the page cache, as far as it lets us.
//!
//! Direct I/O keeps recording from pushing everybody else's pages out of memory and makes a write's completion
//! mean what it says. Some filesystems refuse it at opening, some only at the first read, and each has an
//! alignment of its own: all of that is found out here, so that nothing above has to ask.

#![expect(unsafe_code, reason = "statx has no safe wrapper that tells the alignment of direct I/O")]

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use super::FileReader;
use super::buffer::{AlignedBuffer, BUFFER_ALIGNMENT_BYTES};
use crate::error::{Error, Result};
use crate::partition::{self, guard};

/// Where the kernel does not tell: the page, which every filesystem accepts.
const FALLBACK_ALIGNMENT_BYTES: u32 = 4096;
/// What a sector is to everybody above; finer alignments (some devices allow 4 bytes) are of no use.
const SMALLEST_ALIGNMENT_BYTES: u32 = 512;

/// What for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Access {
    Read,
    Write,
    /// To make a volume on a device, whatever is there: who does so looks first.
    Create,
}

/// Where a path leads at this moment.
#[derive(Debug)]
pub(super) struct Place {
    /// What is opened.
    pub(super) node: PathBuf,
    /// The number of the block device; `None` for a file.
    pub(super) number: Option<u64>,
}

/// An open file or block device.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    /// Whether the page cache is out of the way.
    pub(super) direct: bool,
    pub(super) alignment_bytes: u32,
    pub(super) size_bytes: u64,
}

/// Finds the file, or the device, also by its partition's identity.
pub(super) fn place(path: &Path) -> Result<Place> {
    if let Some(partition) = partition::id_of(path)?.map(|_| partition::at(path)).transpose()?.flatten() {
        if let Some(damage) = &partition.damage {
            tracing::warn!(volume = %path.display(), disk = %partition.disk.display(), damage, "the partition table is damaged in front; its backup is used");
        }
        return Ok(Place { node: partition.device, number: Some(partition.device_number) });
    }
    let metadata = std::fs::metadata(path).map_err(|source| Error::io("open", path, source))?;
    let number = match metadata.file_type() {
        kind if kind.is_file() => None,
        kind if kind.is_block_device() => Some(metadata.rdev()),
        _ => return Err(Error::Invalid(format!("{}: neither a file nor a block device", path.display()))),
    };
    Ok(Place { node: path.to_owned(), number })
}

/// Opens an existing file or block device; `prefer_direct` is given up where it is refused.
pub(super) fn open(path: &Path, access: Access, prefer_direct: bool) -> Result<Opened> {
    let place = place(path)?;
    // On a device O_EXCL refuses what is mounted, in use as swap, or held by another exclusive opener.
    let exclusive = place.number.filter(|_| access != Access::Read);
    if let Some(number) = exclusive {
        guard::unused(path, number)?;
    }
    let opened = open_place(path, &place, access, prefer_direct)?;
    if let Some(number) = exclusive {
        guard::writable(path, number)?;
        if access == Access::Write {
            guard::not_foreign(path, &FileReader::open(&place.node)?)?;
        }
    }
    Ok(opened)
}

fn open_place(path: &Path, place: &Place, access: Access, prefer_direct: bool) -> Result<Opened> {
    let failed = |source: io::Error| match (source.raw_os_error(), place.number) {
        (Some(libc::EBUSY), Some(number)) => {
            Error::Locked { path: path.to_owned(), holder: guard::opener(number) }
        }
        _ => Error::io("open", path, source),
    };
    let exclusive = place.number.is_some() && access != Access::Read;
    let mut flags = if exclusive { libc::O_EXCL } else { 0 };
    let direct = match prefer_direct {
        true => open_direct(&place.node, access, flags).map_err(failed)?,
        false => None,
    };
    let opened = match direct {
        Some(opened) => opened,
        None => {
            flags |= libc::O_CLOEXEC;
            let mut file = options(access).custom_flags(flags).open(&place.node).map_err(failed)?;
            let size_bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
            Opened { file, direct: false, alignment_bytes: SMALLEST_ALIGNMENT_BYTES, size_bytes }
        }
    };
    let found = opened.file.metadata().map_err(failed)?;
    let number = found.file_type().is_block_device().then(|| found.rdev());
    if number != place.number {
        let detail = "another device took its place while it was opened: try again".to_owned();
        return Err(Error::NoDevice { path: path.to_owned(), detail });
    }
    Ok(opened)
}

fn options(access: Access) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(access != Access::Read);
    options
}

/// `None` where direct I/O is refused, be it late.
fn open_direct(path: &Path, access: Access, flags: i32) -> io::Result<Option<Opened>> {
    let mut file = match options(access).custom_flags(flags | libc::O_DIRECT).open(path) {
        Ok(file) => file,
        Err(refused) if refused.raw_os_error() == Some(libc::EINVAL) => return Ok(None),
        Err(other) => return Err(other),
    };
    let size_bytes = file.seek(SeekFrom::End(0))?;
    let Some(told) = told_alignment(&file) else { return Ok(None) };
    for alignment_bytes in [told, told.max(FALLBACK_ALIGNMENT_BYTES)] {
        let mut probe = AlignedBuffer::zeroed(alignment_bytes as usize);
        match file.read_at(&mut probe, 0) {
            Err(refused) if refused.raw_os_error() == Some(libc::EINVAL) => {}
            // A medium error here says nothing about direct I/O; whoever needs that place will meet it.
            _ => return Ok(Some(Opened { file, direct: true, alignment_bytes, size_bytes })),
        }
    }
    Ok(None)
}

/// The unit of offsets and lengths for direct I/O; `None` where the kernel says that there is none.
fn told_alignment(file: &File) -> Option<u32> {
    let mut answer = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the descriptor is open for as long as `file` is borrowed, the path is an empty C string as
    // AT_EMPTY_PATH wants it, and `answer` has room for the one struct that the kernel fills.
    let failed = unsafe {
        let wanted = libc::STATX_DIOALIGN;
        libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, wanted, answer.as_mut_ptr()) != 0
    };
    if failed {
        return Some(FALLBACK_ALIGNMENT_BYTES);
    }
    // SAFETY: plain integers for which all zeros are valid, as it was made; the kernel only wrote integers.
    let answer = unsafe { answer.assume_init() };
    if answer.stx_mask & libc::STATX_DIOALIGN == 0 {
        return Some(FALLBACK_ALIGNMENT_BYTES);
    }
    let (memory, offset) = (answer.stx_dio_mem_align, answer.stx_dio_offset_align);
    let usable = offset.is_power_of_two() && memory as usize <= BUFFER_ALIGNMENT_BYTES;
    usable.then_some(offset.max(SMALLEST_ALIGNMENT_BYTES))
}
