//! The guide to partitions, `docs/partitions.md`: all of its commands, in their order, on a disk of this test's own.

use crate::loop_device::{Kind, LoopDevice};
use crate::support::{keha, stderr, stdout};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A disk to lose; taken away at the end.
struct Disk(LoopDevice);

impl Disk {
    /// A loop device over an image in `dir`, or `None` where none is to be had: the test is then skipped.
    fn new(dir: &Path, sector_bytes: u32) -> Option<Disk> {
        let image = dir.join("disk");
        fs::File::create(&image).and_then(|file| file.set_len(128 << 20)).expect("an image");
        let kind = Kind { sector_bytes, direct: false, partitions: false };
        let device = LoopDevice::attach(&image, kind);
        device.inspect_err(|error| eprintln!("skipped: no loop device to be had ({error})")).ok().map(Disk)
    }
}

/// The shell commands of a section, block by block.
fn commands(section: &str) -> Vec<&str> {
    section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The disk has become larger.
const LARGER: &str = "truncate --size=192M disk\nlosetup --set-capacity $DISK\n";
/// Its table is damaged in front.
const DAMAGE: &str = "dd if=/dev/zero of=$DISK bs=4096 count=5 conv=fsync\n";

#[test]
fn the_guide_leads_from_a_bare_disk_to_a_recording_volume() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/partitions.md");
    let guide = fs::read_to_string(guide).expect("the guide");
    let (of_parted, others): (Vec<&str>, Vec<&str>) =
        guide.split("\n## ").partition(|section| section.starts_with("With parted"));
    let blocks: Vec<&str> = others.into_iter().flat_map(commands).collect();
    let [bare, makes, goes_on @ .., grows, rebuilds] = blocks.as_slice() else { panic!("{blocks:?}") };
    assert!(bare.contains("/dev/sdX") && makes.contains("sgdisk --new") && goes_on.len() > 2, "{blocks:?}");
    assert!(grows.contains("volume grow") && rebuilds.contains("gdisk"), "{blocks:?}");
    let goes_on: &str = &goes_on.concat();
    follow(&[bare, makes, goes_on, LARGER, grows, DAMAGE, rebuilds].concat());
    let blocks: Vec<&str> = of_parted.into_iter().flat_map(commands).collect();
    let [makes, grows] = blocks.as_slice() else { panic!("{blocks:?}") };
    follow(&[bare, makes, goes_on, LARGER, grows, DAMAGE, rebuilds].concat());
}

/// Does what a guide says, on a disk with sectors of either size.
fn follow(all: &str) {
    for sector_bytes in [512, 4096] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let Some(disk) = Disk::new(dir.path(), sector_bytes) else { return };
        let folder = Path::new(env!("CARGO_BIN_EXE_keha")).parent().expect("a folder").display();
        let script = format!("set -euxo pipefail\n{}", all.replace("/dev/sdX", disk.0.node()));
        let mut like_keha = Command::new("bash");
        for (name, value) in keha().get_envs() {
            match value {
                Some(value) => like_keha.env(name, value),
                None => like_keha.env_remove(name),
            };
        }
        let path = format!("{folder}:/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap_or_default());
        let output = like_keha
            .args(["-c", &script])
            .current_dir(dir.path())
            .env("PATH", path)
            .env("KEHA_RUNTIME_DIR", dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("bash runs");
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        let said = stdout(&output);
        for says in [
            "would create partuuid:",
            "created partuuid:",
            "grew partuuid:",
            &format!("number 1 on {}", disk.0.node()),
        ] {
            assert!(said.contains(says), "{says:?}: {said}{}", stderr(&output));
        }
        assert_eq!(said.contains("would grow partuuid:"), all.contains("grow \"partuuid:$ID\" --dry-run"));
    }
}
