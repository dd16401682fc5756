//! A partition became larger, and the volume on it takes that in; what another program has there is not lost unasked.

use crate::disk::{Disk, MIB, SWAP, named, run};
use crate::volume::{FRAMES, read, record};
use keha_fs::{CreateOptions, Error, GrowOptions, Uuid, Volume, create, grow, plan_grow};
use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn go_on(_done: u64, _all: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Makes the partition of this identity anew, from the same sector to the n-th MiB of the disk.
fn resize(disk: &Disk, id: Uuid, mebibytes: u64, sector_bytes: u32) {
    let last = mebibytes * MIB / u64::from(sector_bytes) - 1;
    let first = run("sgdisk", &["--info=1", &disk.node()]);
    let first = first.lines().find_map(|line| line.strip_prefix("First sector: ")).expect("the first sector");
    let first = first.split(' ').next().expect("a number");
    let [new, kind, id] = [format!("1:{first}:{last}"), format!("1:{SWAP}"), format!("1:{id}")];
    let arguments = [
        "--delete=1",
        "--new",
        &new,
        "--typecode",
        &kind,
        "--partition-guid",
        &id,
        "--attributes",
        "1:set:63",
    ];
    run("sgdisk", &[&arguments[..], &[&disk.node()]].concat());
    run("partx", &["--update", "--nr", "1", &disk.node()]);
}

fn size_of(path: &Path) -> u64 {
    Volume::open(path).expect("a volume").info().size_bytes
}

#[test]
fn a_partition_that_was_made_larger_is_taken_in_by_either_name() {
    for sector_bytes in [512, 4096] {
        let Some((disk, id)) = Disk::with_partition(sector_bytes, 128) else { return };
        resize(&disk, id, 48, sector_bytes);
        create(&named(id), &CreateOptions::default(), &mut go_on).expect("created");
        record(&named(id));
        let small = size_of(&named(id));
        let nothing = grow(&named(id), &GrowOptions::default(), &mut go_on);
        assert!(matches!(nothing, Err(Error::Invalid(_))), "{nothing:?}");
        resize(&disk, id, 80, sector_bytes);
        assert_eq!((read(&named(id)), size_of(&named(id))), (FRAMES, small), "it does not grow by itself");
        let more = GrowOptions { size_bytes: 1 << 40, ..GrowOptions::default() };
        assert!(matches!(grow(&named(id), &more, &mut go_on), Err(Error::Invalid(_))), "more than there is");
        let planned = plan_grow(&named(id), &GrowOptions::default()).expect("a plan");
        let done = grow(&named(id), &GrowOptions::default(), &mut go_on).expect("grown");
        assert_eq!((&planned, done.after.size_bytes), (&done, small + 32 * MIB));
        assert_eq!(read(&named(id)), FRAMES);
        record(&named(id));
        resize(&disk, id, 112, sector_bytes);
        let done = grow(&disk.part(1), &GrowOptions { prewrite: true, ..GrowOptions::default() }, &mut go_on);
        assert_eq!(done.expect("grown again").after.size_bytes, small + 64 * MIB);
        assert_eq!(read(&disk.part(1)), 2 * FRAMES);
    }
}

#[test]
fn what_another_program_has_in_the_added_space_goes_by_force_alone() {
    let Some((disk, id)) = Disk::with_partition(512, 128) else { return };
    resize(&disk, id, 48, 512);
    create(&named(id), &CreateOptions::default(), &mut go_on).expect("created");
    record(&named(id));
    run("sgdisk", &["--new", "2:98304:163839", &disk.node()]);
    run("partx", &["--add", "--nr", "2", &disk.node()]);
    run("mkfs.ext4", &["-q", &disk.part(2).to_string_lossy()]);
    run("partx", &["--delete", "--nr", "2", &disk.node()]);
    run("sgdisk", &["--delete=2", &disk.node()]);
    resize(&disk, id, 80, 512);
    for refused in [
        plan_grow(&named(id), &GrowOptions::default()),
        grow(&named(id), &GrowOptions::default(), &mut go_on),
    ] {
        let said = refused.expect_err("a filesystem is there").to_string();
        assert!(said.contains("ext") && said.contains("--force"), "{said}");
    }
    assert_eq!(read(&named(id)), FRAMES);
    let forced = GrowOptions { force: true, ..GrowOptions::default() };
    grow(&named(id), &forced, &mut go_on).expect("by force");
    assert_eq!(read(&named(id)), FRAMES);
}

#[test]
fn a_device_that_somebody_uses_is_not_grown_into() {
    let Some((disk, id)) = Disk::with_partition(512, 96) else { return };
    resize(&disk, id, 48, 512);
    create(&named(id), &CreateOptions::default(), &mut go_on).expect("created");
    resize(&disk, id, 80, 512);
    let writer = crate::common::open(&named(id));
    let refused = grow(&named(id), &GrowOptions::default(), &mut go_on);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    writer.close().expect("closed");
    // Another program's front over the volume's.
    let file = OpenOptions::new().write(true).open(disk.part(1)).expect("there");
    file.write_all_at(&[0x53, 0xef], 1080).and_then(|()| file.sync_all()).expect("written");
    drop(file);
    let refused = grow(&named(id), &GrowOptions { force: true, ..GrowOptions::default() }, &mut go_on);
    assert!(matches!(refused, Err(Error::NotSafe { .. })), "{refused:?}");
}
