//! What a block device must be before it is written to: nobody else's.
//!
//! | found | opened for writing | created on |
//! |---|---|---|
//! | mounted, active as swap, part of another device (LVM, RAID, device mapper), open exclusively | refused | refused |
//! | a partition whose primary table is damaged, or that does not begin on a physical sector | refused | refused |
//! | another program's signature | refused | refused without `force` |
//! | a partition that is not of the type Linux swap, or of a disk without GPT | as it is | refused without `force` |
//! | a partition of that type that systems may use by themselves | as it is | refused |
//! | a whole disk with a partition table | as it is | refused |
//! | another whole device | as it is | refused without `force` |
//!
//! The type is looked at when a volume is made; later the volume itself says whose the place is. O_EXCL is what keeps others out, and
//! is taken by who opens; what is looked up here tells who has it. Nothing is written here.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::sysfs::BlockDevice;
use super::{Partition, find, signature};
use crate::disk::ReadAt;
use crate::error::{Error, Result};

/// Refuses a device that the system uses: it may not even be tried for.
///
/// # Errors
/// [`Error::InUse`].
pub(crate) fn unused(path: &Path, number: u64) -> Result<()> {
    let device = BlockDevice::of(number).ok();
    // A whole disk is in use with any of its partitions, a partition with its disk.
    let parts = device.iter().flat_map(BlockDevice::partitions).filter_map(|part| part.number().ok());
    let user = [number].into_iter().chain(parts).find_map(|number| swap(number).or_else(|| mount(number)));
    let around = || {
        device
            .iter()
            .cloned()
            .chain(device.as_ref().and_then(BlockDevice::disk))
            .find_map(|device| held(&device))
    };
    let user = user.or_else(around);
    user.map_or(Ok(()), |by| Err(Error::InUse { path: path.to_owned(), by }))
}

/// Refuses a device that must not be written whatever is on it. Gives the partition that it is.
///
/// # Errors
/// [`Error::NotSafe`], [`Error::NoDevice`].
pub(crate) fn writable(path: &Path, number: u64) -> Result<Option<Partition>> {
    let Some(partition) = find::of_number(path, number)? else { return Ok(None) };
    let not_safe = |detail| Err(Error::NotSafe { path: path.to_owned(), detail });
    let disk = partition.disk.display();
    if let Some(damage) = &partition.damage {
        return not_safe(format!(
            "the partition table of {disk} is damaged in front ({damage}) and its backup stands in: it can be read, and is not written until \
             the front is rebuilt (`gdisk {disk}`, as docs/partitions.md says)"
        ));
    }
    if partition.misaligned_bytes != 0 {
        return not_safe(format!(
            "number {} on {disk} does not begin on a physical sector (of {} bytes): a power cut could tear what stands before it; make the \
             partition anew on a boundary of 1 MiB",
            partition.number, partition.physical_sector_bytes
        ));
    }
    Ok(Some(partition))
}

/// Refuses a device on which another program has written over what stood there. What cannot be read refuses nothing.
///
/// # Errors
/// [`Error::NotSafe`].
pub(crate) fn not_foreign(path: &Path, disk: &dyn ReadAt) -> Result<()> {
    let name = match signature::foreign(disk) {
        Ok(None) => return Ok(()),
        Ok(Some(name)) => name,
        // A volume lasts when its begin is lost. Whether it is one is found out by who opens it.
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot see whether another program has written here");
            return Ok(());
        }
    };
    let detail = format!(
        "it carries a signature of {name}: another program has taken it. If that was by mistake, take the signature away with `wipefs` \
         (after a copy of the first MiB) and open it again: what it did not overwrite is found"
    );
    Err(Error::NotSafe { path: path.to_owned(), detail })
}

/// Refuses a device that is not meant for a volume. `partition`: what [`writable`] gave.
///
/// # Errors
/// [`Error::NotSafe`], [`Error::Io`].
pub(crate) fn meant(path: &Path, number: u64, partition: Option<&Partition>, force: bool) -> Result<()> {
    let not_safe = |detail| Err(Error::NotSafe { path: path.to_owned(), detail });
    let Some(partition) = partition else {
        if find::has_table(number).map_err(|detail| Error::NoDevice { path: path.to_owned(), detail })? {
            return not_safe(
                "a whole disk with a partition table: name one of its partitions (`lsblk -o +PARTUUID`)"
                    .to_owned(),
            );
        }
        if force {
            return Ok(());
        }
        return not_safe(
            "it is no partition of a GPT, so nothing says what it is for: make one of type Linux swap, or give --force".to_owned(),
        );
    };
    let (slot, disk) = (partition.number, partition.disk.display());
    if partition.is_swap_type() && !partition.is_no_auto() {
        return not_safe(format!(
            "systems may swap to number {slot} on {disk} by themselves: `sgdisk --attributes={slot}:set:63 {disk}` forbids it"
        ));
    }
    if !partition.is_swap_type() && !force {
        return not_safe(format!(
            "number {slot} on {disk} is not of the type Linux swap, so it may be meant for something else: \
             `sgdisk --typecode={slot}:8200 {disk}`, or give --force"
        ));
    }
    Ok(())
}

/// The name of what another program has written here; refused without `force`.
///
/// # Errors
/// [`Error::NotSafe`], [`Error::Io`].
pub(crate) fn empty(path: &Path, disk: &dyn ReadAt, force: bool) -> Result<()> {
    let found = signature::foreign(disk).map_err(|source| Error::io("read the begin of", path, source))?;
    match found {
        Some(name) if !force => {
            let detail = format!(
                "it carries a signature of {name}: look what it is, and give --force to overwrite it"
            );
            Err(Error::NotSafe { path: path.to_owned(), detail })
        }
        _ => Ok(()),
    }
}

/// How far behind the end of a volume another program's begin is looked for, in bytes.
const NEIGHBOUR_BYTES: u64 = 16 << 20;
/// Where partitions begin.
const PARTITIONS_UNIT: usize = 1 << 20;

/// Refuses space from here on that another program has written to, without `force`: it was a partition of its own a moment ago, and may
/// not have been meant to go.
///
/// # Errors
/// [`Error::NotSafe`], [`Error::Io`].
pub(crate) fn empty_from(path: &Path, disk: &dyn ReadAt, from: u64, force: bool) -> Result<()> {
    if force {
        return Ok(());
    }
    let end = disk.size_bytes().min(from.saturating_add(NEIGHBOUR_BYTES));
    // A volume's end need not stand where a partition can begin.
    let unit = PARTITIONS_UNIT as u64;
    let places = [from].into_iter().chain((from.next_multiple_of(unit)..end).step_by(PARTITIONS_UNIT));
    for at in places.filter(|at| *at < end) {
        let found = signature::begins(disk, at)
            .map_err(|source| Error::io("read what lies behind the volume on", path, source))?;
        if let Some(name) = found {
            let detail = format!(
                "the space behind the volume, {at} bytes from its begin, carries a signature of {name}: look what it is, and give --force to take \
                 it in and lose it"
            );
            return Err(Error::NotSafe { path: path.to_owned(), detail });
        }
    }
    Ok(())
}

fn is_device(path: &Path, number: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device() && found.rdev() == number)
}

/// proc(5): the first column is a path, in which white space stands as octal numbers.
fn swap(number: u64) -> Option<String> {
    let text = std::fs::read_to_string("/proc/swaps").ok()?;
    let mut paths = text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescaped);
    let found = paths.find(|path| is_device(path, number))?;
    Some(format!("it is active as swap (`swapoff {}`)", found.display()))
}

/// proc(5): the third field is the device; filesystems of several devices have a number of their own there and a path as source.
fn mount(number: u64) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let shown = format!("{}:{}", major(number), minor(number));
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let source = fields.iter().position(|field| *field == "-").and_then(|dash| fields.get(dash + 2));
        let mine = fields.get(2) == Some(&shown.as_str())
            || source.is_some_and(|source| source.starts_with('/') && is_device(&unescaped(source), number));
        let point = unescaped(fields.get(4)?);
        mine.then(|| format!("it is mounted at {} (`umount`)", point.display()))
    })
}

/// Devices that are made of this one.
fn held(device: &BlockDevice) -> Option<String> {
    let (name, holders) = (device.node(), device.holders());
    let by = || format!("{} is part of {} (LVM, RAID or device mapper)", name.display(), holders.join(", "));
    (!holders.is_empty()).then(by)
}

/// `\040` and the like are bytes.
fn unescaped(text: &str) -> PathBuf {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| behind.get(..3)).flatten();
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = behind.get(if octal.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Who has a device open exclusively, as ` by process N (name)`: one that holds our lock on it, else one that may write to it.
pub(crate) fn opener(number: u64) -> String {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found =
        numbered.filter_map(|process| descriptor(process, number).map(|locked| (locked, process))).max();
    let Some((_, process)) = found else {
        return ", by a process that cannot be looked into, or the kernel".to_owned();
    };
    match std::fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) => format!(" by process {process} ({})", name.trim_end()),
        Err(_) => format!(" by process {process}"),
    }
}

/// Whether a process has the device open for writing: `Some(true)` with a lock on it.
fn descriptor(process: u32, number: u64) -> Option<bool> {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten();
    // Only what lies there is looked at closer: a file on a server that is gone would keep us waiting.
    let near =
        descriptors.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.starts_with("/dev")));
    let mine = near.filter(|entry| is_device(&entry.path(), number));
    mine.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let told = std::fs::read_to_string(format!("/proc/{process}/fdinfo/{name}")).ok()?;
        // open(2): the two lowest bits of the flags, which are octal here, are 0 where it is open for reading alone.
        let flags = told.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
        let writes = u32::from_str_radix(flags, 8).is_ok_and(|flags| flags & 3 != 0);
        writes.then(|| told.lines().any(|line| line.starts_with("lock:") && line.contains("OFDLCK")))
    })
    .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device whose begin cannot be read.
    struct Bad;

    impl ReadAt for Bad {
        fn size_bytes(&self) -> u64 {
            1 << 20
        }

        fn read_exact_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
            Err(nix::errno::Errno::EIO.into())
        }
    }

    #[test]
    fn a_begin_that_cannot_be_read_keeps_nobody_from_a_volume_and_lets_nobody_make_one() {
        assert!(not_foreign(Path::new("/dev/bad"), &Bad).is_ok());
        assert!(empty(Path::new("/dev/bad"), &Bad, true).is_err());
    }

    #[test]
    fn white_space_in_paths_of_proc_is_read() {
        for (text, path) in
            [("/a\\040b\\011", "/a b\t"), ("/plain", "/plain"), ("\\", "\\"), ("/x\\99", "/x\\99")]
        {
            assert_eq!(unescaped(text), Path::new(path));
        }
    }
}
