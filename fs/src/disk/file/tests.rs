//! [`FileDisk`] and [`FileReader`] on real files: past the page cache, through it, and where it ends.

use super::*;
use crate::disk::testing::{LoopDevice, Mounted, scratch};
use crate::disk::{AlignedBuffer, FileReader, ReadAt, create_file};

const WAIT: Duration = Duration::from_secs(60);

fn volume(folder: &Path, size_bytes: u64) -> std::path::PathBuf {
    let path = folder.join("volume");
    create_file(&path, size_bytes, false, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    path
}

fn open(path: &Path) -> FileDisk {
    FileDisk::open(path, &FileOptions::default()).unwrap()
}

fn write(disk: &mut FileDisk, offset: u64, len: usize, fill: u8) -> Token {
    let mut buffer = AlignedBuffer::zeroed(len);
    buffer.fill(fill);
    disk.submit(Operation::Write { offset, buffer: Arc::new(buffer), len })
}

fn finish(disk: &mut FileDisk) -> Completion {
    disk.poll(WAIT).expect("an operation in flight ends")
}

#[test]
fn every_operation_comes_back_once_with_its_buffer() {
    let folder = scratch();
    let mut disk = open(&volume(folder.path(), 1 << 20));
    let tokens: Vec<Token> = (0..64).map(|n| write(&mut disk, n * 4096, 4096, n as u8)).collect();
    assert_eq!(disk.in_flight(), 64);
    let mut done: Vec<Token> = (0..64)
        .map(|_| {
            let completion = finish(&mut disk);
            completion.result.unwrap();
            assert!(matches!(completion.operation, Operation::Write { len: 4096, .. }));
            completion.token
        })
        .collect();
    done.sort();
    assert_eq!(done, tokens);
    assert_eq!(disk.in_flight(), 0);
    assert!(disk.poll(WAIT).is_none());
    let token = disk.submit(Operation::Flush);
    let flushed = finish(&mut disk);
    assert_eq!(flushed.token, token);
    flushed.result.unwrap();
    disk.submit(Operation::Read { offset: 0, buffer: AlignedBuffer::zeroed(64 * 4096) });
    let Completion { operation: Operation::Read { buffer, .. }, result: Ok(()), .. } = finish(&mut disk)
    else {
        panic!("the read fails");
    };
    assert!(buffer.chunks(4096).enumerate().all(|(n, page)| page.iter().all(|&byte| byte == n as u8)));
}

#[test]
fn a_bad_operation_fails_alone_and_gives_its_buffer_back() {
    let folder = scratch();
    let mut disk = open(&volume(folder.path(), 1 << 20));
    write(&mut disk, 1 << 20, 4096, 1);
    let completion = finish(&mut disk);
    assert_eq!(completion.result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert!(matches!(completion.operation, Operation::Write { buffer, .. } if buffer.len() == 4096));
    write(&mut disk, 0, 4096, 1);
    finish(&mut disk).result.unwrap();
}

#[test]
fn a_reader_sees_what_the_writer_completed_at_any_alignment() {
    let folder = scratch();
    let path = volume(folder.path(), (3 << 20) + 1000);
    let reader = FileReader::open(&path).unwrap();
    eprintln!("past the page cache: {}, unit {}", reader.direct(), reader.alignment_bytes());
    let buffered = FileReader::open_with(&path, false).unwrap();
    let mut disk = open(&path);
    assert!(!buffered.direct());
    assert_eq!(disk.direct(), reader.direct());
    for round in 1..=20_u8 {
        write(&mut disk, 0, 3 << 20, round);
        finish(&mut disk).result.unwrap();
        for (offset, len) in [(0, 4096), (1, 1), (511, 2), (4095, 70_000), (1000, (2 << 20) + 77)] {
            for reader in [&reader, &buffered] {
                let mut bytes = vec![0; len];
                reader.read_exact_at(&mut bytes, offset).unwrap();
                assert!(bytes.iter().all(|&byte| byte == round), "round {round}, {len} bytes at {offset}");
            }
        }
    }
    let mut aligned = AlignedBuffer::zeroed(8192);
    reader.read_exact_at(&mut aligned, 4096).unwrap();
    assert!(aligned.iter().all(|&byte| byte == 20));
}

#[test]
fn the_odd_end_of_a_file_can_be_read_and_nothing_beyond() {
    let folder = scratch();
    let path = folder.path().join("cut");
    let bytes: Vec<u8> = (0..5000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let reader = FileReader::open(&path).unwrap();
    assert_eq!(reader.size_bytes(), 5000);
    let mut tail = [0; 10];
    reader.read_exact_at(&mut tail, 4990).unwrap();
    assert_eq!(tail, bytes[4990..]);
    for offset in [4991, 5000, u64::MAX] {
        let error = reader.read_exact_at(&mut tail, offset).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
    std::fs::File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
    let error = reader.read_exact_at(&mut tail, 4990).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn one_writer_at_a_time_and_the_next_as_soon_as_it_is_closed() {
    let folder = scratch();
    let path = volume(folder.path(), 1 << 20);
    for _ in 0..20 {
        let mut disk = open(&path);
        write(&mut disk, 0, 4096, 1);
        finish(&mut disk).result.unwrap();
        let second = FileOptions { lock_wait: Duration::ZERO, ..FileOptions::default() };
        assert!(matches!(FileDisk::open(&path, &second), Err(Error::Locked { .. })));
        FileReader::open(&path).unwrap();
    }
}

#[test]
fn another_thread_can_end_a_wait() {
    let folder = scratch();
    let mut disk = open(&volume(folder.path(), 1 << 20));
    let waker = disk.waker().unwrap();
    // As if the device took for ever.
    disk.in_flight = 1;
    // Kept for the next poll, and used up by it.
    waker.wake();
    assert!(disk.poll(WAIT).is_none());
    std::thread::scope(|scope| {
        scope.spawn(|| waker.wake());
        assert!(disk.poll(WAIT).is_none());
    });
}

#[test]
fn without_direct_io_everything_works_through_the_page_cache() {
    let folder = scratch();
    let path = volume(folder.path(), 1 << 20);
    let options = FileOptions { prefer_direct: false, ..FileOptions::default() };
    let mut disk = FileDisk::open(&path, &options).unwrap();
    assert_eq!((disk.direct(), disk.alignment_bytes()), (false, 512));
    write(&mut disk, 512, 512, 5);
    finish(&mut disk).result.unwrap();
    let mut bytes = [0; 514];
    FileReader::open(&path).unwrap().read_exact_at(&mut bytes, 511).unwrap();
    assert_eq!((bytes[0], bytes[1], bytes[512], bytes[513]), (0, 5, 5, 0));
}

#[test]
fn a_filesystem_that_refuses_direct_io_is_used_through_the_page_cache() {
    let Some(mounted) = Mounted::new("ramfs", "") else { return };
    let path = mounted.file("volume", 1 << 20);
    {
        let mut disk = open(&path);
        assert!(!disk.direct());
        write(&mut disk, 4096, 4096, 6);
        finish(&mut disk).result.unwrap();
        let reader = FileReader::open(&path).unwrap();
        let mut byte = [0];
        reader.read_exact_at(&mut byte, 5000).unwrap();
        assert_eq!((reader.direct(), byte[0]), (false, 6));
    }
}

#[test]
fn a_full_filesystem_fails_the_write_and_not_the_disk() {
    let Some(mounted) = Mounted::new("tmpfs", "size=1m") else { return };
    let path = mounted.file("sparse", 8 << 20);
    {
        let mut disk = open(&path);
        write(&mut disk, 0, 4 << 20, 1);
        assert_eq!(finish(&mut disk).result.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        write(&mut disk, 0, 4096, 2);
        finish(&mut disk).result.unwrap();
    }
}

#[test]
fn what_is_no_storage_is_refused() {
    let folder = scratch();
    assert!(matches!(FileDisk::open(folder.path(), &FileOptions::default()), Err(Error::Invalid(_))));
    assert!(matches!(FileDisk::open("/dev/null", &FileOptions::default()), Err(Error::Invalid(_))));
    assert!(matches!(FileReader::open(folder.path().join("nothing")), Err(Error::Io { .. })));
}

#[test]
fn a_block_device_serves_as_a_file_does_and_has_one_writer() {
    let folder = scratch();
    let Some(device) = LoopDevice::new(&volume(folder.path(), 8 << 20)) else { return };
    {
        let mut disk = open(device.path());
        assert_eq!(disk.size_bytes(), 8 << 20);
        write(&mut disk, 4096, 8192, 7);
        finish(&mut disk).result.unwrap();
        disk.submit(Operation::Flush);
        finish(&mut disk).result.unwrap();
        let reader = FileReader::open(device.path()).unwrap();
        let mut bytes = [0; 8194];
        reader.read_exact_at(&mut bytes, 4095).unwrap();
        assert_eq!(
            (reader.size_bytes(), bytes[0], bytes[1], bytes[8192], bytes[8193]),
            (8 << 20, 0, 7, 7, 0)
        );
        let second = FileOptions { lock_wait: Duration::ZERO, ..FileOptions::default() };
        let refused = FileDisk::open(device.path(), &second).unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    }
    drop(open(device.path()));
}

#[test]
fn a_dropped_disk_lands_what_it_had_started_and_then_gives_up_its_lock() {
    let folder = scratch();
    let path = volume(folder.path(), 64 << 20);
    let mut disk = open(&path);
    for number in 0..16 {
        write(&mut disk, number * (4 << 20), 4 << 20, 1);
    }
    drop(disk);
    // Waits for the lock, so nothing of the first writer can land any more.
    let mut disk = open(&path);
    for number in 0..16 {
        write(&mut disk, number * (4 << 20), 4 << 20, 2);
    }
    (0..16).for_each(|_| finish(&mut disk).result.unwrap());
    let mut bytes = vec![0; 64 << 20];
    FileReader::open(&path).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 2));
}
