//! The disk against the kernel: what it promises, seen through system calls.

use super::*;
use rand::SeedableRng;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::mpsc::channel;

struct Scene {
    disk: FaultyDisk,
    dir: tempfile::TempDir,
}

/// `None` where such disks cannot be.
fn scene() -> Option<Scene> {
    if !crate::tried::is_possible(possible) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let disk = FaultyDisk::mount(dir.path(), &image, nix::unistd::getuid().as_raw()).unwrap();
    Some(Scene { disk, dir })
}

impl Scene {
    fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(self.disk.volume()).unwrap()
    }

    fn mounted(&self) -> bool {
        mounts(self.dir.path())
    }
}

fn mounts(dir: &Path) -> bool {
    let at = dir.join("faulty");
    std::fs::read_to_string("/proc/self/mounts").unwrap().contains(at.to_str().unwrap())
}

fn code(result: std::io::Result<()>) -> Option<Errno> {
    result.err().and_then(|error| error.raw_os_error()).map(Errno::from_raw)
}

#[test]
fn a_cut_loses_what_was_not_flushed_and_nothing_else() {
    let Some(scene) = scene() else { return };
    let file = scene.open();
    file.write_all_at(&[1; 8192], 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[2; 4096], 0).unwrap();
    let mut read = [0; 4096];
    scene.open().read_exact_at(&mut read, 0).unwrap();
    assert_eq!(read, [2; 4096], "another opening sees what was written");
    scene.disk.cut();
    assert_eq!(code(file.write_all_at(&[3; 4096], 0)), Some(Errno::EIO));
    assert_eq!(code(file.sync_data()), Some(Errno::EIO));
    let survivors = scene.disk.restore(&mut StdRng::seed_from_u64(3)).unwrap();
    assert_eq!(survivors.volatile, 8);
    let mut after = [0; 8192];
    file.read_exact_at(&mut after, 0).unwrap();
    assert!(after[..4096].iter().all(|byte| [1, 2].contains(byte)));
    assert_eq!(after[4096..], [1; 4096]);
}

#[test]
fn a_cut_comes_in_the_midst_of_writes() {
    let Some(scene) = scene() else { return };
    let file = scene.open();
    scene.disk.state().faults.changes_left = Some(3);
    let written: Vec<bool> = (0..5).map(|i| file.write_all_at(&[1; 512], i * 512).is_ok()).collect();
    assert_eq!(written, [true, true, false, false, false]);
    assert!(scene.disk.state().cut_ns.is_some_and(|cut_ns| cut_ns <= crate::process::now_ns()));
    let survivors = scene.disk.restore(&mut StdRng::seed_from_u64(4)).unwrap();
    assert_eq!(survivors.volatile, 2);
    assert!(file.write_all_at(&[1; 512], 0).is_ok());
}

#[test]
fn it_takes_direct_io() {
    let Some(scene) = scene() else { return };
    let mut options = OpenOptions::new();
    let direct = nix::fcntl::OFlag::O_DIRECT.bits();
    let file = options.read(true).write(true).custom_flags(direct).open(scene.disk.volume()).unwrap();
    let memory = vec![7_u8; 3 * 4096];
    let skip = memory.as_ptr().align_offset(4096);
    file.write_all_at(&memory[skip..skip + 4096], 8192).unwrap();
    let mut read = [0; 4096];
    scene.open().read_exact_at(&mut read, 8192).unwrap();
    assert_eq!(read, [7; 4096]);
}

#[test]
fn errors_come_where_they_are_asked_for_and_go_when_it_is_healed() {
    let Some(scene) = scene() else { return };
    let file = scene.open();
    scene.disk.fail_writes(65_536..131_072, Errno::EIO);
    assert_eq!(code(file.write_all_at(&[1; 4096], 61_440)), None);
    assert_eq!(code(file.write_all_at(&[1; 8192], 61_440)), Some(Errno::EIO));
    scene.disk.fail_writes(0..u64::MAX, Errno::ENOSPC);
    assert_eq!(code(file.write_all_at(&[1; 512], 0)), Some(Errno::ENOSPC));
    scene.disk.fail_flushes(Errno::EIO);
    assert_eq!(code(file.sync_data()), Some(Errno::EIO));
    scene.disk.heal();
    assert_eq!(code(file.write_all_at(&[1; 512], 0)), None);
    assert_eq!(code(file.sync_data()), None);
    assert_eq!(scene.disk.tally(), Tally { writes: 2, flushes: 1, refused: 3, held: 0 });
}

#[test]
fn a_stall_holds_everything_until_it_is_over() {
    let Some(scene) = scene() else { return };
    let file = scene.open();
    let stall = scene.disk.stall();
    let (sender, done) = channel();
    let writing = std::thread::spawn(move || {
        file.write_all_at(&[5; 512], 0).unwrap();
        sender.send(()).unwrap();
    });
    wait::until("a request to be held", Duration::from_secs(10), || {
        Ok((scene.disk.tally().held == 1).then_some(()))
    })
    .unwrap();
    assert!(std::fs::metadata(scene.disk.volume()).is_ok(), "it is there all the same");
    assert!(done.try_recv().is_err());
    drop(stall);
    done.recv_timeout(Duration::from_secs(10)).unwrap();
    writing.join().unwrap();
}

#[test]
fn it_is_unmounted_when_dropped_with_requests_waiting_and_after_a_panic() {
    let Some(scene) = scene() else { return };
    assert!(scene.mounted());
    let dir = scene.dir.path().to_owned();
    let file = scene.open();
    scene.disk.state().faults.stalled = true;
    let waiting = std::thread::spawn(move || code(file.sync_data()));
    wait::until("a request to be held", Duration::from_secs(10), || {
        Ok((scene.disk.tally().held == 1).then_some(()))
    })
    .unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _disk = scene.disk;
        panic!("as a failing test does");
    }));
    assert!(panicked.is_err());
    assert_eq!(waiting.join().unwrap(), Some(Errno::EIO));
    assert!(!mounts(&dir));
}
