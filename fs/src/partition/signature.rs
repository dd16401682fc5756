//! What other programs write on a device so that it is recognised: a small table, so that none of their work is overwritten unasked.
//!
//! Sources: the headers of each program or of the kernel (`include/uapi/linux/magic.h`, `fs/*/`), and for swap `mkswap(8)`, for md
//! `include/uapi/linux/raid/md_p.h`, for ISO 9660 ECMA-119 8.1, for exFAT and NTFS their boot sectors as Microsoft documents them. It is no
//! complete list, and need not be: it stands beside the partition's type. What must not live here: what is done about it.

use std::io;

use crate::disk::ReadAt;
use crate::format::SECTOR_BYTES;
use crate::format::superblock::{Head, Superblock};

/// All places below are in here, or at the end.
const FRONT_BYTES: usize = 264 << 10;
/// Pages of all architectures; a swap signature ends the first page.
const PAGES: [usize; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// Behind our own superblock its page is zeros.
const OWN_PAGE: std::ops::Range<usize> = SECTOR_BYTES..4096;

/// Name, place, bytes.
type Magic = (&'static str, usize, &'static [u8]);

#[rustfmt::skip]
const MAGICS: &[Magic] = &[
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("xfs", 0, b"XFSB"),
    ("squashfs", 0, b"hsqs"),
    ("Ceph BlueStore", 0, b"bluestore block device"),
    ("md RAID 1.1", 0, &MD),
    ("NTFS", 3, b"NTFS    "),
    ("exFAT", 3, b"EXFAT   "),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("apfs", 32, b"NXSB"),
    ("FAT", 54, b"FAT12   "),
    ("FAT", 54, b"FAT16   "),
    ("FAT", 82, b"FAT32   "),
    ("LVM2", 0, b"LABELONE"),
    ("LVM2", 512, b"LABELONE"),
    ("LVM2", 1024, b"LABELONE"),
    ("LVM2", 1536, b"LABELONE"),
    ("GPT", 512, b"EFI PART"),
    ("GPT", 4096, b"EFI PART"),
    ("DOS boot sector or partition table", 510, &[0x55, 0xaa]),
    ("ext2, ext3 or ext4", 1080, &[0x53, 0xef]),
    ("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    ("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    ("HFS+", 1024, b"H+\x00\x04"),
    ("HFS+", 1024, b"HX\x00\x05"),
    ("nilfs2", 1030, &[0x34, 0x34]),
    ("md RAID 1.2", 4096, &MD),
    ("bcachefs", 4120, &[0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef]),
    ("bcache", 4120, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81]),
    ("LUKS2 (second header)", 16384, b"SKUL\xba\xbe"),
    ("jfs", 32768, b"JFS1"),
    ("ISO 9660", 32769, b"CD001"),
    ("UDF", 32769, b"BEA01"),
    ("gfs2", 65536, &[0x01, 0x16, 0x19, 0x70]),
    ("reiserfs", 65588, b"ReIsEr"),
    ("btrfs", 65600, b"_BHRfS_M"),
];

/// md's, little-endian.
const MD: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
/// What swap, and a machine that sleeps in it, end the first page with.
#[rustfmt::skip]
const SWAP: &[(&str, &[u8])] = &[
    ("swap", b"SWAPSPACE2"), ("swap", b"SWAP-SPACE"), ("a machine's sleep", b"S1SUSPEND"), ("a machine's sleep", b"S2SUSPEND"),
    ("a machine's sleep", b"ULSUSPEND"), ("a machine's sleep", b"LINHIB0001"),
];
/// The ring of uberblocks in the first label of ZFS, one a KiB at least.
const ZFS_RING: std::ops::Range<usize> = 128 << 10..256 << 10;
const ZFS: u64 = 0x00ba_b10c;

/// The name of what is recognised here, except a Keha volume: where its own superblock stands in front, only what stands in what is
/// zeros there counts.
///
/// # Errors
/// The device cannot be read.
pub(super) fn foreign(disk: &dyn ReadAt) -> io::Result<Option<&'static str>> {
    let size = disk.size_bytes();
    let mut front = vec![0; usize::try_from(size).unwrap_or(FRONT_BYTES).min(FRONT_BYTES)];
    disk.read_exact_at(&mut front, 0)?;
    let own = front.get(..SECTOR_BYTES).is_some_and(|sector| Head::read(sector).is_some());
    let found = in_front(&front, |at| !own || OWN_PAGE.contains(&at));
    if found.is_some() || own {
        return Ok(found);
    }
    at_end(disk, size)
}

/// The name of what begins at a place of a device, a Keha volume included.
///
/// # Errors
/// The device cannot be read.
pub(super) fn begins(disk: &dyn ReadAt, at: u64) -> io::Result<Option<&'static str>> {
    let rest = disk.size_bytes().saturating_sub(at);
    let mut front = vec![0; usize::try_from(rest).unwrap_or(FRONT_BYTES).min(FRONT_BYTES)];
    disk.read_exact_at(&mut front, at)?;
    let volume = front.get(..SECTOR_BYTES).and_then(Superblock::read);
    // A copy at the place where it belongs is no begin.
    let keha = volume.filter(|volume| !volume.all_copies_at().contains(&at)).map(|_| "a Keha volume");
    Ok(keha.or_else(|| in_front(&front, |_| true)))
}

fn in_front(front: &[u8], counts: impl Fn(usize) -> bool) -> Option<&'static str> {
    let stands =
        |at: usize, magic: &[u8]| counts(at) && front.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let plain = MAGICS.iter().find(|(_, at, magic)| stands(*at, magic)).map(|(name, ..)| *name);
    let swap = || {
        let places =
            PAGES.iter().flat_map(|page| SWAP.iter().map(move |(name, magic)| (*name, page - 10, *magic)));
        places.into_iter().find(|(_, at, magic)| stands(*at, magic)).map(|(name, ..)| name)
    };
    let zfs = || {
        let mut places = ZFS_RING.step_by(1024);
        let either = |at| stands(at, &ZFS.to_le_bytes()) || stands(at, &ZFS.to_be_bytes());
        places.any(either).then_some("zfs")
    };
    plain.or_else(swap).or_else(zfs)
}

/// md's first kinds stand at the end: 0.90 in the last whole 64 KiB before it, 1.0 8 KiB before it on a 4 KiB boundary.
fn at_end(disk: &dyn ReadAt, size: u64) -> io::Result<Option<&'static str>> {
    let places = [
        ("md RAID 0.90", (size & !0xffff).checked_sub(0x1_0000)),
        ("md RAID 1.0", size.checked_sub(0x2000).map(|at| at & !0xfff)),
    ];
    for (name, at) in places {
        let Some(at) = at else { continue };
        let mut magic = [0; 4];
        disk.read_exact_at(&mut magic, at)?;
        if magic == MD {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::testing::Bytes;

    fn found(at: usize, magic: &[u8]) -> Option<&'static str> {
        let mut bytes = vec![0; 4 << 20];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        foreign(&Bytes(bytes)).unwrap()
    }

    #[test]
    fn each_signature_is_known_by_its_name() {
        for (name, at, magic) in MAGICS {
            assert_eq!(found(*at, magic), Some(*name));
        }
        for (name, magic) in SWAP {
            PAGES.iter().for_each(|page| assert_eq!(found(page - 10, magic), Some(*name)));
        }
        assert_eq!(found((128 << 10) + 4096, &ZFS.to_be_bytes()), Some("zfs"));
        assert_eq!(found((4 << 20) - 0x1_0000, &MD), Some("md RAID 0.90"));
        assert_eq!(found((4 << 20) - 0x2000, &MD), Some("md RAID 1.0"));
    }

    #[test]
    fn zeros_are_nothing_and_a_device_may_be_small() {
        for size in [0, 1, 511, 4096, 70_000, 1 << 20] {
            assert_eq!(foreign(&Bytes(vec![0; size])).unwrap(), None, "{size}");
        }
    }
}
