//! What only io_uring can do wrong: a pipe stands for a device that answers when the test says so, filters of system calls
//! for systems that refuse it.

#![expect(unsafe_code, reason = "filters of system calls have no safe wrapper")]

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::disk::file::tests::{finish, open, options, there_is_uring, volume, write};
use crate::disk::testing::scratch;
use crate::disk::{AlignedBuffer, Disk, EngineKind, FileDisk, FileOptions, IoEngine, Slabs};

const WAIT: Duration = Duration::from_secs(60);
const PAGE: usize = 4096;

/// An engine whose device is a pipe: a read takes as long as nothing is written into it.
fn on_a_pipe(depth: usize) -> (Uring, std::io::PipeWriter) {
    let (device, feed) = std::io::pipe().unwrap();
    let file = File::from(OwnedFd::from(device));
    (Uring::new(Ring::set_up(depth).unwrap(), file, depth, Transfer::new(false, 512)), feed)
}

fn read(uring: &mut Uring, number: u64) {
    let operation = Operation::Read { offset: 0, buffer: AlignedBuffer::zeroed(PAGE) };
    uring.submit(Token::new(number), operation);
}

/// What a completion has read.
fn bytes(completion: Completion) -> AlignedBuffer {
    completion.result.unwrap();
    let Operation::Read { buffer, .. } = completion.operation else { panic!("no read") };
    buffer
}

fn occupied(uring: &Uring) -> usize {
    uring.kernel.as_ref().unwrap().occupied()
}

#[test]
fn no_more_requests_than_wanted_are_with_the_kernel_and_the_others_follow_in_order() {
    if !there_is_uring() {
        return;
    }
    let (mut uring, mut feed) = on_a_pipe(2);
    (0..5).for_each(|number| read(&mut uring, number));
    assert_eq!((occupied(&uring), uring.waiting.len()), (2, 3));
    assert!(uring.poll(Duration::ZERO).is_none());
    for turn in 0..5 {
        feed.write_all(&[turn; PAGE]).unwrap();
        assert!(bytes(uring.poll(WAIT).unwrap()).iter().all(|&byte| byte == turn));
        assert!(occupied(&uring) <= 2);
    }
    assert!(uring.is_idle());
}

#[test]
fn a_short_read_goes_on_where_it_ended() {
    if !there_is_uring() {
        return;
    }
    let (mut uring, mut feed) = on_a_pipe(1);
    read(&mut uring, 0);
    read(&mut uring, 1);
    feed.write_all(&[1; 700]).unwrap();
    assert!(uring.poll(Duration::ZERO).is_none());
    feed.write_all(&[2; PAGE - 700]).unwrap();
    let whole = bytes(uring.poll(WAIT).unwrap());
    assert!(whole[..700].iter().all(|&byte| byte == 1) && whole[700..].iter().all(|&byte| byte == 2));
    // The device ends in the middle of the second.
    feed.write_all(&[3; 700]).unwrap();
    drop(feed);
    let ended = uring.poll(WAIT).unwrap();
    assert_eq!(
        (ended.token, ended.result.unwrap_err().kind()),
        (Token::new(1), io::ErrorKind::UnexpectedEof)
    );
}

#[test]
fn a_wait_ends_when_the_bell_rings_and_each_ring_ends_one() {
    if !there_is_uring() {
        return;
    }
    let (mut uring, mut feed) = on_a_pipe(1);
    read(&mut uring, 0);
    let waker = uring.waker();
    for _ in 0..3 {
        waker.wake();
        assert!(uring.poll(WAIT).is_none());
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            assert!(uring.poll(WAIT).is_none());
        });
    }
    // None is left over: this wait ends with what has landed.
    feed.write_all(&[1; PAGE]).unwrap();
    bytes(uring.poll(WAIT).unwrap());
}

#[test]
fn requests_of_a_thread_that_has_ended_are_made_again() {
    if !there_is_uring() {
        return;
    }
    let (mut uring, mut feed) = on_a_pipe(2);
    let submitted = std::thread::spawn(move || {
        read(&mut uring, 0);
        // Arms the bell there as well.
        assert!(uring.poll(Duration::from_millis(1)).is_none());
        uring
    });
    let mut uring = submitted.join().unwrap();
    std::thread::scope(|scope| {
        let waker = uring.waker();
        scope.spawn(move || waker.wake());
        assert!(uring.poll(WAIT).is_none());
    });
    feed.write_all(&[7; PAGE]).unwrap();
    assert!(bytes(uring.poll(WAIT).unwrap()).iter().all(|&byte| byte == 7));
}

#[test]
fn dropping_it_waits_for_no_device_and_the_file_lasts_until_all_has_landed() {
    if !there_is_uring() {
        return;
    }
    let (mut uring, mut feed) = on_a_pipe(2);
    (0..3).for_each(|number| read(&mut uring, number));
    drop(uring);
    // The device is still open for the two that had begun; the third is forgotten.
    feed.write_all(&[1; 2 * PAGE]).unwrap();
    let mut gone = [PollFd::new(feed.as_fd(), PollFlags::empty())];
    assert_eq!(poll(&mut gone, PollTimeout::from(60_000_u16)), Ok(1));
    assert_eq!(gone[0].revents(), Some(PollFlags::POLLERR));
}

#[test]
fn memory_that_the_kernel_may_still_touch_is_lost_and_never_freed_when_the_ring_breaks() {
    if !there_is_uring() {
        return;
    }
    let (mut uring, _feed) = on_a_pipe(2);
    read(&mut uring, 0);
    // Not submitted: a pipe that is read from refuses it at once.
    let shared = Arc::new(AlignedBuffer::zeroed(PAGE));
    let operation = Operation::Write { offset: 0, buffer: Arc::clone(&shared), len: PAGE };
    if let Ok(kernel) = &mut uring.kernel {
        kernel.begin(Job::new(Token::new(1), operation));
    }
    let operation = Operation::Read { offset: 0, buffer: AlignedBuffer::zeroed(PAGE) };
    uring.waiting.push_back(Job::new(Token::new(2), operation));
    uring.give_up(&io::Error::from_raw_os_error(libc::EBADF));
    let mut handed_out: Vec<_> = (0..3).map(|_| uring.poll(WAIT).unwrap()).collect();
    handed_out.sort_by_key(|completion| completion.token);
    assert!(handed_out.iter().all(|completion| completion.result.is_err()));
    let lengths = handed_out.iter().map(|completion| match &completion.operation {
        Operation::Read { buffer, .. } => buffer.len(),
        _ => PAGE,
    });
    // The first was with the kernel, which may still fill it; the last never got there.
    assert!(lengths.eq([0, PAGE, PAGE]));
    drop(handed_out);
    assert!(Arc::strong_count(&shared) > 1, "the write's buffer could be used again");
    read(&mut uring, 3);
    assert!(uring.poll(WAIT).unwrap().result.unwrap_err().to_string().contains("open it again"));
    assert!(uring.poll(Duration::from_millis(1)).is_none());
}

fn registered(uring: &Uring) -> usize {
    uring.kernel.as_ref().unwrap().registered()
}

/// Writes so many chunks from slabs, as a round does, and flushes; then nobody has them any more.
fn write_a_round(uring: &mut Uring, slabs: &mut Slabs, chunks: u64, fill: u8) {
    for number in 0..chunks {
        let mut buffer = slabs.take_stale(CHUNK);
        buffer.fill(fill);
        let offset = number * CHUNK as u64;
        let operation = Operation::Write { offset, buffer: Arc::new(buffer), len: CHUNK };
        uring.submit(Token::new(number), operation);
    }
    (0..chunks).for_each(|_| uring.poll(WAIT).unwrap().result.unwrap());
    uring.submit(Token::new(chunks), Operation::Flush);
    uring.poll(WAIT).unwrap().result.unwrap();
    slabs.trim();
}

const CHUNK: usize = 1 << 20;

#[test]
fn what_is_written_from_registered_memory_stands_there_however_slabs_come_and_go() {
    if !there_is_uring() {
        return;
    }
    let folder = scratch();
    let path = volume(folder.path(), 16 << 20);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut uring = Uring::new(Ring::set_up(4).unwrap(), file, 4, Transfer::new(false, 512));
    let mut most = 0;
    for turn in 0..12_u8 {
        // Each time others, which often lie where those of the turn before did.
        let mut slabs = Slabs::default();
        for fill in [turn + 1, turn + 101] {
            write_a_round(&mut uring, &mut slabs, 16, fill);
            assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == fill), "turn {turn}");
        }
        most = most.max(registered(&uring));
    }
    assert!((4..=16).contains(&most), "{most} slabs were registered at once");
    uring.submit(Token::new(0), Operation::Flush);
    uring.poll(WAIT).unwrap().result.unwrap();
    assert_eq!(registered(&uring), 0, "slabs that nobody has are still registered");
}

/// From now on this thread's calls of this number are refused with `EPERM`.
fn forbid(call: libc::c_long) {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The number of the call is the first word of what a filter sees.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let (one, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: plain integers, as wide as the kernel takes them.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, none, none, none) }, 0);
    let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: the kernel copies the filter, which lives until the call is over.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Runs it on a thread of which filters do not last.
fn aside(test: impl FnOnce(&Path) + Send) {
    let folder = scratch();
    let path = volume(folder.path(), 1 << 20);
    std::thread::scope(|scope| scope.spawn(|| test(&path)).join().unwrap());
}

#[test]
fn where_a_filter_refuses_it_threads_serve_unless_it_was_asked_for() {
    if !there_is_uring() {
        return;
    }
    for call in [libc::SYS_io_uring_setup, libc::SYS_io_uring_register, libc::SYS_io_uring_enter] {
        aside(|path| {
            forbid(call);
            let refused = FileDisk::open(path, &options(IoEngine::Uring)).unwrap_err().to_string();
            assert!(refused.contains("cannot use io_uring: "), "{refused}");
            assert!(refused.contains("allow io_uring_") && refused.contains("let threads"), "{refused}");
            let mut disk = FileDisk::open(path, &FileOptions::default()).unwrap();
            assert_eq!(disk.engine(), EngineKind::Threads);
            write(&mut disk, 0, PAGE, 1);
            finish(&mut disk).result.unwrap();
        });
    }
}

#[test]
fn where_the_kernel_takes_no_more_calls_operations_fail_and_come_back() {
    if !there_is_uring() {
        return;
    }
    aside(|path| {
        let mut disk = open(path, IoEngine::Uring);
        write(&mut disk, 0, PAGE, 1);
        finish(&mut disk).result.unwrap();
        forbid(libc::SYS_io_uring_enter);
        for _ in 0..8 {
            write(&mut disk, 0, PAGE, 2);
        }
        disk.submit(Operation::Flush);
        (0..9).for_each(|_| drop(finish(&mut disk).result.unwrap_err()));
        assert_eq!(disk.in_flight(), 0);
        drop(disk);
        // And the lock is free again.
        FileDisk::open(path, &FileOptions::default()).unwrap();
    });
}

fn from_more_slabs_than_may_be_locked(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    let mut uring = Uring::new(Ring::set_up(4).unwrap(), file, 4, Transfer::new(false, 512));
    write_a_round(&mut uring, &mut Slabs::default(), 32, 2);
    // Those that grow up to 8 MiB; the others follow without.
    assert!((1..=3).contains(&registered(&uring)), "{} slabs were registered", registered(&uring));
    assert!(std::fs::read(path).unwrap()[..32 * CHUNK].iter().all(|byte| *byte == 2));
}

const CHILD: &str = "disk::file::uring::tests::child_with_few_rights";
const CHILD_FOLDER: &str = "KEHA_TEST_URING_FOLDER";

/// Not a test by itself: the unprivileged process of the test below.
#[test]
fn child_with_few_rights() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let path = volume(Path::new(&folder), 64 << 20);
    println!("begun");
    from_more_slabs_than_may_be_locked(&path);
    let mut disk = FileDisk::open(&path, &options(IoEngine::Uring)).unwrap();
    // More at once than may be locked.
    for number in 0..8 {
        write(&mut disk, number * (8 << 20), 8 << 20, 3);
    }
    (0..8).for_each(|_| finish(&mut disk).result.unwrap());
    disk.submit(Operation::Flush);
    finish(&mut disk).result.unwrap();
    let mut last = [0];
    File::open(&path).unwrap().read_exact(&mut last).unwrap();
    assert_eq!(last, [3]);
    println!("done");
}

#[test]
fn nobody_with_little_locked_memory_can_use_it_too() {
    if !there_is_uring() {
        return;
    }
    let folder = scratch();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("prlimit");
    command.arg("--memlock=8388608:8388608").arg(std::env::current_exe().unwrap());
    command.args(["--exact", CHILD, "--nocapture"]).env(CHILD_FOLDER, folder.path());
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output();
    let said = output.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match said {
        Ok(said) if said.contains("begun") => assert!(said.contains("done"), "{output:?}"),
        _ => eprintln!("not tried: no process with few rights to be had ({output:?})"),
    }
}
