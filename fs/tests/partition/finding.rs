//! A partition is found by its identity, wherever it is, or it is said why not.

use crate::disk::{Disk, MIB, SWAP, named, run};
use keha_fs::{Uuid, partition};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

fn refused(id: Uuid) -> String {
    partition::at(&named(id)).expect_err("it cannot be found").to_string()
}

#[test]
fn a_partition_is_found_on_disks_of_either_size_of_sectors() {
    for sector_bytes in [512, 4096] {
        let Some((disk, id)) = Disk::with_partition(sector_bytes, 32) else { return };
        let found = partition::at(&named(id)).expect("found").expect("a partition");
        assert_eq!((found.device.clone(), found.disk.clone()), (disk.part(1), PathBuf::from(disk.node())));
        assert_eq!((found.start_bytes, found.logical_sector_bytes, found.number), (MIB, sector_bytes, 1));
        assert!(found.size_bytes > 28 * MIB, "{found:?}");
        assert!(found.is_swap_type() && found.is_no_auto() && found.damage.is_none());
        assert_eq!(partition::at(&disk.part(1)).expect("by its node"), Some(found));
        assert_eq!(partition::at(disk.node().as_ref()).expect("no partition"), None);
    }
}

#[test]
fn what_is_nowhere_is_refused_with_the_disks_that_were_read() {
    let Some(disk) = Disk::new(512, 32) else { return };
    disk.make(1, SWAP, Uuid::new_v4());
    let said = refused(Uuid::new_v4());
    assert!(said.contains("no disk has this partition") && said.contains(&disk.node()), "{said}");
}

#[test]
fn a_cloned_disk_is_refused_and_both_are_named() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    let Some(mut clone) = Disk::new(512, 32) else { return };
    clone.detach();
    std::fs::copy(disk.image(), clone.image()).expect("cloned");
    assert!(clone.attach());
    let said = refused(id);
    assert!(said.contains(&disk.node()) && said.contains(&clone.node()), "{said}");
    clone.detach();
    partition::at(&named(id)).expect("alone again");
}

#[test]
fn a_disk_that_is_plugged_in_elsewhere_is_found_there() {
    let Some((mut disk, id)) = Disk::with_partition(512, 32) else { return };
    let before = partition::at(&named(id)).expect("found").expect("a partition").device;
    disk.detach();
    assert!(refused(id).contains("no disk has this partition"));
    // Something else stands where it was.
    let Some(other) = Disk::new(512, 32) else { return };
    assert!(disk.attach());
    run("partx", &["-a", &disk.node()]);
    let after = partition::at(&named(id)).expect("found").expect("a partition").device;
    assert_eq!(after, disk.part(1));
    assert_ne!((before, disk.node()), (after, other.node()));
}

#[test]
fn a_partition_that_got_another_number_is_found_there() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    let guid = format!("3:{id}");
    run("sgdisk", &["-d", "1", "-n", "3:0:-1M", "-t", "3:8200", "-u", &guid, &disk.node()]);
    // The kernel still has it as number 1.
    assert!(refused(id).contains("partx -a --nr 3"), "{}", refused(id));
    run("partx", &["-d", "--nr", "1", &disk.node()]);
    run("partx", &["-a", "--nr", "3", &disk.node()]);
    let found = partition::at(&named(id)).expect("found").expect("a partition");
    assert_eq!((found.number, found.device), (3, disk.part(3)));
}

#[test]
fn where_table_and_kernel_differ_nothing_is_opened() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    let guid = format!("1:{id}");
    run("sgdisk", &["-d", "1", "-n", "1:8M:16M", "-t", "1:8200", "-u", &guid, &disk.node()]);
    assert!(refused(id).contains("partx -u"), "{}", refused(id));
    run("partx", &["-u", &disk.node()]);
    assert_eq!(partition::at(&named(id)).expect("found").expect("a partition").start_bytes, 8 * MIB);
}

#[test]
fn a_node_that_is_missing_or_another_device_is_not_followed() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    let (node, aside) = (disk.part(1), disk.part(1).with_extension("keha-aside"));
    // The very node comes back: one that the kernel did not make itself it would leave behind, for the next disk of that name.
    std::fs::rename(&node, &aside).expect("put aside");
    let missing = std::panic::catch_unwind(|| refused(id));
    run("cp", &["-a", &disk.node(), &node.to_string_lossy()]);
    let other = std::panic::catch_unwind(|| refused(id));
    std::fs::rename(&aside, &node).expect("put back");
    let [missing, said] = [missing, other].map(|said| said.expect("it is refused"));
    assert!(missing.contains("mknod"), "{missing}");
    assert!(said.contains("another device"), "{said}");
    partition::at(&named(id)).expect("found again");
}

#[test]
fn a_partition_without_a_front_table_is_found_by_the_backup() {
    let Some((disk, id)) = Disk::with_partition(4096, 32) else { return };
    let file = OpenOptions::new().write(true).open(disk.node()).expect("the disk");
    file.write_all_at(&vec![0; 5 * 4096], 0).and_then(|()| file.sync_all()).expect("zeroed");
    let found = partition::at(&named(id)).expect("found").expect("a partition");
    assert!(found.damage.is_some(), "{found:?}");
}
