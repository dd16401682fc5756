//! Reading a GPT: both copies, each by itself, from anything that can be read.
//!
//! The crate `gpt` parses. What it is given is bounded first, as it allocates and loops by what a header says: a table has at most
//! [`ENTRIES_MAX`] entries of 128 bytes, inside the disk, and a header stands where it says that it does. The device that it reads from
//! ([`Window`]) hides the other copy, so that it cannot mix the two, and refuses writes.
//!
//! Layout: UEFI specification 2.10, 5.3.2 (header) and 5.3.3 (entries). What must not live here: which devices there are.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use uuid::Uuid;

use crate::disk::ReadAt;

/// A table usually has 128; some tools write more. 128 KiB at most.
const ENTRIES_MAX: u32 = 1024;
/// The only size of an entry that is in use.
const ENTRY_BYTES: u32 = 128;
/// What is read at once.
const PIECE_BYTES: u64 = 4096;
/// What a header must begin with.
const MAGIC: [u8; 8] = *b"EFI PART";
/// The part of a header that has a meaning.
const HEADER_BYTES: usize = 92;

/// Where a header says of itself that it stands; where its entries begin; how many there are; how large each is.
const MY_LBA_AT: usize = 24;
const ENTRIES_LBA_AT: usize = 72;
const ENTRIES_AT: usize = 80;
const ENTRY_BYTES_AT: usize = 84;

/// An entry that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// From 1.
    pub(super) number: u32,
    pub(super) id: Uuid,
    pub(super) type_id: Uuid,
    pub(super) attributes: u64,
    pub(super) start_bytes: u64,
    pub(super) size_bytes: u64,
}

/// Why there are no entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// No header stands there.
    Absent,
    /// One does, and it does not verify, makes no sense, or cannot be read.
    Damaged(String),
}

/// What a disk says of its partitions.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) primary: Result<Vec<Entry>, Flaw>,
    pub(super) backup: Result<Vec<Entry>, Flaw>,
}

impl Table {
    /// Reads both copies. `sector_bytes`: the disk's logical sectors.
    pub(super) fn read(disk: &dyn ReadAt, sector_bytes: u32) -> Table {
        let last = (disk.size_bytes() / u64::from(sector_bytes)).saturating_sub(1);
        let absent = || Err(Flaw::Absent);
        let (Some(unit), true) = (unit(sector_bytes), last > 2) else {
            return Table { primary: absent(), backup: absent() };
        };
        Table { primary: copy(disk, unit, 1, last), backup: copy(disk, unit, last, 1) }
    }

    /// The entries that count: the primary's, else the backup's.
    pub(super) fn entries(&self) -> &[Entry] {
        self.primary.as_deref().or(self.backup.as_deref()).unwrap_or_default()
    }

    /// Whether there is a table, whole or not.
    pub(super) fn is_there(&self) -> bool {
        [&self.primary, &self.backup].into_iter().any(|copy| !matches!(copy, Err(Flaw::Absent)))
    }

    /// What is wrong with the primary copy, if this is a table at all.
    pub(super) fn damage(&self) -> Option<String> {
        match &self.primary {
            Err(Flaw::Damaged(why)) => Some(why.clone()),
            Err(Flaw::Absent) if self.is_there() => Some("its header is gone".to_owned()),
            Err(Flaw::Absent) | Ok(_) => None,
        }
    }
}

fn unit(sector_bytes: u32) -> Option<LogicalBlockSize> {
    match sector_bytes {
        512 => Some(LogicalBlockSize::Lb512),
        4096 => Some(LogicalBlockSize::Lb4096),
        _ => None,
    }
}

/// The copy whose header stands in sector `at`; the one in sector `other` is hidden.
fn copy(disk: &dyn ReadAt, unit: LogicalBlockSize, at: u64, other: u64) -> Result<Vec<Entry>, Flaw> {
    let sector = u64::from(unit);
    let header = precheck(disk, sector, at)?;
    let hidden = other * sector..(other + 1) * sector;
    let window = Window { disk, position: 0, hidden, header: (at * sector, header), kept: (0, Vec::new()) };
    let damaged = |error: gpt::GptError| Flaw::Damaged(error.to_string());
    let table = GptConfig::new().writable(false).logical_block_size(unit).open_from_device(window);
    let table = table.map_err(damaged)?;
    let sectors = disk.size_bytes() / sector;
    let used = table.partitions().iter().filter(|(_, entry)| {
        !entry.part_guid.is_nil() && entry.first_lba <= entry.last_lba && entry.last_lba < sectors
    });
    let entries = used.map(|(number, entry)| Entry {
        number: *number,
        id: entry.part_guid,
        type_id: entry.part_type_guid.guid,
        attributes: entry.flags,
        start_bytes: entry.first_lba * sector,
        size_bytes: (entry.last_lba - entry.first_lba + 1) * sector,
    });
    Ok(entries.collect())
}

/// The header that stands there, if its numbers may be believed for long enough to verify the rest.
fn precheck(disk: &dyn ReadAt, sector: u64, at: u64) -> Result<[u8; HEADER_BYTES], Flaw> {
    let mut header = [0; HEADER_BYTES];
    let read = disk.read_exact_at(&mut header, at * sector);
    read.map_err(|error| Flaw::Damaged(format!("its header cannot be read: {error}")))?;
    if !header.starts_with(&MAGIC) {
        return Err(Flaw::Absent);
    }
    let word =
        |at: usize| header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let half =
        |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let (entries, entry) = (half(ENTRIES_AT).unwrap_or_default(), half(ENTRY_BYTES_AT).unwrap_or_default());
    let begin = word(ENTRIES_LBA_AT).and_then(|lba| lba.checked_mul(sector));
    let end = begin.and_then(|begin| begin.checked_add(u64::from(entries) * u64::from(entry)));
    let wrong = if word(MY_LBA_AT) != Some(at) {
        "its header says that it belongs elsewhere".to_owned()
    } else if entry != ENTRY_BYTES || entries > ENTRIES_MAX {
        format!(
            "{entries} entries of {entry} bytes; more than {ENTRIES_MAX}, or other than {ENTRY_BYTES} bytes, is not known"
        )
    } else if end.is_none_or(|end| end > disk.size_bytes()) {
        "its entries lie beyond the end of the disk".to_owned()
    } else {
        return Ok(header);
    };
    Err(Flaw::Damaged(wrong))
}

/// A disk without one of its sectors, which reads as zeros; read only.
struct Window<'d> {
    disk: &'d dyn ReadAt,
    position: u64,
    hidden: Range<u64>,
    /// Where the header stands, and what it was when it was looked at: a disk may say something else the next time.
    header: (u64, [u8; HEADER_BYTES]),
    /// Where what was read last begins, and what it is: entries are read in small pieces.
    kept: (u64, Vec<u8>),
}

impl Window<'_> {
    /// Sees that the place is among what is kept. A piece is a page: another bad sector nearby costs nothing.
    fn keep(&mut self) -> io::Result<()> {
        let (begin, bytes) = &self.kept;
        if (*begin..begin + bytes.len() as u64).contains(&self.position) {
            return Ok(());
        }
        let begin = self.position / PIECE_BYTES * PIECE_BYTES;
        let count = self.disk.size_bytes().saturating_sub(begin).min(PIECE_BYTES);
        let mut bytes = vec![0; count as usize];
        self.disk.read_exact_at(&mut bytes, begin)?;
        let hidden = (begin..).zip(&mut bytes).filter(|(at, _)| self.hidden.contains(at));
        hidden.for_each(|(_, byte)| *byte = 0);
        let (header_at, header) = &self.header;
        for (at, byte) in (*header_at..).zip(header) {
            let place = at.checked_sub(begin).and_then(|at| bytes.get_mut(at as usize));
            place.into_iter().for_each(|place| *place = *byte);
        }
        self.kept = (begin, bytes);
        Ok(())
    }
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Window")
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.disk.size_bytes() {
            return Ok(0);
        }
        self.keep()?;
        let (begin, bytes) = &self.kept;
        let rest = bytes.get((self.position - begin) as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.disk.size_bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
