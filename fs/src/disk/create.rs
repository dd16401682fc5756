//! Making the file that a volume will live in: all of its space is taken before the first byte is recorded, so
//! recording never meets a full filesystem.
//!
//! What cannot be finished leaves nothing behind. What must not live here: anything written into the volume.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate, posix_fallocate};
use nix::libc;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::buffer::AlignedBuffer;
use crate::error::{Error, Result};

/// Zeros are written in parts of this size.
const PREWRITE_BYTES: usize = 4 << 20;

/// Creates `path` with `size_bytes` of reserved space, durably, and closes it again.
///
/// A filesystem that copies on write is asked to write this file in place: what is overwritten over and over would be spread
/// over all of it otherwise, and its checksums are a second set.
///
/// The space reads as zeros. With `prewrite` the zeros are written too: it takes the time of writing the whole
/// file, and later writes are faster (no extents to convert). `progress` gets the bytes done and the bytes in
/// all; a `Break` ends the matter.
///
/// # Errors
/// [`Error::Exists`] for what is there already, whatever it is; [`Error::Io`] with
/// [`io::ErrorKind::StorageFull`] where the filesystem has too little room, with
/// [`io::ErrorKind::Interrupted`] after a `Break`. No file is left behind.
pub fn create_file(
    path: impl AsRef<Path>,
    size_bytes: u64,
    prewrite: bool,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<()> {
    let path = path.as_ref();
    let length = libc::off_t::try_from(size_bytes).unwrap_or(0);
    if length == 0 {
        return Err(Error::Invalid(format!("{}: cannot have a size of {size_bytes} bytes", path.display())));
    }
    // Footage is nobody's business but its owner's and the group's.
    let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path);
    let file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::io("create", path, source),
    })?;
    let unfinished = Unfinished(Some(path));
    write_in_place(&file, path);
    reserve(&file, length)
        .map_err(|source| Error::io("reserve space", path, explain(source, path, size_bytes)))?;
    if prewrite {
        write_zeros(&file, path, size_bytes, progress)
            .map_err(|source| Error::io("write zeros", path, explain(source, path, size_bytes)))?;
    }
    file.sync_all().map_err(|source| Error::io("flush", path, source))?;
    sync_parent(path).map_err(|source| Error::io("flush the folder of", path, source))?;
    unfinished.keep();
    Ok(())
}

/// Makes an existing file `size_bytes` long, never shorter, with all of its space reserved as [`create_file`] does it, durably. A file
/// that copies on write is written in place if it was created so.
///
/// # Errors
/// [`Error::Io`], as [`create_file`]; the file is as long as it was then.
pub(crate) fn extend_file(path: &Path, size_bytes: u64) -> Result<()> {
    let failed = |source| Error::io("make larger", path, explain(source, path, size_bytes));
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    let before = file.metadata().map_err(failed)?.len();
    let length = libc::off_t::try_from(size_bytes).map_err(|_| {
        Error::Invalid(format!("{}: cannot have a size of {size_bytes} bytes", path.display()))
    })?;
    let reserved = reserve(&file, length).and_then(|()| file.sync_all());
    reserved
        .inspect_err(|_| {
            // Of what was reserved before there was no more. That it stays is the lesser error.
            let _longer = file.set_len(before);
        })
        .map_err(failed)
}

/// Removes the file unless told to keep it.
struct Unfinished<'a>(Option<&'a Path>);

impl Unfinished<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove the unfinished file");
        }
    }
}

/// Asks for it while the file is empty: later it is too late. Filesystems that write in place anyway know no such thing.
fn write_in_place(file: &File, path: &Path) {
    let asked = ioctl_getflags(file).and_then(|flags| ioctl_setflags(file, flags | IFlags::NOCOW));
    match asked {
        Ok(()) => tracing::debug!(path = %path.display(), "written in place: without copy on write"),
        Err(error) => tracing::debug!(path = %path.display(), %error, "no need to ask for writing in place"),
    }
}

fn reserve(file: &File, length: libc::off_t) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Err(Errno::EINTR) => {}
            // Filesystems without reservation: the C library then writes a byte to each of its blocks.
            Err(Errno::EOPNOTSUPP) => return Ok(posix_fallocate(file, 0, length)?),
            other => return Ok(other?),
        }
    }
}

pub(super) fn write_zeros(
    file: &File,
    path: &Path,
    size_bytes: u64,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> io::Result<()> {
    // A second opening past the page cache, where that goes: terabytes of zeros would push everything else out.
    let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).ok();
    let zeros = AlignedBuffer::zeroed(PREWRITE_BYTES);
    let mut done = 0;
    while done < size_bytes {
        if progress(done, size_bytes).is_break() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped on request"));
        }
        let count = usize::try_from(size_bytes - done).unwrap_or(PREWRITE_BYTES).min(PREWRITE_BYTES);
        let part = zeros.get(..count).unwrap_or_default();
        let written = direct.as_ref().is_some_and(|direct| direct.write_all_at(part, done).is_ok());
        if !written {
            // Direct I/O refuses the odd end of a file; and a true error shows here as well.
            file.write_all_at(part, done)?;
        }
        done += count as u64;
    }
    let _nothing_left_to_stop = progress(size_bytes, size_bytes);
    Ok(())
}

/// Puts numbers to "no space left".
fn explain(source: io::Error, path: &Path, size_bytes: u64) -> io::Error {
    if source.raw_os_error() == Some(libc::EFBIG) {
        let text = format!("this filesystem has no files as large as {size_bytes} bytes");
        return io::Error::new(io::ErrorKind::FileTooLarge, text);
    }
    if source.kind() != io::ErrorKind::StorageFull {
        return source;
    }
    let free = nix::sys::statvfs::statvfs(folder_of(path))
        .map(|told| told.blocks_available().saturating_mul(told.fragment_size()));
    let text = match free {
        Ok(free) => format!("{size_bytes} bytes needed, about {free} bytes free on this filesystem"),
        Err(_) => format!("{size_bytes} bytes needed, too little is free on this filesystem"),
    };
    io::Error::new(io::ErrorKind::StorageFull, text)
}

/// Makes the file's name durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testing::{Mounted, scratch};

    fn quiet(_done: u64, _all: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn all_the_space_is_taken_and_reads_as_zeros() {
        use std::os::unix::fs::MetadataExt;
        let folder = scratch();
        let path = folder.path().join("volume");
        create_file(&path, (8 << 20) + 512, false, &mut quiet).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), (8 << 20) + 512);
        assert!(metadata.blocks() * 512 >= 8 << 20);
        assert!(std::fs::read(&path).unwrap().iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_filesystem_that_copies_on_write_is_asked_to_write_in_place() {
        let folder = scratch();
        let image = folder.path().join("btrfs");
        File::create(&image).unwrap().set_len(256 << 20).unwrap();
        let Some(btrfs) = Mounted::formatted("btrfs", &image) else { return };
        let path = btrfs.path().join("volume");
        for (size, prewrite) in [(16 << 20, false), (8 << 20, true)] {
            create_file(&path, size, prewrite, &mut quiet).unwrap();
            let flags = ioctl_getflags(File::open(&path).unwrap()).unwrap();
            assert!(flags.contains(IFlags::NOCOW), "{flags:?}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn nothing_that_exists_is_touched() {
        let folder = scratch();
        let path = folder.path().join("volume");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(create_file(&path, 4096, false, &mut quiet), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let dangling = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &dangling).unwrap();
        assert!(matches!(create_file(&dangling, 4096, false, &mut quiet), Err(Error::Exists { .. })));
        assert!(matches!(create_file(folder.path(), 4096, false, &mut quiet), Err(Error::Exists { .. })));
    }

    #[test]
    fn prewriting_reports_its_progress_to_the_end_also_for_odd_sizes() {
        let folder = scratch();
        let path = folder.path().join("volume");
        let size = (9 << 20) + 100;
        let mut seen = Vec::new();
        let mut watch = |done, all| {
            seen.push((done, all));
            ControlFlow::Continue(())
        };
        create_file(&path, size, true, &mut watch).unwrap();
        assert!(seen.is_sorted());
        assert_eq!((seen.first(), seen.last()), (Some(&(0, size)), Some(&(size, size))));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
    }

    #[test]
    fn stopping_on_request_leaves_no_file() {
        let folder = scratch();
        let path = folder.path().join("volume");
        let stopped = create_file(&path, 16 << 20, true, &mut |done, _| match done {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        assert!(
            matches!(stopped, Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::Interrupted)
        );
        assert!(!path.exists());
    }

    #[test]
    fn too_little_room_is_said_in_numbers_and_leaves_no_file() {
        let Some(small) = Mounted::new("tmpfs", "size=4m") else { return };
        let path = small.path().join("volume");
        let refused = create_file(&path, 64 << 20, false, &mut quiet).unwrap_err();
        assert!(refused.to_string().contains("67108864 bytes needed, about "), "{refused}");
        assert!(matches!(refused, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
        assert!(!path.exists());
    }

    #[test]
    fn impossible_sizes_and_places_are_refused() {
        let folder = scratch();
        let path = folder.path().join("volume");
        for size in [0, u64::MAX] {
            assert!(matches!(create_file(&path, size, false, &mut quiet), Err(Error::Invalid(_))));
        }
        let nowhere = folder.path().join("no/such/folder");
        assert!(matches!(create_file(nowhere, 4096, false, &mut quiet), Err(Error::Io { .. })));
        assert!(create_file(&path, 1 << 62, false, &mut quiet).is_err());
        assert!(!path.exists());
    }
}
