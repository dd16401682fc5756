//! From an identity, or a node, to a partition on which its disk's table and the kernel agree.
//!
//! By an identity all disks are asked, each on a thread of its own (`survey`): neither opening a node nor reading a table is done where
//! whoever opens a volume waits for it. What is asked of the kernel in `/sys` needs no disk.
//!
//! What must not live here: parsing (`table`), and whether it may be written (`guard`).

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use uuid::Uuid;

use super::Partition;
use super::survey::{Askers, Patience};
use super::sysfs::BlockDevice;
use super::table::{Entry, Flaw, Table};
use crate::disk::{FileReader, ReadAt};
use crate::error::{Error, Result};

/// How long disks are waited for: to spin up; and where the partition is found, so that a clone of it is noticed.
const PATIENCE: Patience =
    Patience { until_found: Duration::from_secs(15), once_found: Duration::from_secs(1) };

/// Those who wait for disks, in this process.
static ASKERS: LazyLock<Askers<Result<(Table, u32), String>>> = LazyLock::new(Askers::default);

/// An entry, and the disk whose table has it.
struct Found {
    disk: BlockDevice,
    sector_bytes: u32,
    damage: Option<String>,
    entry: Entry,
}

/// What was read of the disks there are.
#[derive(Default)]
struct Survey {
    /// Disks whose table was read, or that have none.
    read: Vec<String>,
    /// The others, each with the reason.
    unread: Vec<String>,
    /// Those of them that do not answer.
    silent: Vec<String>,
    found: Vec<Found>,
}

/// The partition of this identity; `path` is for errors.
pub(super) fn by_id(path: &Path, id: Uuid) -> Result<Partition> {
    let disks =
        BlockDevice::disks().map_err(|source| Error::io("list the disks in /sys for", path, source))?;
    let mut survey = Survey::of(disks, id);
    let silent = survey.silent.join(", ");
    let no_device = |detail| Error::NoDevice { path: path.to_owned(), detail };
    let mut found = survey.found.drain(..);
    match (found.next(), found.next()) {
        (None, _) => {
            drop(found);
            Err(no_device(survey.nothing()))
        }
        (Some(only), None) => {
            if !silent.is_empty() {
                let path = path.display();
                tracing::warn!(
                    "{path}: taken, though it is not known whether {silent} has the same identity, which does not answer"
                );
            }
            only.agreed().map_err(no_device)
        }
        (Some(one), Some(other)) => {
            let all = [one, other].into_iter().chain(found);
            let places =
                all.map(|found| format!("{}, number {}", found.disk.node().display(), found.entry.number));
            let places = places.collect::<Vec<_>>().join("; ");
            Err(no_device(format!(
                "several partitions have this identity ({places}), as a cloned disk has: unplug one of the disks, or give its partition \
                 a new identity (`sgdisk --partition-guid=NUMBER:R DISK`)"
            )))
        }
    }
}

/// The partition of this node; `None` if it is none, or its disk has no GPT.
pub(super) fn by_node(path: &Path) -> Result<Option<Partition>> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(None) };
    if !metadata.file_type().is_block_device() {
        return Ok(None);
    }
    of_number(path, metadata.rdev())
}

/// The partition that is the device of this number; `path` is for errors.
pub(super) fn of_number(path: &Path, number: u64) -> Result<Option<Partition>> {
    // A device that /sys does not know is no partition of a disk.
    let Ok(device) = BlockDevice::of(number) else { return Ok(None) };
    let (Some(disk), Some(slot)) = (device.disk(), device.partition_number()) else { return Ok(None) };
    let (table, sector_bytes) = table_of(&disk).map_err(|why| Error::NoDevice {
        path: path.to_owned(),
        detail: format!("the partition table of its disk cannot be read: {why}"),
    })?;
    if !table.is_there() {
        return Ok(None);
    }
    let entry = table.entries().iter().find(|entry| entry.number == slot).cloned();
    let detail = match entry {
        Some(entry) => {
            let found = Found { damage: table.damage(), disk, sector_bytes, entry };
            match found.agreed() {
                Ok(partition) => return Ok(Some(partition)),
                Err(why) => why,
            }
        }
        None => format!(
            "the kernel has a number {slot} on {0}, its table has none: `partx -u {0}` makes the kernel read the table again",
            disk.node().display()
        ),
    };
    Err(Error::NoDevice { path: path.to_owned(), detail })
}

/// Whether a whole disk carries a GPT, be it damaged.
pub(super) fn has_table(number: u64) -> Result<bool, String> {
    let Ok(device) = BlockDevice::of(number) else { return Ok(false) };
    if device.disk().is_some() {
        return Ok(false);
    }
    Ok(table_of(&device)?.0.is_there())
}

/// A disk's table, and its logical sectors.
fn table_of(disk: &BlockDevice) -> Result<(Table, u32), String> {
    let (node, _) = disk.checked_node()?;
    let sector_bytes = disk.logical_sector_bytes().map_err(|error| format!("{}: {error}", node.display()))?;
    let reader = FileReader::open(&node).map_err(|error| error.to_string())?;
    // Only what it is at this moment counts: a disk without medium opens, and has no size.
    if reader.size_bytes() == 0 {
        return Err(format!("{}: it has no medium", node.display()));
    }
    Ok((Table::read(&reader, sector_bytes), sector_bytes))
}

impl Survey {
    /// What the disks there are say of an identity.
    fn of(disks: Vec<BlockDevice>, id: Uuid) -> Survey {
        let mut survey = Survey::default();
        let mut asked = Vec::with_capacity(disks.len());
        for disk in disks {
            let holders = disk.holders();
            match holders.is_empty() {
                true => asked.push((disk.sequence(), disk)),
                false => {
                    let name = disk.node().display().to_string();
                    survey.unread.push(format!("{name}: it is part of {}", holders.join(", ")));
                }
            }
        }
        let has_it = |answer: &Result<(Table, u32), String>| {
            answer.as_ref().is_ok_and(|(table, _)| table.entries().iter().any(|entry| entry.id == id))
        };
        let answers = ASKERS.ask(&asked, table_of, has_it, PATIENCE);
        for ((_, disk), answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok(answer) => survey.read(disk, answer, id),
                Err(why) => {
                    let name = disk.node().display().to_string();
                    survey.unread.push(format!("{name}: {why}"));
                    survey.silent.push(name);
                }
            }
        }
        survey
    }

    fn read(&mut self, disk: BlockDevice, answer: Result<(Table, u32), String>, id: Uuid) {
        let name = disk.node().display().to_string();
        let (table, sector_bytes) = match answer {
            Ok(read) => read,
            Err(why) => return self.unread.push(why),
        };
        let mine = table.entries().iter().filter(|entry| entry.id == id);
        self.found.extend(mine.map(|entry| Found {
            disk: disk.clone(),
            sector_bytes,
            damage: table.damage(),
            entry: entry.clone(),
        }));
        match (&table.primary, &table.backup) {
            (Err(Flaw::Damaged(why)), Err(_)) | (Err(_), Err(Flaw::Damaged(why))) => {
                self.unread.push(format!("{name}: no copy of its partition table is whole: {why}"));
            }
            _ => self.read.push(name),
        }
    }

    /// Where it was looked for.
    fn nothing(&self) -> String {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let mut text = format!("no disk has this partition; disks read: {}", list(&self.read));
        if !self.unread.is_empty() {
            text.push_str(&format!("; not read: {}", self.unread.join("; ")));
        }
        text + "; plug the disk in, or see `lsblk -o +PARTUUID` for what there is"
    }
}

impl Found {
    /// The kernel's partition of that number, start and size, and its node.
    ///
    /// # Errors
    /// What they do not agree on, and what to do.
    fn agreed(self) -> Result<Partition, String> {
        let Found { disk, sector_bytes, damage, entry } = self;
        let shown = disk.node();
        let shown = shown.display();
        let number = entry.number;
        let known = disk.partitions().into_iter().find(|device| device.partition_number() == Some(number));
        let device = known.ok_or_else(|| {
            format!("it is number {number} on {shown}, but the kernel has no such partition: `partx -a --nr {number} {shown}`")
        })?;
        let gone = |error: std::io::Error| {
            format!("number {number} on {shown} is gone while it was looked at: {error}")
        };
        let kernel = (device.start_bytes().map_err(gone)?, device.size_bytes().map_err(gone)?);
        if kernel != (entry.start_bytes, entry.size_bytes) {
            return Err(format!(
                "the table has number {number} on {shown} at byte {} with {} bytes, the kernel at {} with {}: `partx -u {shown}` \
                 makes the kernel read the table again",
                entry.start_bytes, entry.size_bytes, kernel.0, kernel.1
            ));
        }
        let (node, device_number) = device.checked_node()?;
        let physical_sector_bytes = disk.physical_sector_bytes().map_err(gone)?;
        Ok(Partition {
            id: entry.id,
            type_id: entry.type_id,
            attributes: entry.attributes,
            number,
            disk: disk.node(),
            device: node,
            start_bytes: entry.start_bytes,
            size_bytes: entry.size_bytes,
            logical_sector_bytes: sector_bytes,
            physical_sector_bytes,
            misaligned_bytes: device.misaligned_bytes(physical_sector_bytes).map_err(gone)?,
            damage,
            device_number,
        })
    }
}
