//! Opening a file or block device for I/O past the page cache, as far as it lets us.
//!
//! Direct I/O keeps recording from pushing everybody else's pages out of memory and makes a write's completion
//! mean what it says. Some filesystems refuse it at opening, some only at the first read, and each has an
//! alignment of its own: all of that is found out here, so that nothing above has to ask.

#![expect(unsafe_code, reason = "statx has no safe wrapper that tells the alignment of direct I/O")]

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

use super::buffer::{AlignedBuffer, BUFFER_ALIGNMENT_BYTES};
use crate::error::{Error, Result};

/// Where the kernel does not tell: the page, which every filesystem accepts.
const FALLBACK_ALIGNMENT_BYTES: u32 = 4096;
/// What a sector is to everybody above; finer alignments (some devices allow 4 bytes) are of no use.
const SMALLEST_ALIGNMENT_BYTES: u32 = 512;

/// The kernel does not tell who has a device exclusively.
const DEVICE_HOLDER: &str = ", mounted, or active as swap";

/// What for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Access {
    Read,
    Write,
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

/// Opens an existing file or block device; `prefer_direct` is given up where it is refused.
pub(super) fn open(path: &Path, access: Access, prefer_direct: bool) -> Result<Opened> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(libc::EBUSY) => Error::Locked { path: path.to_owned(), holder: DEVICE_HOLDER.to_owned() },
        _ => Error::io("open", path, source),
    };
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Error::Invalid(format!("{}: neither a file nor a block device", path.display())));
    }
    // On a device O_EXCL refuses what is mounted, in use as swap, or held by another exclusive opener.
    let exclusive = kind.is_block_device() && access == Access::Write;
    let mut flags = if exclusive { libc::O_EXCL } else { 0 };
    if prefer_direct && let Some(opened) = open_direct(path, access, flags).map_err(failed)? {
        return Ok(opened);
    }
    flags |= libc::O_CLOEXEC;
    let mut file = options(access).custom_flags(flags).open(path).map_err(failed)?;
    let size_bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
    Ok(Opened { file, direct: false, alignment_bytes: SMALLEST_ALIGNMENT_BYTES, size_bytes })
}

fn options(access: Access) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Write);
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
