//! Retention on the writer's side: settings put into the directory and into force, and the clock watched.

use super::engine::Engine;
use super::ledger::Limits;
use crate::clock::ClockSync;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::directory::Directory;
use crate::retention::age::{Ages, ClockWatch};
use crate::retention::quota::blocks_of;
use crate::retention::{Retention, RetentionReport, RetentionRequest};
use crate::types::{StreamId, StreamName};
use std::collections::BTreeMap;

/// What the writer knows of retention.
pub(super) struct Keeping {
    pub(super) clock: ClockWatch,
    pub(super) report: RetentionReport,
}

impl Keeping {
    /// At opening; `clock` is what the last writer knew of the clock.
    pub(super) fn new(clock: ClockWatch) -> Keeping {
        Keeping { clock, report: RetentionReport::default() }
    }
}

/// What each stream of a directory may have.
pub(super) fn limits(directory: &Directory, block_bytes: usize) -> BTreeMap<StreamId, Limits> {
    let limits = directory.entries.iter().map(|entry| {
        let Retention { quota_bytes, minimum_age_s, maximum_age_s } = Retention::of(&entry.retention);
        let quota_blocks = blocks_of(quota_bytes, block_bytes);
        (entry.stream, Limits { quota_blocks, minimum_age_s, maximum_age_s })
    });
    limits.filter(|(_, limits)| *limits != Limits::default()).collect()
}

impl<D: Disk> Engine<D> {
    /// Puts settings in force for a stream; when this returns, they survive any crash. The same settings again write nothing.
    pub(crate) fn set_retention(&mut self, request: &RetentionRequest) -> Result<()> {
        let stream = self.stream_of(&request.stream)?;
        let block_bytes = self.core.geometry.block_bytes as u32;
        if let Some(why) = request.retention.invalid(block_bytes) {
            return Err(Error::Invalid(format!("{}: {why}", request.stream)));
        }
        let mut directory = self.next_directory();
        let entry = directory.entries.iter_mut().find(|entry| entry.stream == stream);
        let Some(entry) = entry.filter(|entry| entry.retention != request.retention.record()) else {
            return Ok(());
        };
        entry.retention = request.retention.record();
        entry.generation = directory.generation;
        self.change_directory(directory)?;
        self.limit();
        Ok(())
    }

    /// How long a stream's footage stays.
    pub(crate) fn retention_of(&self, stream: &StreamName) -> Result<Retention> {
        let stream = self.stream_of(stream)?;
        let entry = self.directory.entries.iter().find(|entry| entry.stream == stream);
        Ok(entry.map(|entry| Retention::of(&entry.retention)).unwrap_or_default())
    }

    /// A stream's maximum age in seconds, 0 = none.
    pub(super) fn maximum_age_s(&self, stream: StreamId) -> u64 {
        self.core.ledger.maximum_age_s(stream)
    }

    /// Those of all streams, in their order.
    pub(super) fn maximum_ages(&self) -> impl Iterator<Item = u64> {
        self.streams.iter().map(|stream| self.core.ledger.maximum_age_s(stream.id))
    }

    /// Puts the settings of the directory in force.
    pub(super) fn limit(&mut self) {
        self.core.ledger.limit(limits(&self.directory, self.core.geometry.block_bytes));
    }

    /// Looks at the clock, once a round.
    pub(super) fn watch_clock(&mut self) {
        let clock = &self.core.clock;
        let synchronised = matches!(clock.sync(), ClockSync::Synchronised { .. });
        let now = clock.wall();
        self.keeping.clock = self.keeping.clock.look(now, self.running_seconds(), synchronised);
    }

    /// What is known of the time.
    pub(super) fn ages(&self) -> Ages {
        Ages { running_s: self.running_seconds(), trusted: self.keeping.clock.trusted }
    }
}
