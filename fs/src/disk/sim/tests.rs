//! What the simulated disk promises its users, and what it refuses to promise.

use super::*;
use crate::disk::AlignedBuffer;

const WAIT: Duration = Duration::from_secs(1);

fn write(disk: &mut SimDisk, offset: u64, sectors: usize, fill: u8) -> Token {
    let mut buffer = AlignedBuffer::zeroed(sectors * SECTOR_BYTES);
    buffer.fill(fill);
    let len = buffer.len();
    disk.submit(Operation::Write { offset, buffer: Arc::new(buffer), len })
}

/// Completes all that is in flight; the results in the order of completion.
fn drain(disk: &mut SimDisk) -> Vec<(Token, io::Result<()>)> {
    let completions = std::iter::from_fn(|| disk.poll(WAIT));
    completions.map(|completion| (completion.token, completion.result)).collect()
}

fn flush(disk: &mut SimDisk) -> io::Result<()> {
    let token = disk.submit(Operation::Flush);
    let (_, result) = drain(disk).into_iter().find(|(done, _)| *done == token).unwrap();
    result
}

/// The first byte of each sector.
fn marks(image: &impl ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; image.size_bytes() as usize];
    image.read_exact_at(&mut bytes, 0).unwrap();
    bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect()
}

fn disk(sectors: usize, seed: u64) -> SimDisk {
    SimDisk::new(sectors * SECTOR_BYTES, seed)
}

#[test]
fn what_was_flushed_survives_and_what_was_not_may_tear_by_the_sector() {
    let mut disk = disk(4, 1);
    write(&mut disk, 0, 2, 1);
    drain(&mut disk);
    flush(&mut disk).unwrap();
    write(&mut disk, 512, 2, 2);
    drain(&mut disk);
    assert_eq!(disk.pending_sectors(), 2);
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [1, 1, 0, 0]);
    assert_eq!(marks(&disk.crash(CrashPlan::All)), [1, 2, 2, 0]);
    assert_eq!(marks(&disk.crash(CrashPlan::Single(1))), [1, 1, 2, 0]);
    assert_eq!(marks(&disk.crash(CrashPlan::Mask(0b01))), [1, 2, 0, 0]);
    assert_eq!(marks(&disk.reader()), [1, 2, 2, 0]);
}
