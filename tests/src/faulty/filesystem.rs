//! The filesystem as the kernel sees it: a directory with one file of a fixed size, in which reads, writes and flushes meet
//! the faults that are on.
//!
//! The page cache is kept out of it: a write has come here before it completes, and goes nowhere but here.

use super::platter::Platter;
use super::{FILE_NAME, Tally};
use crate::process::now_ns;
use anyhow::Result;
use fuser::{
    FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

const FILE: INodeNo = INodeNo(2);
/// The size never changes: the kernel need not ask again.
const TTL: Duration = Duration::from_secs(3600);

/// What is wrong with the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) powered_off: bool,
    /// So many writes and flushes more, then the power goes.
    pub(super) changes_left: Option<u64>,
    pub(super) stalled: bool,
    pub(super) writes: Option<(Range<u64>, Errno)>,
    pub(super) flushes: Option<Errno>,
}

/// A request that reaches the disk, and the way back.
enum Job {
    Read(u64, u32, ReplyData),
    Write(u64, Vec<u8>, ReplyWrite),
    Flush(ReplyEmpty),
}

/// The disk and all that is wrong with it.
pub(super) struct State {
    pub(super) platter: Platter,
    pub(super) faults: Faults,
    pub(super) tally: Tally,
    /// When the power went, Unix nanoseconds.
    pub(super) cut_ns: Option<u64>,
    held: Vec<Job>,
}

impl State {
    pub(super) fn new(platter: Platter) -> Self {
        Self { platter, faults: Faults::default(), tally: Tally::default(), cut_ns: None, held: Vec::new() }
    }

    /// Does a request, or keeps it while the disk stalls.
    fn serve(&mut self, job: Job) {
        if let (Some(left), Job::Write(..) | Job::Flush(_)) = (&mut self.faults.changes_left, &job) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.power_off();
            }
        }
        if self.faults.stalled && !self.faults.powered_off {
            self.tally.held += 1;
            return self.held.push(job);
        }
        self.perform(job);
    }

    /// From here on every request fails, those that were kept too.
    pub(super) fn power_off(&mut self) {
        if !self.faults.powered_off {
            self.faults = Faults { powered_off: true, ..Faults::default() };
            self.cut_ns = Some(now_ns());
            self.release();
        }
    }

    /// Answers all that was kept, as things stand now.
    pub(super) fn release(&mut self) {
        for job in std::mem::take(&mut self.held) {
            self.perform(job);
        }
    }

    fn perform(&mut self, job: Job) {
        // Who asked may have been killed: an answer that finds nobody is nobody's loss.
        match job {
            Job::Read(offset, len, reply) => {
                let read = self.power().and_then(|()| self.platter.read(offset, len));
                match self.told(read) {
                    Ok(bytes) => reply.data(&bytes),
                    Err(error) => reply.error(error),
                }
            }
            Job::Write(offset, data, reply) => {
                let written = self.write(offset, &data);
                match self.told(written) {
                    Ok(()) => reply.written(data.len() as u32),
                    Err(error) => reply.error(error),
                }
            }
            Job::Flush(reply) => {
                let flushed = self.flush();
                match self.told(flushed) {
                    Ok(()) => reply.ok(),
                    Err(error) => reply.error(error),
                }
            }
        }
    }

    fn power(&self) -> Result<(), Errno> {
        if self.faults.powered_off { Err(Errno::EIO) } else { Ok(()) }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.power()?;
        let end = offset.saturating_add(data.len() as u64);
        match &self.faults.writes {
            Some((bad, error)) if offset < bad.end && bad.start < end => return Err(*error),
            _ => {}
        }
        self.platter.write(offset, data)?;
        self.tally.writes += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.power()?;
        if let Some(error) = self.faults.flushes {
            return Err(error);
        }
        self.platter.flush()?;
        self.tally.flushes += 1;
        Ok(())
    }

    fn told<T>(&mut self, result: Result<T, Errno>) -> Result<T, fuser::Errno> {
        result.map_err(|error| {
            self.tally.refused += 1;
            fuser::Errno::from_i32(error as i32)
        })
    }
}

/// The filesystem.
pub(super) struct OneFile {
    state: Arc<Mutex<State>>,
    attributes: FileAttr,
}

impl OneFile {
    pub(super) fn new(state: Arc<Mutex<State>>, owner: u32) -> Result<Self> {
        let size = state.lock().unwrap_or_else(PoisonError::into_inner).platter.size_bytes();
        let attributes = FileAttr {
            ino: FILE,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: FileType::RegularFile,
            perm: 0o600,
            nlink: 1,
            uid: owner,
            gid: nix::unistd::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        Ok(Self { state, attributes })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self) -> FileAttr {
        FileAttr {
            ino: INodeNo::ROOT,
            size: 0,
            blocks: 0,
            kind: FileType::Directory,
            perm: 0o700,
            nlink: 2,
            ..self.attributes
        }
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == FILE_NAME {
            reply.entry(&TTL, &self.attributes, Generation(0));
        } else {
            reply.error(fuser::Errno::ENOENT);
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = if inode == FILE { self.attributes } else { self.directory() };
        reply.attr(&TTL, &attributes);
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Several writes at once, as to any disk.
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.state().serve(Job::Read(offset, size, reply));
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.state().serve(Job::Write(offset, data.to_vec(), reply));
    }

    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // That of close(2), which makes nothing durable.
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.state().serve(Job::Flush(reply));
    }
}
