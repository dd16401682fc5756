//! What the kernel says of its block devices, in `/sys/class/block` (Documentation/ABI/stable/sysfs-block of the kernel).
//!
//! `start` and `size` count units of 512 bytes there, whatever the sectors of the disk. A device may go at any moment: every answer may
//! be an error, none is remembered. What must not live here: what stands on a device.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, makedev, minor};

const CLASS: &str = "/sys/class/block";
/// The unit of `start` and `size`.
const UNIT_BYTES: u64 = 512;

/// A disk or a partition, as the kernel names it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockDevice {
    name: String,
    folder: PathBuf,
}

impl BlockDevice {
    fn new(folder: &Path) -> Option<BlockDevice> {
        let name = folder.file_name()?.to_str()?.to_owned();
        Some(BlockDevice { name, folder: folder.to_owned() })
    }

    /// All disks with something in them; not their partitions.
    pub(super) fn disks() -> io::Result<Vec<BlockDevice>> {
        let folders = std::fs::read_dir(CLASS)?.flatten().map(|entry| entry.path());
        let devices = folders.filter_map(|folder| BlockDevice::new(&folder));
        let mut disks: Vec<BlockDevice> = devices
            .filter(|device| {
                device.partition_number().is_none() && device.size_bytes().is_ok_and(|size| size > 0)
            })
            .collect();
        disks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(disks)
    }

    /// The device of this number.
    pub(super) fn of(number: u64) -> io::Result<BlockDevice> {
        let link = format!("/sys/dev/block/{}:{}", major(number), minor(number));
        BlockDevice::new(&std::fs::canonicalize(link)?).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn text(&self, what: &str) -> io::Result<String> {
        Ok(std::fs::read_to_string(self.folder.join(what))?.trim().to_owned())
    }

    fn number_of(&self, what: &str) -> io::Result<u64> {
        self.text(what)?.parse().map_err(io::Error::other)
    }

    /// What tells it from any other one that had its name before, where the kernel counts them.
    pub(super) fn sequence(&self) -> String {
        format!("{} {}", self.name, self.text("diskseq").or_else(|_| self.text("dev")).unwrap_or_default())
    }

    /// What people and errors call it.
    pub(super) fn node(&self) -> PathBuf {
        // A name with a slash has an exclamation mark here.
        Path::new("/dev").join(self.name.replace('!', "/"))
    }

    /// Its device number.
    pub(super) fn number(&self) -> io::Result<u64> {
        let text = self.text("dev")?;
        let parts =
            text.split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        parts
            .map(|(major, minor)| makedev(major, minor))
            .ok_or_else(|| io::Error::other(format!("dev is {text:?}")))
    }

    /// Its node, which is this very device.
    ///
    /// # Errors
    /// What is there instead, and what to do.
    pub(super) fn checked_node(&self) -> Result<(PathBuf, u64), String> {
        let node = self.node();
        let shown = node.display();
        let number = self.number().map_err(|error| format!("the kernel no longer has {shown} ({error})"))?;
        let make = format!("mknod {shown} b {} {}", major(number), minor(number));
        match std::fs::metadata(&node) {
            Ok(found) if found.file_type().is_block_device() && found.rdev() == number => Ok((node, number)),
            Ok(_) => {
                Err(format!("{shown} is another device than the kernel's of that name: `rm {shown}; {make}`"))
            }
            Err(error) => Err(format!("there is no node {shown} ({error}): `{make}`, or start udev")),
        }
    }

    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.number_of("size")?.saturating_mul(UNIT_BYTES))
    }

    /// Where a partition begins on its disk.
    pub(super) fn start_bytes(&self) -> io::Result<u64> {
        Ok(self.number_of("start")?.saturating_mul(UNIT_BYTES))
    }

    /// A partition's number on its disk; `None` for a disk.
    pub(super) fn partition_number(&self) -> Option<u32> {
        self.text("partition").ok()?.parse().ok()
    }

    /// The disk of a partition, which stands around it.
    pub(super) fn disk(&self) -> Option<BlockDevice> {
        self.partition_number()?;
        BlockDevice::new(std::fs::canonicalize(&self.folder).ok()?.parent()?)
    }

    /// A disk's partitions.
    pub(super) fn partitions(&self) -> Vec<BlockDevice> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let inside = entries.filter_map(|entry| BlockDevice::new(&entry.path()));
        inside.filter(|device| device.partition_number().is_some()).collect()
    }

    /// The names of the devices that are made of this one: LVM, device mapper, md.
    pub(super) fn holders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join("holders")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// The unit in which a disk is addressed.
    pub(super) fn logical_sector_bytes(&self) -> io::Result<u32> {
        self.number_of("queue/logical_block_size")?.try_into().map_err(io::Error::other)
    }

    /// The unit in which a disk writes.
    pub(super) fn physical_sector_bytes(&self) -> io::Result<u32> {
        self.number_of("queue/physical_block_size")?.try_into().map_err(io::Error::other)
    }

    /// How far a partition begins behind the begin of a physical sector.
    pub(super) fn misaligned_bytes(&self, physical_sector_bytes: u32) -> io::Result<u64> {
        // The kernel's own reckoning knows of disks whose first physical sector begins before them; -1 is what it cannot reckon.
        let told = self.text("alignment_offset")?.parse::<i64>().map_err(io::Error::other)?;
        let shifted =
            self.disk().is_some_and(|disk| disk.text("alignment_offset").is_ok_and(|offset| offset != "0"));
        let reckoned = self.start_bytes()? % u64::from(physical_sector_bytes.max(1));
        Ok(misalignment(told, shifted, reckoned))
    }
}

/// By what the kernel told, unless only the start is to be gone by.
fn misalignment(told: i64, shifted: bool, reckoned: u64) -> u64 {
    match told {
        0 if shifted => 0,
        0 => reckoned,
        told => told.unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_aligned_by_the_kernels_word_where_the_disk_is_shifted_and_by_its_start_else() {
        let cases = [
            (0, false, 0, 0),
            (0, false, 512, 512),
            (0, true, 3584, 0),
            (512, true, 0, 512),
            (3584, false, 512, 3584),
            (-1, false, 0, 1),
        ];
        for (told, shifted, reckoned, misaligned) in cases {
            assert_eq!(misalignment(told, shifted, reckoned), misaligned, "{told} {shifted} {reckoned}");
        }
    }

    #[test]
    fn what_is_made_of_a_device_is_read_by_name_also_where_nothing_is() {
        let folder = tempfile::tempdir().unwrap();
        let device = BlockDevice::new(folder.path()).unwrap();
        assert!(device.holders().is_empty());
        std::fs::create_dir_all(folder.path().join("holders/dm-7")).unwrap();
        assert_eq!(device.holders(), ["dm-7"]);
    }

    #[test]
    fn a_device_that_goes_while_it_is_asked_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let device = BlockDevice::new(folder.path()).unwrap();
        drop(folder);
        assert!(device.number().is_err() && device.size_bytes().is_err() && device.start_bytes().is_err());
        assert!(device.checked_node().is_err() && device.disk().is_none() && device.partitions().is_empty());
    }

    #[test]
    fn disks_are_told_from_their_partitions() {
        for disk in BlockDevice::disks().unwrap() {
            assert!(disk.partition_number().is_none() && disk.disk().is_none(), "{disk:?}");
        }
    }
}
