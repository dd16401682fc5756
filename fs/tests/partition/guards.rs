//! Nothing is written to what is somebody else's.

use crate::disk::{Disk, named, run};
use keha_fs::{
    CreateOptions, Error, GrowOptions, RepairOptions, Result, Uuid, VolumeId, VolumeInfo, Writer,
    WriterOptions, create, grow, plan_at,
};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;

const O_EXCL: i32 = nix::libc::O_EXCL;

fn make(path: &Path, options: &CreateOptions) -> Result<VolumeInfo> {
    create(path, options, &mut |_, _| ControlFlow::Continue(()))
}

fn forced() -> CreateOptions {
    CreateOptions { force: true, ..CreateOptions::default() }
}

/// The first MiB of what is opened there.
fn front(path: &Path) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    File::open(path).and_then(|file| file.read_exact_at(&mut bytes, 0)).expect("read");
    bytes
}

/// Neither trying nor making nor opening does anything, forced or not; what is said.
fn refused(path: &Path, node: &Path) -> String {
    let before = front(node);
    let errors = [
        plan_at(path, &forced()).map(drop).expect_err("tried"),
        make(path, &CreateOptions::default()).map(drop).expect_err("made"),
        Writer::open(path, WriterOptions::default(), Box::new(|_| ())).map(drop).expect_err("opened"),
        make(path, &forced()).map(drop).expect_err("made by force"),
    ];
    assert!(front(node) == before, "something was written");
    errors.last().expect("four").to_string()
}

#[test]
fn a_mounted_partition_is_refused_and_its_disk_too() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    run("mkfs.ext4", &["-q", &disk.part(1).to_string_lossy()]);
    let point = disk.folder().join("mount point");
    std::fs::create_dir(&point).expect("a folder");
    run("mount", &[&disk.part(1).to_string_lossy(), &point.to_string_lossy()]);
    let said = std::panic::catch_unwind(|| {
        [named(id), disk.part(1), disk.node().into()].map(|path| refused(&path, &disk.part(1)))
    });
    run("umount", &[&point.to_string_lossy()]);
    for said in said.expect("no assertion fails") {
        assert!(said.contains(&format!("mounted at {}", point.display())), "{said}");
    }
}

#[test]
fn active_swap_is_refused() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    let node = disk.part(1).to_string_lossy().into_owned();
    run("mkswap", &[&node]);
    let on = Command::new("swapon").arg(&node).output().expect("the program runs");
    if !on.status.success() {
        eprintln!("skipped: no swap here ({on:?})");
        return;
    }
    let said = std::panic::catch_unwind(|| refused(&named(id), &disk.part(1)));
    run("swapoff", &[&node]);
    let said = said.expect("no assertion fails");
    assert!(said.contains("active as swap"), "{said}");
}

#[test]
fn a_part_of_another_device_is_refused() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    let name = format!("keha-test-{}", id.simple());
    let table = format!("0 2048 linear {} 0", disk.part(1).display());
    let made = Command::new("dmsetup").args(["create", &name, "--table", &table]).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no device mapper here ({made:?})");
        return;
    }
    let said = std::panic::catch_unwind(|| refused(&named(id), &disk.part(1)));
    run("dmsetup", &["remove", &name]);
    let said = said.expect("no assertion fails");
    assert!(said.contains("part of dm-"), "{said}");
}

#[test]
fn a_partition_that_somebody_has_open_is_refused_and_they_are_named() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    let holder =
        OpenOptions::new().read(true).write(true).custom_flags(O_EXCL).open(disk.part(1)).expect("opened");
    let said = make(&named(id), &forced()).expect_err("it is open");
    assert!(matches!(said, Error::Locked { .. }), "{said}");
    assert!(said.to_string().contains(&format!("process {}", std::process::id())), "{said}");
    drop(holder);
    make(&named(id), &CreateOptions::default()).expect("now it is free");
}

#[test]
fn a_partition_that_is_not_of_the_type_is_refused_until_forced() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    run("sgdisk", &["--typecode=1:8300", &disk.node()]);
    let said = make(&named(id), &CreateOptions::default()).expect_err("not swap").to_string();
    assert!(said.contains("sgdisk --typecode=1:8200") && said.contains("--force"), "{said}");
    make(&named(id), &forced()).expect("forced");
    // Later the volume says whose the place is.
    Writer::open(&named(id), WriterOptions::default(), Box::new(|_| ()))
        .expect("opened")
        .close()
        .expect("closed");
}

#[test]
fn a_partition_that_systems_use_by_themselves_is_refused_with_the_command_that_forbids_it() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    disk.attributes(1, "clear:63");
    let said = make(&named(id), &forced()).expect_err("auto").to_string();
    assert!(said.contains(&format!("sgdisk --attributes=1:set:63 {}", disk.node())), "{said}");
    disk.attributes(1, "set:63");
    make(&named(id), &CreateOptions::default()).expect("forbidden now");
}

#[test]
fn another_programs_signature_is_overwritten_by_force_alone() {
    let Some((disk, id)) = Disk::with_partition(4096, 32) else { return };
    let node = disk.part(1).to_string_lossy().into_owned();
    for (program, name) in [("mkswap", "swap"), ("mkfs.ext4", "ext2, ext3 or ext4")] {
        run("wipefs", &["-a", &node]);
        run(
            program,
            if program == "mkswap" { vec![node.as_str()] } else { vec!["-q", "-F", &node] }.as_slice(),
        );
        let said = make(&named(id), &CreateOptions::default()).expect_err("a signature").to_string();
        assert!(said.contains(&format!("signature of {name}")), "{said}");
    }
    make(&named(id), &forced()).expect("forced");
    assert_eq!(run("wipefs", &[&node]), "", "others see nothing of theirs any more");
}

#[test]
fn a_volume_that_another_program_has_written_over_is_not_written_any_more() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    make(&named(id), &CreateOptions::default()).expect("created");
    run("mkswap", &["-f", &disk.part(1).to_string_lossy()]);
    let open = || Writer::open(&named(id), WriterOptions::default(), Box::new(|_| ()));
    let said = open().map(drop).expect_err("swap").to_string();
    assert!(said.contains("signature of swap"), "{said}");
    keha_fs::Volume::open(&named(id)).expect("what is left can be read");
    run("wipefs", &["-a", &disk.part(1).to_string_lossy()]);
    open().expect("opened again").close().expect("closed");
}

#[test]
fn a_volume_is_overwritten_only_by_its_exact_identity() {
    let Some((disk, id)) = Disk::with_partition(512, 64) else { return };
    let overwrite = |volume| CreateOptions { overwrite: volume, ..forced() };
    assert!(make(&named(id), &overwrite(Some(VolumeId::random()))).is_err(), "there is none");
    let labelled = CreateOptions { label: "yard".to_owned(), ..CreateOptions::default() };
    let first = make(&named(id), &labelled).expect("created").id;
    for wrong in [None, Some(VolumeId::random()), Some(VolumeId(Uuid::nil()))] {
        let said = make(&named(id), &overwrite(wrong)).expect_err("not named").to_string();
        assert!(said.contains(&first.to_string()) && said.contains("yard"), "{said}");
    }
    // A smaller one in its place: neither its front nor its end may bring the first one back.
    let smaller = CreateOptions { size_bytes: 24 << 20, ..overwrite(Some(first)) };
    let second = make(&named(id), &smaller).expect("named").id;
    let opened = keha_fs::Volume::open(&disk.part(1)).expect("a volume");
    assert_eq!((opened.info().id, opened.info().size_bytes), (second, 24 << 20));
}

#[test]
fn a_volume_that_has_grown_and_lost_its_outer_superblocks_is_overwritten_only_by_its_identity() {
    let Some((disk, id)) = Disk::with_partition(512, 96) else { return };
    let labelled =
        CreateOptions { label: "yard".to_owned(), size_bytes: 20 << 20, ..CreateOptions::default() };
    let old = make(&named(id), &labelled).expect("created").id;
    grow(&named(id), &GrowOptions::default(), &mut |_, _| ControlFlow::Continue(())).expect("grown");
    let file = OpenOptions::new().read(true).write(true).open(disk.part(1)).expect("the partition");
    let bytes = (&file).seek(SeekFrom::End(0)).expect("its size");
    for at in [0, bytes - (1 << 20)] {
        file.write_all_at(&vec![0; if at == 0 { 4096 } else { 1 << 20 }], at).expect("zeroed");
    }
    file.sync_all().expect("flushed");
    drop(file);
    for refused in [make(&named(id), &forced()), plan_at(&named(id), &forced())] {
        let said = refused.expect_err("a volume is there").to_string();
        for says in [
            &old.to_string(),
            "yard",
            "superblocks in front and at the end are lost",
            "--repair",
            "--overwrite",
        ] {
            assert!(said.contains(says), "{says:?}: {said}");
        }
    }
    // It is brought back as that says.
    keha_fs::repair(&named(id), &RepairOptions::default(), &mut |_, _| ()).expect("repaired");
    assert_eq!(keha_fs::Volume::open(&named(id)).expect("a volume").info().id, old);
    let new = make(&named(id), &CreateOptions { overwrite: Some(old), ..forced() }).expect("named").id;
    assert_eq!(keha_fs::Volume::open(&named(id)).expect("a volume").info().id, new);
}

#[test]
fn a_whole_disk_is_refused_with_a_table_always_and_without_one_until_forced() {
    let Some((disk, _)) = Disk::with_partition(512, 32) else { return };
    let said = make(disk.node().as_ref(), &forced()).expect_err("a table").to_string();
    assert!(said.contains("a whole disk with a partition table"), "{said}");
    let Some(bare) = Disk::new(512, 32) else { return };
    let said = make(bare.node().as_ref(), &CreateOptions::default()).expect_err("no partition").to_string();
    assert!(said.contains("no partition of a GPT") && said.contains("--force"), "{said}");
    make(bare.node().as_ref(), &forced()).expect("forced");
}

#[test]
fn a_partition_whose_table_is_damaged_in_front_is_read_and_not_written() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    make(&named(id), &CreateOptions::default()).expect("created");
    let file = OpenOptions::new().write(true).open(disk.node()).expect("the disk");
    file.write_all_at(&vec![0; 34 * 512], 0).and_then(|()| file.sync_all()).expect("zeroed");
    drop(file);
    keha_fs::Volume::open(&named(id)).expect("read by the backup table");
    for path in [named(id), disk.part(1)] {
        let said = refused(&path, &disk.part(1));
        assert!(said.contains("damaged in front") && said.contains("gdisk"), "{said}");
    }
}

#[test]
fn more_than_the_partition_has_is_refused_and_trying_writes_nothing() {
    let Some((disk, id)) = Disk::with_partition(512, 32) else { return };
    let before = front(&disk.part(1));
    let options = CreateOptions { size_bytes: 1 << 30, ..CreateOptions::default() };
    assert!(matches!(make(&named(id), &options), Err(Error::Invalid(_))));
    let planned = plan_at(&named(id), &CreateOptions::default()).expect("planned");
    assert!(planned.size_bytes > 28 << 20, "{planned:?}");
    assert!(front(&disk.part(1)) == before, "something was written");
}
