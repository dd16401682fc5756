//! [`FileDisk`] and [`FileReader`] on real files, with each engine: past the page cache, through it, and where it ends.

use std::sync::Arc;

use super::*;
use crate::disk::testing::{LoopDevice, Mounted, scratch};
use crate::disk::{AlignedBuffer, FileReader, ReadAt, create_file};

const WAIT: Duration = Duration::from_secs(60);

/// Each of these once with each engine, whose name is part of the test's.
macro_rules! with_each_engine {
    ($($name:ident),* $(,)?) => {
        mod threads {
            $(#[test]
            fn $name() {
                super::$name(super::IoEngine::Threads);
            })*
        }
        mod uring {
            $(#[test]
            fn $name() {
                if super::there_is_uring() {
                    super::$name(super::IoEngine::Uring);
                }
            })*
        }
    };
}

with_each_engine! {
    every_operation_comes_back_once_with_its_buffer,
    a_bad_operation_fails_alone_and_gives_its_buffer_back,
    a_reader_sees_what_the_writer_completed_at_any_alignment,
    one_writer_at_a_time_and_the_next_as_soon_as_it_is_closed,
    another_thread_can_end_a_wait,
    a_waker_outlives_its_disk,
    without_direct_io_everything_works_through_the_page_cache,
    a_filesystem_that_refuses_direct_io_is_used_through_the_page_cache,
    a_full_filesystem_fails_the_write_and_not_the_disk,
    a_device_that_runs_out_of_space_fails_the_write_and_not_the_disk,
    a_read_ends_where_the_file_was_cut_off_meanwhile,
    a_block_device_serves_as_a_file_does_and_has_one_writer,
    a_device_of_large_sectors_is_written_by_them,
    a_dropped_disk_lands_what_it_had_started_and_then_gives_up_its_lock,
    a_disk_moves_between_threads_with_what_is_under_way,
    one_request_at_a_time_is_enough,
}

/// Whether this machine lets tests have io_uring; says so if not.
pub(super) fn there_is_uring() -> bool {
    Ring::set_up(1).inspect_err(|refusal| eprintln!("not tried: io_uring: {refusal}")).is_ok()
}

pub(super) fn options(engine: IoEngine) -> FileOptions {
    FileOptions { engine, ..FileOptions::default() }
}

pub(super) fn volume(folder: &Path, size_bytes: u64) -> std::path::PathBuf {
    let path = folder.join("volume");
    create_file(&path, size_bytes, false, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    path
}

pub(super) fn open(path: &Path, engine: IoEngine) -> FileDisk {
    let disk = FileDisk::open(path, &options(engine)).unwrap();
    assert_eq!(disk.engine() == EngineKind::Uring, engine == IoEngine::Uring);
    disk
}

pub(super) fn write(disk: &mut FileDisk, offset: u64, len: usize, fill: u8) -> Token {
    let mut buffer = AlignedBuffer::zeroed(len);
    buffer.fill(fill);
    disk.submit(Operation::Write { offset, buffer: Arc::new(buffer), len })
}

pub(super) fn finish(disk: &mut FileDisk) -> Completion {
    disk.poll(WAIT).expect("an operation in flight ends")
}

fn every_operation_comes_back_once_with_its_buffer(engine: IoEngine) {
    let folder = scratch();
    let mut disk = open(&volume(folder.path(), 1 << 20), engine);
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

fn a_bad_operation_fails_alone_and_gives_its_buffer_back(engine: IoEngine) {
    let folder = scratch();
    let mut disk = open(&volume(folder.path(), 1 << 20), engine);
    write(&mut disk, 1 << 20, 4096, 1);
    let completion = finish(&mut disk);
    assert_eq!(completion.result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert!(matches!(completion.operation, Operation::Write { buffer, .. } if buffer.len() == 4096));
    write(&mut disk, 0, 4096, 1);
    finish(&mut disk).result.unwrap();
}

fn a_reader_sees_what_the_writer_completed_at_any_alignment(engine: IoEngine) {
    let folder = scratch();
    let path = volume(folder.path(), (3 << 20) + 1000);
    let reader = FileReader::open(&path).unwrap();
    eprintln!("past the page cache: {}, unit {}", reader.direct(), reader.alignment_bytes());
    let buffered = FileReader::open_with(&path, false).unwrap();
    let mut disk = open(&path, engine);
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

fn one_writer_at_a_time_and_the_next_as_soon_as_it_is_closed(engine: IoEngine) {
    let folder = scratch();
    let path = volume(folder.path(), 1 << 20);
    for _ in 0..20 {
        let mut disk = open(&path, engine);
        write(&mut disk, 0, 4096, 1);
        finish(&mut disk).result.unwrap();
        let second = FileOptions { lock_wait: Duration::ZERO, ..options(engine) };
        assert!(matches!(FileDisk::open(&path, &second), Err(Error::Locked { .. })));
        FileReader::open(&path).unwrap();
    }
}

fn another_thread_can_end_a_wait(engine: IoEngine) {
    let folder = scratch();
    let mut disk = open(&volume(folder.path(), 1 << 20), engine);
    let waker = disk.waker().unwrap();
    // As if the device took for ever.
    disk.in_flight = 1;
    assert!(disk.poll(Duration::ZERO).is_none());
    // Kept for the next poll, and used up by it.
    waker.wake();
    assert!(disk.poll(WAIT).is_none());
    std::thread::scope(|scope| {
        scope.spawn(|| waker.wake());
        assert!(disk.poll(WAIT).is_none());
    });
}

fn a_waker_outlives_its_disk(engine: IoEngine) {
    let folder = scratch();
    let disk = open(&volume(folder.path(), 1 << 20), engine);
    let waker = disk.waker().unwrap();
    drop(disk);
    waker.wake();
}

fn without_direct_io_everything_works_through_the_page_cache(engine: IoEngine) {
    let folder = scratch();
    let path = volume(folder.path(), 1 << 20);
    let options = FileOptions { prefer_direct: false, ..options(engine) };
    let mut disk = FileDisk::open(&path, &options).unwrap();
    assert_eq!((disk.direct(), disk.alignment_bytes()), (false, 512));
    write(&mut disk, 512, 512, 5);
    finish(&mut disk).result.unwrap();
    let mut bytes = [0; 514];
    FileReader::open(&path).unwrap().read_exact_at(&mut bytes, 511).unwrap();
    assert_eq!((bytes[0], bytes[1], bytes[512], bytes[513]), (0, 5, 5, 0));
}

fn a_filesystem_that_refuses_direct_io_is_used_through_the_page_cache(engine: IoEngine) {
    let Some(mounted) = Mounted::new("ramfs", "") else { return };
    let path = mounted.file("volume", 1 << 20);
    {
        let mut disk = open(&path, engine);
        assert!(!disk.direct());
        write(&mut disk, 4096, 4096, 6);
        finish(&mut disk).result.unwrap();
        let reader = FileReader::open(&path).unwrap();
        let mut byte = [0];
        reader.read_exact_at(&mut byte, 5000).unwrap();
        assert_eq!((reader.direct(), byte[0]), (false, 6));
    }
}

fn a_full_filesystem_fails_the_write_and_not_the_disk(engine: IoEngine) {
    let Some(mounted) = Mounted::new("tmpfs", "size=1m") else { return };
    let path = mounted.file("sparse", 8 << 20);
    {
        let mut disk = open(&path, engine);
        write(&mut disk, 0, 4 << 20, 1);
        assert_eq!(finish(&mut disk).result.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        write(&mut disk, 0, 4096, 2);
        finish(&mut disk).result.unwrap();
    }
}

fn a_device_that_runs_out_of_space_fails_the_write_and_not_the_disk(engine: IoEngine) {
    let Some(mounted) = Mounted::new("tmpfs", "size=1m") else { return };
    let Some(device) = LoopDevice::new(&mounted.file("sparse", 8 << 20)) else { return };
    let mut disk = open(device.path(), engine);
    write(&mut disk, 0, 4 << 20, 1);
    finish(&mut disk).result.unwrap_err();
    // Whatever of the failed write took up room stays there.
    disk.submit(Operation::Read { offset: 6 << 20, buffer: AlignedBuffer::zeroed(4096) });
    finish(&mut disk).result.unwrap();
}

fn a_read_ends_where_the_file_was_cut_off_meanwhile(engine: IoEngine) {
    let folder = scratch();
    let path = volume(folder.path(), 1 << 20);
    let mut disk = open(&path, engine);
    write(&mut disk, 0, 8192, 9);
    finish(&mut disk).result.unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(5000).unwrap();
    disk.submit(Operation::Read { offset: 0, buffer: AlignedBuffer::zeroed(8192) });
    assert_eq!(finish(&mut disk).result.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    disk.submit(Operation::Read { offset: 0, buffer: AlignedBuffer::zeroed(4096) });
    finish(&mut disk).result.unwrap();
}

#[test]
fn what_is_no_storage_is_refused() {
    let folder = scratch();
    assert!(matches!(FileDisk::open(folder.path(), &FileOptions::default()), Err(Error::Invalid(_))));
    assert!(matches!(FileDisk::open("/dev/null", &FileOptions::default()), Err(Error::Invalid(_))));
    assert!(matches!(FileReader::open(folder.path().join("nothing")), Err(Error::Io { .. })));
}

fn a_block_device_serves_as_a_file_does_and_has_one_writer(engine: IoEngine) {
    let folder = scratch();
    let Some(device) = LoopDevice::new(&volume(folder.path(), 8 << 20)) else { return };
    {
        let mut disk = open(device.path(), engine);
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
        let second = FileOptions { lock_wait: Duration::ZERO, ..options(engine) };
        let refused = FileDisk::open(device.path(), &second).unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    }
    drop(open(device.path(), engine));
}

fn a_dropped_disk_lands_what_it_had_started_and_then_gives_up_its_lock(engine: IoEngine) {
    let folder = scratch();
    let path = volume(folder.path(), 64 << 20);
    let mut disk = open(&path, engine);
    for number in 0..16 {
        write(&mut disk, number * (4 << 20), 4 << 20, 1);
    }
    drop(disk);
    // Waits for the lock, so nothing of the first writer can land any more.
    let mut disk = open(&path, engine);
    for number in 0..16 {
        write(&mut disk, number * (4 << 20), 4 << 20, 2);
    }
    (0..16).for_each(|_| finish(&mut disk).result.unwrap());
    let mut bytes = vec![0; 64 << 20];
    FileReader::open(&path).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 2));
}

fn a_device_of_large_sectors_is_written_by_them(engine: IoEngine) {
    let folder = scratch();
    let Some(device) = LoopDevice::with_sectors_of(&volume(folder.path(), 8 << 20), 4096) else { return };
    let mut disk = open(device.path(), engine);
    assert_eq!((disk.direct(), disk.alignment_bytes()), (true, 4096));
    write(&mut disk, 512, 4096, 1);
    assert_eq!(finish(&mut disk).result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    write(&mut disk, 4096, 4096, 1);
    finish(&mut disk).result.unwrap();
}

fn a_disk_moves_between_threads_with_what_is_under_way(engine: IoEngine) {
    let folder = scratch();
    let path = volume(folder.path(), 16 << 20);
    // The thread that opened it and submitted has ended before anything is taken.
    let mut disk = std::thread::scope(|scope| {
        let opened = scope.spawn(|| {
            let mut disk = open(&path, engine);
            for number in 0..16 {
                write(&mut disk, number << 20, 1 << 20, number as u8);
            }
            assert!(disk.poll(WAIT).unwrap().result.is_ok());
            disk
        });
        opened.join().unwrap()
    });
    (1..16).for_each(|_| finish(&mut disk).result.unwrap());
    disk.submit(Operation::Flush);
    finish(&mut disk).result.unwrap();
    let mut bytes = vec![0; 16 << 20];
    FileReader::open(&path).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.chunks(1 << 20).enumerate().all(|(n, part)| part.iter().all(|&byte| byte == n as u8)));
}

fn one_request_at_a_time_is_enough(engine: IoEngine) {
    let folder = scratch();
    let options = FileOptions { depth: 1, ..options(engine) };
    let mut disk = FileDisk::open(volume(folder.path(), 1 << 20), &options).unwrap();
    for number in 0..32 {
        write(&mut disk, number * 4096, 4096, 1);
    }
    (0..32).for_each(|_| finish(&mut disk).result.unwrap());
    assert_eq!(disk.in_flight(), 0);
}
