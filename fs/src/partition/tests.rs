//! Tables as programs write them, damaged, and made to do harm. On real devices: `fs/tests/partition`.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::table::{Entry, Flaw, Table};
use super::testing::{Bytes, Wanted};
use super::{LINUX_SWAP, NO_AUTO, id_of};
use crate::disk::ReadAt;
use crate::error::Error;

fn only(sector: usize) -> Vec<Entry> {
    let (start_bytes, size_bytes) = (64 * sector as u64, 64 * sector as u64);
    let (id, type_id, attributes) = (Wanted::ID, LINUX_SWAP, NO_AUTO);
    vec![Entry { number: 1, id, type_id, attributes, start_bytes, size_bytes }]
}

#[test]
fn both_copies_are_read_each_by_itself() {
    for sector in [512, 4096] {
        let table = Table::read(&Wanted::new(sector).disk(), sector as u32);
        assert_eq!(table.primary, Ok(only(sector)));
        assert_eq!(table.backup, Ok(only(sector)));
        assert_eq!(table.damage(), None);
    }
}

#[test]
fn the_backup_stands_in_for_a_front_that_is_gone_or_damaged_in_header_or_entries() {
    for (at, len) in [(0, 2048), (512 + 60, 1), (1024 + 16, 1), (512, 512)] {
        let mut disk = Wanted::new(512).disk();
        disk.0[at..at + len].iter_mut().for_each(|byte| *byte = if len == 1 { !*byte } else { 0 });
        let table = Table::read(&disk, 512);
        assert_eq!(table.entries(), only(512), "{at}");
        assert!(table.is_there() && table.damage().is_some() && table.primary.is_err(), "{at}");
    }
}

#[test]
fn a_damaged_backup_is_no_damage_in_front() {
    let mut disk = Wanted::new(512).disk();
    let end = disk.0.len();
    disk.0[end - 40_000..].fill(0);
    let table = Table::read(&disk, 512);
    assert_eq!((table.entries(), table.damage()), (&only(512)[..], None));
    assert_eq!(table.backup, Err(Flaw::Absent));
}

#[test]
fn a_disk_without_a_table_has_none() {
    for size in [0, 1, 511, 512, 1024, 1536, 2048, 1 << 20] {
        let table = Table::read(&Bytes(vec![0; size]), 512);
        assert!(!table.is_there() && table.entries().is_empty() && table.damage().is_none(), "{size}");
    }
}

#[test]
fn the_size_of_sectors_is_never_guessed() {
    let table = Table::read(&Wanted::new(4096).disk(), 512);
    assert!(table.entries().is_empty());
    assert!(!Table::read(&Wanted::new(512).disk(), 520).is_there());
}

#[test]
fn a_table_that_would_take_all_memory_or_time_is_refused() {
    for (entries, entry_bytes) in
        [(u32::MAX, 128), (128, u32::MAX), (u32::MAX, u32::MAX), (1 << 20, 128), (0, 0), (128, 256)]
    {
        let table = Table::read(&Wanted { entries, entry_bytes, ..Wanted::new(512) }.disk(), 512);
        assert!(matches!(table.primary, Err(Flaw::Damaged(_))), "{entries} of {entry_bytes}");
        assert!(table.entries().is_empty());
    }
}

/// A disk that says another size of entries each time that it is asked.
struct Fickle(Bytes, Bytes, AtomicBool);

impl ReadAt for Fickle {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let one = self.2.fetch_xor(true, Ordering::Relaxed);
        if one { self.1.read_exact_at(buffer, offset) } else { self.0.read_exact_at(buffer, offset) }
    }
}

#[test]
fn a_disk_that_says_something_else_each_time_makes_it_neither_panic_nor_take_all_memory() {
    for entry_bytes in [1, 256, u32::MAX] {
        let wild = Wanted { entries: u32::MAX, entry_bytes, ..Wanted::new(512) };
        let disk = Fickle(Wanted::new(512).disk(), wild.disk(), AtomicBool::new(false));
        (0..3).for_each(|_| drop(Table::read(&disk, 512)));
    }
}

#[test]
fn an_entry_that_lies_nowhere_is_left_out() {
    for (first, last) in [(127, 64), (64, 256), (64, u64::MAX), (u64::MAX, u64::MAX)] {
        let table = Table::read(&Wanted { first, last, ..Wanted::new(512) }.disk(), 512);
        assert_eq!(table.primary, Ok(Vec::new()), "{first} to {last}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..20_000), sector in prop::sample::select(vec![512, 4096])) {
        Table::read(&Bytes(bytes), sector);
    }

    #[test]
    fn no_damage_makes_it_panic_or_invent_a_partition(hits in prop::collection::vec((0..256_usize * 512, any::<u8>()), 1..40)) {
        let mut disk = Wanted::new(512).disk();
        hits.iter().for_each(|(at, byte)| disk.0[*at] = *byte);
        let table = Table::read(&disk, 512);
        prop_assert!(table.entries().is_empty() || table.entries() == only(512));
    }

    #[test]
    fn no_header_that_verifies_makes_it_panic(
        entries in any::<u32>(), entry_bytes in any::<u32>(), first in any::<u64>(), last in any::<u64>(),
    ) {
        Table::read(&Wanted { entries, entry_bytes, first, last, ..Wanted::new(512) }.disk(), 512);
    }
}

#[test]
fn an_identity_is_written_as_it_is_shown_and_in_no_other_way() {
    let id = Wanted::ID;
    assert_eq!(id_of(Path::new("a.ring")).unwrap(), None);
    assert_eq!(id_of(Path::new("./partuuid:x")).unwrap(), None);
    for text in [format!("partuuid:{id}"), format!("partuuid:{id:X}")] {
        assert_eq!(id_of(Path::new(&text)).unwrap(), Some(id));
    }
    for text in [
        "partuuid:",
        "partuuid:0",
        "partuuid:00000000-0000-0000-0000-000000000000",
        &format!("partuuid:{}", id.simple()),
    ] {
        assert!(matches!(id_of(Path::new(text)), Err(Error::Invalid(_))), "{text}");
    }
}
