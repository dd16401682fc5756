//! The least that a program does which keeps what it is given: copies each byte once into an aligned buffer, adds up its CRC-32C, and
//! writes that past the page cache, with a flush a second. Whoever waits for it waits for the disk, however long that does not answer.

use super::source::{PICTURE_BYTES, Source};
use super::{Watch, heed};
use anyhow::{Context, Result};
use keha_fs::disk::AlignedBuffer;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

const WRITE_BYTES: usize = 1 << 20;
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Writes at least so many bytes over what is at `path`, from its beginning on; ends when they are on the disk, and answers how many they
/// were. A file is made where there is none.
///
/// # Errors
/// Those of the disk, also where it cannot be written past the page cache; [`Stopped`](super::Stopped) if `watch` says so.
pub fn bare(path: &Path, source: &Source, bytes: u64, watch: &mut Watch<'_>) -> Result<u64> {
    let file = direct(path)?;
    let at = || format!("{}: cannot be written", path.display());
    let mut buffer = AlignedBuffer::zeroed(WRITE_BYTES);
    let mut sum = 0;
    let mut flushed = Instant::now();
    let parts = bytes.div_ceil(WRITE_BYTES as u64);
    for part in 0..parts {
        for (place, piece) in (0..).zip(buffer.chunks_mut(PICTURE_BYTES)) {
            piece.copy_from_slice(&source.take(part * 64 + place, piece.len()));
        }
        sum ^= crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &buffer);
        file.write_all_at(&buffer, part * WRITE_BYTES as u64).with_context(at)?;
        if flushed.elapsed() >= FLUSH_INTERVAL {
            file.sync_data().with_context(at)?;
            flushed = Instant::now();
        }
        heed(watch(WRITE_BYTES as u64))?;
    }
    file.sync_data().with_context(at)?;
    std::hint::black_box(sum);
    Ok(parts * WRITE_BYTES as u64)
}

fn direct(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).custom_flags(nix::libc::O_DIRECT);
    options
        .open(path)
        .with_context(|| format!("{}: cannot be opened for writing past the page cache", path.display()))
}
