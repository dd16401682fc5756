//! What lies on a disk, and what only seems to: sectors written since the last flush.
//!
//! A flush makes everything durable that was written before it. Without one, a power cut leaves of each sector what was
//! durable or any version written since, each sector by itself. Must not live here: FUSE, errors on command.

use anyhow::{Result, ensure};
use nix::errno::Errno;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The unit that is old or new after a power cut, bytes.
pub(super) const SECTOR_BYTES: u64 = 512;

type Sector = [u8; SECTOR_BYTES as usize];

/// What a power cut left of what was not flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survivors {
    /// Sectors that were written and not flushed.
    pub volatile: u64,
    /// Those of them that have something of it.
    pub kept: u64,
}

/// The disk's content.
pub(super) struct Platter {
    durable: File,
    size_bytes: u64,
    /// All that was written to a sector since the last flush, the newest last.
    volatile: BTreeMap<u64, Vec<Sector>>,
}

impl Platter {
    /// A disk with the content of an image.
    pub(super) fn open(image: &Path) -> Result<Self> {
        let durable = OpenOptions::new().read(true).write(true).open(image)?;
        let size_bytes = durable.metadata()?.len();
        ensure!(size_bytes % SECTOR_BYTES == 0, "{size_bytes} bytes are no whole number of sectors");
        Ok(Self { durable, size_bytes, volatile: BTreeMap::new() })
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Up to `len` bytes from `offset`: less at the end of the disk.
    pub(super) fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>, Errno> {
        let end = self.size_bytes.min(offset.saturating_add(u64::from(len)));
        let mut bytes = vec![0; end.saturating_sub(offset) as usize];
        self.durable.read_exact_at(&mut bytes, offset.min(end)).map_err(errno)?;
        for (sector, versions) in self.volatile.range(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)) {
            let Some(newest) = versions.last() else { continue };
            // Reads may begin and end within a sector.
            let at = sector * SECTOR_BYTES;
            let (from, to) = (at.max(offset), (at + SECTOR_BYTES).min(end));
            bytes[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&newest[(from - at) as usize..(to - at) as usize]);
        }
        Ok(bytes)
    }

    /// Takes a write of whole sectors.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let (sectors, rest) = data.as_chunks::<{ SECTOR_BYTES as usize }>();
        if !offset.is_multiple_of(SECTOR_BYTES) || !rest.is_empty() {
            return Err(Errno::EINVAL);
        }
        if offset.saturating_add(data.len() as u64) > self.size_bytes {
            return Err(Errno::ENOSPC);
        }
        for (sector, data) in (offset / SECTOR_BYTES..).zip(sectors) {
            let versions = self.volatile.entry(sector).or_default();
            // The same bytes once more are no other version, and writing again after failed flushes must not fill memory.
            if versions.last().is_none_or(|newest| *newest != *data) {
                versions.push(*data);
            }
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        let newest = self.volatile.iter().filter_map(|(sector, versions)| Some((*sector, versions.last()?)));
        write_runs(&self.durable, newest).map_err(errno)?;
        self.volatile.clear();
        Ok(())
    }

    /// The power cut: decides about every sector by itself, at odds drawn for the cut.
    pub(super) fn lose(&mut self, random: &mut StdRng) -> Result<Survivors> {
        const ODDS: [f64; 5] = [0.0, 0.1, 0.5, 0.9, 1.0];
        let odds = ODDS[random.random_range(0..ODDS.len())];
        let volatile = std::mem::take(&mut self.volatile);
        let mut kept = Vec::new();
        for (sector, versions) in &volatile {
            if random.random_bool(odds) {
                kept.push((*sector, &versions[random.random_range(0..versions.len())]));
            }
        }
        write_runs(&self.durable, kept.iter().copied())?;
        Ok(Survivors { volatile: volatile.len() as u64, kept: kept.len() as u64 })
    }
}

/// Writes sectors, those that follow each other in one go.
fn write_runs<'a>(to: &File, sectors: impl Iterator<Item = (u64, &'a Sector)>) -> io::Result<()> {
    let (mut begin, mut run) = (0, Vec::new());
    for (sector, data) in sectors {
        if sector * SECTOR_BYTES != begin + run.len() as u64 {
            to.write_all_at(&run, begin)?;
            begin = sector * SECTOR_BYTES;
            run.clear();
        }
        run.extend_from_slice(data);
    }
    to.write_all_at(&run, begin)
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn platter(sectors: u64) -> (tempfile::NamedTempFile, Platter) {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(sectors * SECTOR_BYTES).unwrap();
        let platter = Platter::open(image.path()).unwrap();
        (image, platter)
    }

    #[test]
    fn what_is_written_is_read_and_what_was_flushed_survives_a_cut() {
        let (_image, mut platter) = platter(16);
        platter.write(1024, &[1; 2048]).unwrap();
        platter.flush().unwrap();
        platter.write(1024, &[2; 512]).unwrap();
        platter.write(4096, &[3; 512]).unwrap();
        assert_eq!(platter.read(1000, 600).unwrap(), [vec![0; 24], vec![2; 512], vec![1; 64]].concat());
        let survivors = platter.lose(&mut StdRng::seed_from_u64(1)).unwrap();
        assert_eq!(survivors.volatile, 2);
        assert_eq!(platter.read(1536, 1536).unwrap(), [1; 1536], "it was durable");
        assert_eq!(platter.read(8000, 4096).unwrap().len(), 192, "the end of the disk");
    }

    #[test]
    fn a_cut_leaves_of_each_sector_something_that_was_written_to_it() {
        let (_image, mut platter) = platter(256);
        let mut seen = [0_usize; 3];
        for seed in 0..40 {
            platter.write(0, &[0; 256 * 512]).unwrap();
            platter.flush().unwrap();
            platter.write(0, &[1; 256 * 512]).unwrap();
            platter.write(0, &[2; 256 * 512]).unwrap();
            let survivors = platter.lose(&mut StdRng::seed_from_u64(seed)).unwrap();
            let left = platter.read(0, 256 * 512).unwrap();
            let mut kept = 0;
            for sector in left.chunks(512) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
                seen[usize::from(sector[0])] += 1;
                kept += u64::from(sector[0] > 0);
            }
            assert_eq!(survivors, Survivors { volatile: 256, kept });
        }
        assert!(seen.iter().all(|count| *count > 1000), "{seen:?}");
    }

    #[test]
    fn writes_of_part_of_a_sector_or_behind_the_end_are_refused() {
        let (_image, mut platter) = platter(4);
        assert_eq!(platter.write(100, &[1; 512]), Err(Errno::EINVAL));
        assert_eq!(platter.write(512, &[1; 500]), Err(Errno::EINVAL));
        assert_eq!(platter.write(1536, &[1; 1024]), Err(Errno::ENOSPC));
    }
}
