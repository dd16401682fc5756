//! Each structure by itself: changed bytes under a right checksum are refused, or read as something that writes itself back as
//! the same bytes.

use super::super::damage_tests::full_volume;
use super::super::{Verdict, demand};
use super::mutate::{change, seal};
use crate::configuration::Configuration;
use crate::disk::ReadAt;
use crate::disk::sim::{SimImage, SimRng};
use crate::format::block::{BlockHeader, BlockTrailer};
use crate::format::chunk::{self, ChunkHeader, Tables};
use crate::format::directory::{DirectoryCopy, DirectoryEntry, merge};
use crate::format::footer::Footer;
use crate::format::geometry::Geometry;
use crate::format::hold::HoldSlot;
use crate::format::round::{RoundHeader, RoundRecord};
use crate::format::scrub::ScrubSlot;
use crate::format::session::SessionSlot;
use crate::format::superblock::{Head, Superblock};
use crate::format::table::{TableSector, table_magic};
use crate::format::{Framed, SECTOR_BYTES};
use crate::gap::{Gap, GapReason};
use crate::recover::{Recovered, newest_record, recover};
use crate::report::BlockState;
use crate::scan::Scanner;
use crate::types::{BlockIndex, VolumeId, WallTime};
use std::path::Path;

/// A structure: how long its frame is, where its body ends and what covers it, and how it is read.
struct Target {
    name: &'static str,
    input: Vec<u8>,
    /// Where a checksum in the frame covers what follows the frame: at which offset it stands.
    body_checksum_at: Option<usize>,
    frame_bytes: usize,
    read: fn(&[u8], VolumeId) -> Verdict,
}

/// All structures.
pub(in crate::proof) const NAMES: [&str; 13] = [
    "superblock",
    "directory",
    "round record",
    "hold",
    "session",
    "scrub",
    "table sector",
    "block header",
    "block trailer",
    "chunk",
    "footer",
    "gap record",
    "configuration",
];

/// Feeds a structure of a real volume to its reader, changed, so many times.
pub(super) fn run(name: &str, seed: u64, turns: usize) -> Verdict<u64> {
    let (image, _) = full_volume(seed % 8)?;
    // Every other one has grown.
    let image =
        if seed.is_multiple_of(2) { image } else { super::super::grow_tests::grown(&image, 640 << 10, 0)? };
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let targets = targets(&image, &state)?;
    demand!(targets.iter().map(|target| target.name).eq(NAMES), "the list of structures is another");
    let volume = state.superblock.volume;
    let mut rng = SimRng::new(seed);
    let mut fed = 0;
    for target in targets.iter().filter(|target| target.name == name) {
        for turn in 0..turns {
            let mut bytes = target.input.clone();
            change(&mut bytes, &mut rng);
            if rng.below(8) == 0 {
                bytes.truncate(rng.below(bytes.len() + 1));
            }
            // The magic is nothing to read further behind.
            let kept = bytes.len().min(8);
            bytes[..kept].copy_from_slice(&target.input[..kept]);
            reseal(target, &mut bytes);
            (target.read)(&bytes, volume).map_err(|why| format!("{}, turn {turn}: {why}", target.name))?;
            fed += 1;
        }
        super::super::count_judged();
    }
    Ok(fed)
}

fn reseal(target: &Target, bytes: &mut [u8]) {
    let frame = target.frame_bytes;
    if let (Some(at), true) = (target.body_checksum_at, bytes.len() >= frame) {
        let checksum = crc32c::crc32c(&bytes[frame..]);
        bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    }
    if frame > 0 && bytes.len() >= frame {
        seal(&mut bytes[..frame]);
    }
    if target.name == "directory" {
        // Each entry is framed by itself.
        let begin = frame.min(bytes.len());
        for (entry, was) in bytes[begin..]
            .chunks_exact_mut(DirectoryEntry::SIZE)
            .zip(target.input[frame..].chunks_exact(DirectoryEntry::SIZE))
        {
            entry[..8].copy_from_slice(&was[..8]);
            seal(entry);
        }
    }
}

/// What is read is written back as it was.
fn same<T: Framed + PartialEq + std::fmt::Debug>(bytes: &[u8], magic: [u8; 8]) -> Verdict {
    let Some((value, _)) = T::unseal_as(magic, bytes) else { return Ok(()) };
    let mut back = vec![0; T::SIZE];
    value.seal_as(magic, &mut back);
    demand!(bytes.get(..T::SIZE) == Some(&back[..]), "{value:?} is not what stood there");
    Ok(())
}

fn read_superblock(bytes: &[u8], _: VolumeId) -> Verdict {
    same::<Superblock>(bytes, Superblock::MAGIC)?;
    let _head = Head::read(bytes).map(|head| head.unsupported());
    let Some(superblock) = Superblock::read(bytes) else { return Ok(()) };
    let _said = superblock.features().read_only();
    if let Some(geometry) = Geometry::of(&superblock) {
        demand!(geometry.blocks <= crate::format::geometry::BLOCKS_MAX, "{} blocks", geometry.blocks);
        let last = geometry.block_at(BlockIndex(geometry.blocks - 1));
        demand!(last + geometry.block_bytes as u64 <= geometry.size_bytes, "blocks behind the end");
    }
    Ok(())
}

fn read_directory(bytes: &[u8], volume: VolumeId) -> Verdict {
    let copy = DirectoryCopy::read(bytes, volume);
    let _merged = merge(&[copy.clone(), DirectoryCopy::default()]);
    let Some(directory) = copy.whole() else { return Ok(()) };
    let mut back = vec![0; bytes.len()];
    directory.seal(volume, &mut back);
    demand!(back[..directory.bytes()] == bytes[..directory.bytes()], "another directory than stood there");
    Ok(())
}

fn read_record(bytes: &[u8], volume: VolumeId) -> Verdict {
    let Some(record) = RoundRecord::unseal(bytes, volume) else { return Ok(()) };
    let mut back = vec![0; bytes.len()];
    record.seal(&mut back);
    demand!(back[..record.bytes()] == bytes[..record.bytes()], "another record than stood there");
    Ok(())
}

fn read_hold(bytes: &[u8], volume: VolumeId) -> Verdict {
    same::<HoldSlot>(bytes, HoldSlot::MAGIC)?;
    let found = HoldSlot::read(bytes, volume, 0);
    let slot = crate::hold::Slot::of(found.as_ref(), volume, 0);
    let _holds = slot.hold();
    Ok(())
}

fn read_session(bytes: &[u8], volume: VolumeId) -> Verdict {
    same::<SessionSlot>(bytes, SessionSlot::MAGIC)?;
    let found = SessionSlot::read(bytes, volume, 0);
    let _session = found.map(|(slot, _)| crate::session::session_of(&slot, None, None));
    Ok(())
}

fn read_scrub(bytes: &[u8], volume: VolumeId) -> Verdict {
    same::<ScrubSlot>(bytes, ScrubSlot::MAGIC)?;
    let _slot = ScrubSlot::read(bytes, volume);
    Ok(())
}

fn read_sector(bytes: &[u8], volume: VolumeId) -> Verdict {
    same::<TableSector>(bytes, table_magic(volume))
}

fn read_block_header(bytes: &[u8], _: VolumeId) -> Verdict {
    same::<BlockHeader>(bytes, BlockHeader::MAGIC)
}

fn read_trailer(bytes: &[u8], _: VolumeId) -> Verdict {
    same::<BlockTrailer>(bytes, BlockTrailer::MAGIC)
}

/// A whole chunk: its header, its tables, every time and anchor in them.
fn read_chunk(bytes: &[u8], _: VolumeId) -> Verdict {
    same::<ChunkHeader>(bytes, ChunkHeader::MAGIC)?;
    let Some((header, _)) = chunk::head(bytes) else { return Ok(()) };
    let tables = [Tables::at_head(&header, bytes), Tables::at_tail(&header, bytes)];
    for tables in tables.into_iter().flatten() {
        for entry in 0..tables.entries.len() as u32 + 2 {
            let _found = (tables.time_of(entry), tables.anchor_of(entry));
        }
    }
    Ok(())
}

fn read_footer(bytes: &[u8], volume: VolumeId) -> Verdict {
    // Whose it is was changed, too, more often than not.
    for block in 0..4 {
        let _footer = Footer::unseal(bytes, volume, BlockIndex(block), Default::default());
    }
    Ok(())
}

fn read_gap(bytes: &[u8], _: VolumeId) -> Verdict {
    let Some(gap) = Gap::decode(bytes) else { return Ok(()) };
    demand!(Gap::decode(&gap.encode()) == Some(gap.clone()), "{gap:?} does not come back");
    Ok(())
}

fn read_configuration(bytes: &[u8], _: VolumeId) -> Verdict {
    let Some(configuration) = Configuration::decode(bytes) else { return Ok(()) };
    let (stored, _) = configuration.stored();
    demand!(Configuration::decode(&stored) == Some(configuration), "a configuration does not come back");
    Ok(())
}

fn targets(image: &SimImage, state: &Recovered) -> Verdict<Vec<Target>> {
    let geometry = &state.geometry;
    let scanner = Scanner { disk: image, geometry, volume: state.superblock.volume };
    let bytes = |at: u64, length: usize| -> Verdict<Vec<u8>> {
        let mut bytes = vec![0; length];
        image.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
        Ok(bytes)
    };
    let framed = |name, input: Vec<u8>, frame_bytes, read| Target {
        name,
        input,
        body_checksum_at: None,
        frame_bytes,
        read,
    };
    let record = newest_record(&scanner).ok_or("no record")?;
    let record_at = geometry.slot_at(geometry.logs_at()[0], record.header.round.0);
    let sealed =
        state.rows.iter().position(|row| row.state == BlockState::Sealed).ok_or("no sealed block")?;
    let take = Recovered::take(BlockIndex(sealed as u32), &state.rows[sealed]);
    let begins = geometry.block_at(take.block);
    let (trailer, footer) = scanner.footer(&take).ok_or("no footer")?;
    let first = footer.chunks.iter().max_by_key(|place| place.bytes).ok_or("no chunk")?;
    let configuration = super::super::material::configuration(&super::super::material::camera(1), 3);
    let gap = Gap {
        reason: GapReason::ConnectionLost,
        from: WallTime(5),
        to: Some(WallTime(9)),
        samples_lost: 1,
        bytes_lost: 2,
        detail: "x".repeat(90),
    };
    let end = begins + (geometry.block_bytes - geometry.page_bytes) as u64;
    let directory = state.directory.bytes();
    let with_body = |name, input: Vec<u8>, frame_bytes, body_checksum_at, read| Target {
        name,
        input,
        body_checksum_at: Some(body_checksum_at),
        frame_bytes,
        read,
    };
    Ok(vec![
        framed("superblock", bytes(0, Superblock::SIZE)?, Superblock::SIZE, read_superblock),
        with_body(
            "directory",
            bytes(geometry.directories_at()[0], directory)?,
            SECTOR_BYTES,
            36,
            read_directory,
        ),
        with_body("round record", bytes(record_at, record.bytes())?, RoundHeader::SIZE, 68, read_record),
        framed("hold", bytes(geometry.holds_at()[0], HoldSlot::SIZE)?, HoldSlot::SIZE, read_hold),
        framed(
            "session",
            bytes(geometry.sessions_at()[0], SessionSlot::SIZE)?,
            SessionSlot::SIZE,
            read_session,
        ),
        framed("scrub", bytes(geometry.scrub_at()[0], ScrubSlot::SIZE)?, ScrubSlot::SIZE, read_scrub),
        framed("table sector", bytes(geometry.table_at(), SECTOR_BYTES)?, SECTOR_BYTES, read_sector),
        framed("block header", bytes(begins, BlockHeader::SIZE)?, BlockHeader::SIZE, read_block_header),
        framed("block trailer", bytes(end, BlockTrailer::SIZE)?, BlockTrailer::SIZE, read_trailer),
        framed(
            "chunk",
            bytes(begins + u64::from(first.offset), first.bytes as usize)?,
            ChunkHeader::SIZE,
            read_chunk,
        ),
        with_body(
            "footer",
            bytes(begins + u64::from(trailer.footer_at), trailer.footer_bytes as usize)?,
            64,
            44,
            read_footer,
        ),
        framed("gap record", gap.encode(), 0, read_gap),
        framed("configuration", configuration.stored().0.to_vec(), 0, read_configuration),
    ])
}
