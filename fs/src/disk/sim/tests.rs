//! What the simulated disk promises its users, and what it refuses to promise.

use super::*;
use crate::clock::Clock;
use crate::disk::AlignedBuffer;

const WAIT: Duration = Duration::from_secs(1);

fn write(disk: &mut SimDisk, offset: u64, sectors: usize, fill: u8) -> Token {
    let mut buffer = AlignedBuffer::zeroed(sectors * SECTOR_BYTES);
    buffer.fill(fill);
    let len = buffer.len();
    disk.submit(Operation::Write { offset, buffer: Arc::new(buffer), len })
}

/// Completes all that is in flight; the results in the order of completion.
fn drain(disk: &mut SimDisk) -> Vec<(Token, io::Result<()>)> {
    let completions = std::iter::from_fn(|| disk.poll(WAIT));
    completions.map(|completion| (completion.token, completion.result)).collect()
}

fn flush(disk: &mut SimDisk) -> io::Result<()> {
    let token = disk.submit(Operation::Flush);
    let (_, result) = drain(disk).into_iter().find(|(done, _)| *done == token).unwrap();
    result
}

/// The first byte of each sector.
fn marks(image: &impl ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; image.size_bytes() as usize];
    image.read_exact_at(&mut bytes, 0).unwrap();
    bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect()
}

fn disk(sectors: usize, seed: u64) -> SimDisk {
    SimDisk::new(sectors * SECTOR_BYTES, seed)
}

#[test]
fn what_was_flushed_survives_and_what_was_not_may_tear_by_the_sector() {
    let mut disk = disk(4, 1);
    write(&mut disk, 0, 2, 1);
    drain(&mut disk);
    flush(&mut disk).unwrap();
    write(&mut disk, 512, 2, 2);
    drain(&mut disk);
    assert_eq!(disk.pending_sectors(), 2);
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [1, 1, 0, 0]);
    assert_eq!(marks(&disk.crash(CrashPlan::All)), [1, 2, 2, 0]);
    assert_eq!(marks(&disk.crash(CrashPlan::Single(1))), [1, 1, 2, 0]);
    assert_eq!(marks(&disk.crash(CrashPlan::Mask(0b01))), [1, 2, 0, 0]);
    assert_eq!(marks(&disk.reader()), [1, 2, 2, 0]);
}

#[test]
fn a_power_cut_may_lose_or_keep_writes_whole() {
    let mut disk = disk(6, 1);
    (0..3).for_each(|place| {
        write(&mut disk, place * 1024, 2, place as u8 + 1);
    });
    assert_eq!(marks(&disk.crash(CrashPlan::AllButWrite(4))), [1, 1, 0, 0, 3, 3]);
    let images: std::collections::BTreeSet<_> =
        (0..100).map(|seed| marks(&disk.crash(CrashPlan::Writes(seed)))).collect();
    assert_eq!(images.len(), 8, "{images:?}");
    assert!(images.iter().all(|marks| marks.chunks(2).all(|write| write[0] == write[1])));
}

#[test]
fn a_flush_covers_what_completed_before_it_was_submitted_and_nothing_else() {
    let mut disk = disk(3, 1);
    disk.set_in_order(true);
    write(&mut disk, 0, 1, 1);
    drain(&mut disk);
    // The second write is in flight when the flush is submitted, and completes before it.
    write(&mut disk, 512, 1, 2);
    flush(&mut disk).unwrap();
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [1, 0, 0]);
    assert_eq!(disk.pending_sectors(), 1);
    flush(&mut disk).unwrap();
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [1, 2, 0]);
}

#[test]
fn a_flush_that_has_not_completed_promises_nothing() {
    let mut disk = disk(1, 1);
    write(&mut disk, 0, 1, 1);
    drain(&mut disk);
    disk.submit(Operation::Flush);
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [0]);
}

#[test]
fn after_a_failed_flush_only_writing_again_makes_durable() {
    let mut disk = disk(2, 1);
    write(&mut disk, 0, 2, 1);
    drain(&mut disk);
    disk.fail_nth(disk.submitted(), Errno::EIO, Repeat::Once, Kinds::FLUSHES);
    assert_eq!(flush(&mut disk).unwrap_err().raw_os_error(), Some(Errno::EIO as i32));
    // The bare retry of a flush succeeds and means nothing.
    flush(&mut disk).unwrap();
    assert_eq!(marks(&disk.reader()), [1, 1]);
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [0, 0]);
    assert_eq!(marks(&disk.crash(CrashPlan::Single(1))), [0, 1]);
    write(&mut disk, 0, 1, 1);
    drain(&mut disk);
    flush(&mut disk).unwrap();
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [1, 0]);
    assert_eq!(disk.pending_sectors(), 1);
}

#[test]
fn a_cache_may_forget_what_a_failed_flush_left_in_it() {
    let outcomes: std::collections::BTreeSet<Vec<u8>> = (0..64)
        .map(|seed| {
            let mut disk = disk(2, seed);
            write(&mut disk, 0, 2, 1);
            drain(&mut disk);
            disk.fail_nth(0, Errno::EIO, Repeat::Once, Kinds::FLUSHES);
            flush(&mut disk).unwrap_err();
            disk.settle_doubtful();
            assert_eq!(disk.pending_sectors(), 0);
            assert_eq!(disk.crash(CrashPlan::None), disk.snapshot());
            marks(&disk.reader())
        })
        .collect();
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
}

#[test]
fn a_failed_write_leaves_nothing_or_all_or_a_part() {
    let outcomes: std::collections::BTreeSet<Vec<u8>> = (0..200)
        .map(|seed| {
            let mut disk = disk(3, seed);
            disk.fail_nth(0, Errno::ENOSPC, Repeat::Once, Kinds::WRITES);
            write(&mut disk, 0, 3, 1);
            let (_, result) = drain(&mut disk).remove(0);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
            // A good flush proves nothing about it.
            flush(&mut disk).unwrap();
            assert_eq!(marks(&disk.crash(CrashPlan::None)), [0, 0, 0]);
            assert_eq!(disk.crash(CrashPlan::All), disk.snapshot());
            marks(&disk.reader())
        })
        .collect();
    assert_eq!(outcomes.len(), 8, "{outcomes:?}");
}

#[test]
fn the_nth_operation_fails_whatever_it_is() {
    for n in 0..6 {
        let mut disk = disk(4, 1);
        disk.set_in_order(true);
        disk.fail_nth(n, Errno::EIO, Repeat::Once, Kinds::ALL);
        for sector in 0..2 {
            write(&mut disk, sector * 512, 1, 1);
            disk.submit(Operation::Read { offset: 0, buffer: AlignedBuffer::zeroed(512) });
            disk.submit(Operation::Flush);
        }
        let failed: Vec<u64> = drain(&mut disk)
            .into_iter()
            .filter_map(|(token, result)| result.is_err().then_some(token.get()))
            .collect();
        assert_eq!(failed, [n]);
        assert_eq!(disk.stats().failed, 1);
    }
}

#[test]
fn a_read_beside_the_writer_fails_by_its_number() {
    let failures = |repeat| {
        let disk = disk(1, 1);
        let reader = disk.reader();
        disk.fail_reader(2, Errno::EIO, repeat);
        let read = || reader.read_exact_at(&mut [0; 8], 0).is_err();
        let failed = [read(), read(), read(), read()];
        disk.clear_faults();
        assert!(!read());
        assert_eq!(disk.reader_reads(), 5);
        failed
    };
    assert_eq!(failures(Repeat::Once), [false, false, true, false]);
    assert_eq!(failures(Repeat::Forever), [false, false, true, true]);
}

#[test]
fn a_device_that_is_gone_fails_everything_from_then_on_and_may_come_back() {
    let mut disk = disk(4, 1);
    write(&mut disk, 0, 1, 1);
    disk.fail_nth(1, Errno::ENODEV, Repeat::Forever, Kinds::ALL);
    for sector in 1..4 {
        write(&mut disk, sector * 512, 1, 1);
    }
    assert_eq!(drain(&mut disk).iter().filter(|(_, result)| result.is_err()).count(), 3);
    flush(&mut disk).unwrap_err();
    disk.clear_faults();
    write(&mut disk, 0, 4, 2);
    drain(&mut disk);
    flush(&mut disk).unwrap();
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [2; 4]);
}

#[test]
fn lost_and_misdirected_writes_report_success() {
    let mut disk = disk(4, 1);
    disk.lose(0);
    disk.misdirect(1, 1024);
    write(&mut disk, 0, 1, 1);
    write(&mut disk, 512, 1, 2);
    write(&mut disk, 1536, 1, 3);
    assert!(drain(&mut disk).iter().all(|(_, result)| result.is_ok()));
    flush(&mut disk).unwrap();
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [0, 0, 2, 3]);
}

#[test]
fn a_read_may_come_from_the_wrong_place_or_fail_with_garbage() {
    let mut disk = SimDisk::from_image(vec![7; 1024], 1);
    disk.overwrite(512, &[8; 512]);
    disk.inject(0, Repeat::Once, Kinds::READS, Effect::Misdirect(512));
    disk.fail_nth(1, Errno::EIO, Repeat::Once, Kinds::READS);
    let mut read = || {
        disk.submit(Operation::Read { offset: 0, buffer: AlignedBuffer::zeroed(512) });
        let completion = disk.poll(WAIT).unwrap();
        let Operation::Read { buffer, .. } = completion.operation else { panic!("not the read") };
        (buffer[0], completion.result.is_ok())
    };
    assert_eq!(read(), (8, true));
    assert_eq!(read(), (0xdb, false));
    assert_eq!(read(), (7, true));
}

#[test]
fn rot_shows_wherever_the_byte_is_held() {
    let mut disk = disk(3, 1);
    write(&mut disk, 0, 3, 1);
    drain(&mut disk);
    flush(&mut disk).unwrap();
    write(&mut disk, 512, 1, 2);
    drain(&mut disk);
    disk.rot_bit(512, 7);
    assert_eq!(marks(&disk.reader()), [1, 130, 1]);
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [1, 129, 1]);
    flush(&mut disk).unwrap();
    assert_eq!(marks(&disk.crash(CrashPlan::None)), [1, 130, 1]);
}

#[test]
fn a_bad_range_fails_for_those_who_touch_it_readers_included() {
    let mut disk = disk(4, 1);
    disk.fail_range(512..513, Errno::EIO, Kinds::READS);
    let reader = disk.reader();
    let mut bytes = [0; 512];
    assert!(reader.read_exact_at(&mut bytes, 512).is_err());
    assert!(reader.read_exact_at(&mut bytes, 0).is_ok());
    assert!(reader.read_exact_at(&mut bytes, 1024).is_ok());
    write(&mut disk, 512, 1, 1);
    assert!(drain(&mut disk).iter().all(|(_, result)| result.is_ok()));
    disk.fail_range(0..2048, Errno::EIO, Kinds::WRITES);
    write(&mut disk, 1536, 1, 1);
    assert!(drain(&mut disk).iter().all(|(_, result)| result.is_err()));
}

#[test]
fn while_the_disk_stalls_nothing_completes_and_time_goes_by() {
    let mut disk = disk(2, 1);
    let clock = Arc::new(SimClock::new(crate::types::WallTime(0)));
    disk.set_timing(Arc::clone(&clock), Duration::from_millis(3));
    disk.stall(true);
    write(&mut disk, 0, 1, 1);
    assert!((0..5).all(|_| disk.poll(WAIT).is_none()));
    assert_eq!((disk.in_flight(), clock.monotonic()), (1, Duration::from_secs(5)));
    disk.stall(false);
    assert!(disk.poll(WAIT).is_some());
    assert!(disk.poll(WAIT).is_none());
    assert_eq!(clock.monotonic(), Duration::from_millis(5003));
}

#[test]
fn a_stall_of_some_polls_ends_by_itself() {
    let mut disk = disk(1, 1);
    disk.stall_for(3);
    write(&mut disk, 0, 1, 1);
    assert!((0..3).all(|_| disk.poll(WAIT).is_none()));
    assert!(disk.poll(WAIT).is_some());
}

#[test]
fn completions_come_in_any_order_unless_told_otherwise() {
    let order = |seed, in_order| {
        let mut disk = disk(8, seed);
        disk.set_in_order(in_order);
        for sector in 0..8 {
            write(&mut disk, sector * 512, 1, 1);
        }
        drain(&mut disk).iter().map(|(token, _)| token.get()).collect::<Vec<_>>()
    };
    assert_eq!(order(1, true), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_ne!(order(1, false), order(2, false));
    assert_eq!(order(1, false), order(1, false));
}

#[test]
fn of_two_overlapping_writes_in_flight_the_one_that_completes_last_stays() {
    for seed in 0..32 {
        let mut disk = disk(1, seed);
        write(&mut disk, 0, 1, 1);
        write(&mut disk, 0, 1, 2);
        let last = drain(&mut disk).last().map(|(token, _)| token.get() as u8 + 1).unwrap();
        assert_eq!(marks(&disk.reader()), [last]);
        assert_eq!(marks(&disk.crash(CrashPlan::All)), [last]);
        flush(&mut disk).unwrap();
        assert_eq!(marks(&disk.crash(CrashPlan::None)), [last]);
    }
}

#[test]
fn every_submission_and_completion_is_an_event_with_its_crash_point() {
    let mut disk = disk(2, 1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    disk.on_event(move |point| {
        sink.lock().unwrap().push((
            point.event(),
            point.pending_sectors(),
            marks(&point.image(CrashPlan::None)),
        ));
    });
    write(&mut disk, 0, 2, 1);
    drain(&mut disk);
    flush(&mut disk).unwrap();
    disk.off_event();
    write(&mut disk, 0, 2, 2);
    assert_eq!(
        *seen.lock().unwrap(),
        [(1, 2, vec![0, 0]), (2, 2, vec![0, 0]), (3, 2, vec![0, 0]), (4, 0, vec![1, 1])]
    );
    assert_eq!(disk.events(), 5);
}

#[test]
fn a_bad_operation_fails_and_changes_nothing() {
    let mut disk = disk(2, 1);
    disk.set_alignment(1024);
    write(&mut disk, 512, 1, 1);
    write(&mut disk, 4096, 2, 1);
    let results = drain(&mut disk);
    assert!(results.iter().all(|(_, result)| {
        result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput)
    }));
    assert_eq!((disk.pending_sectors(), marks(&disk.reader())), (0, vec![0, 0]));
}

#[test]
fn an_image_cut_within_a_sector_ends_with_the_last_whole_one() {
    let mut disk = SimDisk::from_image(vec![1; 1300], 1);
    assert_eq!((disk.size_bytes(), disk.reader().size_bytes()), (1024, 1300));
    write(&mut disk, 1024, 1, 2);
    assert!(drain(&mut disk).iter().all(|(_, result)| result.is_err()));
}
