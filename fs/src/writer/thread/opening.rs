//! Opening a volume on the thread that will write it.
//!
//! A thread that has entered a ring of io_uring belongs to that ring until it ends, and cannot end while another is held by a disk in a
//! call on it: the kernel has a lock for each ring. So nobody but the writer's thread ever enters it, and whoever opened the volume can
//! leave, whatever the disk does. What must not live here: what the thread does then.

use super::body::Body;
use super::{Shared, WriterThread};
use crate::admission::{self, Recording};
use crate::clock::{Clock, SystemClock};
use crate::disk::{EngineInUse, FileDisk, FileOptions, FileReader, ReadAt};
use crate::error::{Error, Result};
use crate::reader::volume_info;
use crate::report::{OpenReport, RoundReport, VolumeInfo};
use crate::types::StreamId;
use crate::writer::WriterOptions;
use crate::writer::engine::{Engine, EngineOptions};
use crate::writer::scrubber::Scrubber;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex};

/// What whoever opened the volume is told.
struct Begun {
    shared: Arc<Shared>,
    progress: Arc<AtomicU64>,
    io: EngineInUse,
    info: VolumeInfo,
    opened: OpenReport,
}

impl WriterThread {
    /// Starts the thread, has it open the volume, and waits for that.
    pub(in crate::writer) fn start(
        path: &Path,
        options: WriterOptions,
        on_round: Box<dyn FnMut(RoundReport) + Send>,
    ) -> Result<(WriterThread, VolumeInfo, OpenReport)> {
        let (tell, told) = sync_channel(1);
        let of = path.to_owned();
        let run = move || match open(&of, options, on_round) {
            Ok((body, begun)) => {
                // Whoever opens waits for it.
                _ = tell.send(Ok(begun));
                body.run()
            }
            Err(error) => {
                _ = tell.send(Err(error));
                Ok(())
            }
        };
        let handle = std::thread::Builder::new().name("keha-writer".to_owned()).spawn(run);
        let handle = handle.map_err(|source| Error::io("start the writer's thread for", path, source))?;
        let panicked = |_| Error::Stopped("its thread panicked while opening it".to_owned());
        let Begun { shared, progress, io, info, opened } = told.recv().map_err(panicked)??;
        Ok((WriterThread { shared, progress, io, handle: Some(handle) }, info, opened))
    }
}

fn open(
    path: &Path,
    options: WriterOptions,
    on_round: Box<dyn FnMut(RoundReport) + Send>,
) -> Result<(Body, Begun)> {
    // Before anything is written: a file that is no volume must not even be locked for long.
    let (engine, depth) = (options.engine, options.depth);
    let disk = FileDisk::open(path, &FileOptions { engine, depth, ..FileOptions::default() })?;
    let io = disk.in_use().clone();
    let reader = FileReader::open(path)?;
    let identity = reader.identity().map_err(|source| Error::io("look at", path, source))?;
    let (reader, admission): (Arc<dyn ReadAt>, _) = (Arc::new(reader), Some(admission::of(identity)));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let engine_options = EngineOptions {
        opener: options.opener,
        chunk_bytes: options.chunk_bytes,
        scrub: options.scrub,
        path: path.to_owned(),
        pause: std::thread::sleep,
        stream_id: |_, _| StreamId::random(),
    };
    let (engine, opened) = Engine::open(disk, Arc::clone(&reader), Arc::clone(&clock), engine_options)?;
    let info = volume_info(engine.superblock());
    let shared = Arc::new(Shared {
        inbox: Mutex::default(),
        wake: Condvar::new(),
        gone: Condvar::new(),
        pulse: Mutex::default(),
        admission,
        buffer_bytes: options.buffer_bytes,
        path: path.to_owned(),
    });
    let progress = engine.progress();
    if options.scrub.is_some() {
        let scrubber = Scrubber::new(Arc::clone(&shared), reader, clock, engine.superblock());
        scrubber.start().map_err(|source| Error::io("start the scrub's thread for", path, source))?;
    }
    shared.record(Recording::Resting);
    let body = Body::new(engine, Arc::clone(&shared), options.flush_interval, on_round);
    Ok((body, Begun { shared, progress, io, info, opened }))
}
