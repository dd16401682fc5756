//! Each ground is what it says, and a disk that fails below a partition loses what was not flushed, and no more.

use super::*;
use crate::process::{Running, keha};
use crate::tried::is_possible;
use crate::wait;
use nix::fcntl::OFlag;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const CAMERA: &str = "cam=testsrc://?size=320x240&fps=10&gop=10";

/// What a recorder on a ground says of its I/O, and whose process it is.
fn told(ground: Ground, scratch: &Path) -> Result<(Value, u32)> {
    let laid = ground.lay(scratch, "64MiB", 1)?;
    let volume = text(&laid.volume)?;
    let mut recorder = Running::keha(&["record", volume, "--json", "--camera", CAMERA])?;
    let status = wait::until("the recorder to tell of itself", LIMIT, || {
        ensure!(recorder.ended()?.is_none(), "{}", recorder.stderr().join("\n"));
        let output = keha(&["status", volume, "--json"], LIMIT)?;
        Ok(serde_json::from_slice::<Value>(&output.stdout).ok().filter(|status| status["io"].is_object()))
    })?;
    let owner = std::fs::metadata(format!("/proc/{}", recorder.id()))?.uid();
    assert_eq!(status["pid"], recorder.id(), "the recorder that was started, and no other");
    ensure!(recorder.terminate(LIMIT)?.success(), "{}", recorder.stderr().join("\n"));
    rig::assert_check_clean(&laid.volume)?;
    Ok((status["io"].clone(), owner))
}

#[test]
fn each_ground_is_what_it_says() {
    let us = nix::unistd::getuid().as_raw();
    for (ground, engine, why, user) in [
        (Ground::Threads, "threads", "", us),
        (Ground::Uring, "io_uring", "", us),
        (Ground::Partition, "io_uring", "", us),
        (Ground::Sandbox, "threads", "a filter of system calls forbids it", us),
        (Ground::Unprivileged, "io_uring", "", NOBODY),
    ] {
        if !is_possible(|| ground.possible()) {
            continue;
        }
        let scratch = ground.scratch().unwrap();
        let (io, owner) =
            told(ground, scratch.path()).unwrap_or_else(|error| panic!("{ground:?}: {error:#}"));
        assert_eq!((io["engine"].as_str(), owner), (Some(engine), user), "{ground:?}: {io}");
        assert!(io["why"].as_str().unwrap_or_default().contains(why), "{ground:?}: {io}");
        assert_eq!(io["why"].is_null(), why.is_empty(), "{ground:?}: {io}");
    }
}

#[test]
fn a_ground_is_found_by_its_name_and_by_no_other() {
    assert!(Ground::ALL.into_iter().all(|ground| Ground::named(ground.name()) == Some(ground)));
    assert_eq!(Ground::named("moon"), None);
}

fn open(node: &Path, flags: OFlag) -> File {
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(node).unwrap()
}

/// A sector of these bytes where direct I/O takes it from.
fn write(to: &File, byte: u8, at: u64) -> std::io::Result<()> {
    let memory = vec![byte; 3 * 4096];
    let skip = memory.as_ptr().align_offset(4096);
    to.write_all_at(&memory[skip..skip + 4096], at)
}

#[test]
fn a_flush_of_a_partition_reaches_the_disk_below_and_what_was_not_flushed_is_lost_with_the_power() {
    if !is_possible(|| partition::possible().and_then(|()| crate::faulty::possible())) {
        return;
    }
    let scratch = Ground::Partition.scratch().unwrap();
    let (disk, partition) = Partition::on_faulty(scratch.path(), "8MiB", Hangs::Never).unwrap();
    let direct = open(&partition.node(), OFlag::O_DIRECT);
    let before = disk.tally();
    write(&direct, 1, 65_536).unwrap();
    let written = disk.tally();
    assert_eq!((written.writes, written.flushes), (before.writes + 1, before.flushes), "it is there at once");
    direct.sync_data().unwrap();
    assert!(disk.tally().flushes > written.flushes, "no flush came through: {:?}", disk.tally());
    // So many that chance cannot leave all of them.
    let mut lost = 0;
    for seed in 0..12 {
        let flushes = disk.tally().flushes;
        write(&direct, 2, 65_536).unwrap();
        assert_eq!(disk.tally().flushes, flushes, "nobody asked for it");
        disk.cut();
        assert!(write(&direct, 3, 65_536).is_err() && direct.sync_data().is_err(), "the power is off");
        let survivors = disk.restore(&mut StdRng::seed_from_u64(seed)).unwrap();
        assert_eq!(survivors.volatile, 8);
        // Neither the page cache of the loop device's file nor that of the partition hides it.
        let mut read = [0; 4096];
        open(&partition.node(), OFlag::empty()).read_exact_at(&mut read, 65_536).unwrap();
        let of =
            |byte: u8| read.chunks(512).filter(|sector| sector.iter().all(|it| *it == byte)).count() as u64;
        assert_eq!((of(2), of(1)), (survivors.kept, 8 - survivors.kept));
        lost += of(1);
        write(&direct, 1, 65_536).unwrap();
        direct.sync_data().unwrap();
    }
    assert!(lost > 8, "{lost} sectors were lost in 12 cuts");
}

#[test]
fn the_device_of_a_partition_is_gone_with_it_also_while_the_power_is_off() {
    if !is_possible(|| partition::possible().and_then(|()| crate::faulty::possible())) {
        return;
    }
    let scratch = Ground::Partition.scratch().unwrap();
    let (disk, partition) = Partition::on_faulty(scratch.path(), "8MiB", Hangs::Never).unwrap();
    let here = text(scratch.path()).unwrap();
    let devices = || {
        let all = std::fs::read_dir("/sys/block").unwrap().flatten();
        let backing = all.map(|entry| std::fs::read_to_string(entry.path().join("loop/backing_file")));
        backing.flatten().filter(|file| file.contains(here)).count()
    };
    let mounted = || std::fs::read_to_string("/proc/self/mounts").unwrap().contains(here);
    assert!(devices() == 1 && mounted() && partition.node().exists());
    disk.cut();
    drop((partition, disk));
    assert!(devices() == 0 && !mounted());
}
