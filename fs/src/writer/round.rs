//! A flush round: everything pending is cut and written together with one round record, each completion judged by itself,
//! then one flush makes it durable.

use super::copies::REFUSED_PAUSE_ROUNDS;
use super::engine::{Engine, Manner};
use super::table::submit_sectors;
use super::writes::Purpose;
use crate::disk::Disk;
use crate::error::Result;
use crate::format::FORMAT_VERSION;
use crate::format::Zero;
use crate::format::geometry::record_capacity;
use crate::format::round::{GrantedBlock, NamedBlock, RoundHeader, RoundRecord, RoundRow};
use crate::format::round_up;
use crate::format::table::NO_FOOTER;
use crate::recover::{Header, Source, Verdict, judge};
use crate::report::{Health, RoundReport};
use crate::retention::victim::Candidate;
use crate::types::{RoundNumber, StreamId};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Blocks set aside beyond the most that were taken from one of the last rounds to the next.
const GRANTS_SPARE: usize = 2;

impl<D: Disk> Engine<D> {
    /// Makes a round. While the volume is failing it only tries what failed again.
    pub(crate) fn round(&mut self) -> RoundReport {
        let was_well = self.is_well();
        if was_well {
            if planted!(TakenBeforeGrantFlushed) {
                self.grant_blocks();
            }
            self.watch_clock();
            self.gather();
            self.count_takes();
            match self.manner {
                Manner::Repair if !planted!(RepairOverwrites) => self.name_begun(),
                _ => {
                    self.look_for_expired();
                    self.erase_some();
                }
            }
            self.grant_blocks();
            self.submit_table();
            self.submit_scrub(false);
            self.submit_record(false);
        }
        self.finish();
        // A round after a failure only tried what failed again.
        self.all_flushed = was_well && self.is_well();
        self.holds.note_round(self.core.clock.monotonic(), self.all_flushed);
        if self.is_well() {
            self.tend_holds();
            self.tend_session();
            self.repair_copies();
        }
        self.report()
    }

    /// A round within another call, whose report is given out later.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if the disk fails; `operation` says what for.
    pub(super) fn round_within(&mut self, operation: &str) -> Result<()> {
        let report = self.round();
        self.rounds_within.push(report);
        if self.is_well() { Ok(()) } else { Err(self.disk_error(operation)) }
    }

    /// Rounds until nothing of a stream waits for the disk, or blocks for it do not come: then chunks have their final numbers and
    /// blocks their rows. The first round after a failure only tries what failed again; what piled up needs blocks that rounds set
    /// aside.
    ///
    /// # Errors
    /// As [`Engine::round_within`].
    pub(super) fn flush_out(&mut self, stream: StreamId, operation: &str) -> Result<()> {
        const ROUNDS_MAX: usize = 64;
        for _ in 0..ROUNDS_MAX {
            if self.is_all_flushed() && self.is_idle(stream) {
                break;
            }
            self.round_within(operation)?;
        }
        Ok(())
    }

    /// The record that says nothing is open any more.
    pub(super) fn last_round(&mut self) {
        self.submit_scrub(true);
        self.submit_record(true);
        self.finish();
    }

    fn gather(&mut self) {
        self.core.writes.collect();
        self.core.starved = 0;
        for stream in &mut self.streams {
            if stream.advance(&mut self.core).is_ok() {
                stream.cut(&mut self.core);
            }
            stream.note_pace();
        }
    }

    /// Counts the takes since the last round: those within this one, and those as samples came in.
    fn count_takes(&mut self) {
        self.recent_takes.rotate_right(1);
        self.recent_takes[0] = self.core.blocks_taken - self.taken_at_count;
        self.taken_at_count = self.core.blocks_taken;
    }

    /// Sets blocks aside for the takes until the next round; they stay so until they are taken. While nobody records, no more of
    /// them: what is set aside is lost if the writer is cut off, and whoever only holds or sets something takes no block. While
    /// footage is erased, none with footage but for a stream that waits for it: blocks of which nothing is left are about to be
    /// there.
    fn grant_blocks(&mut self) {
        let (_, granted_max, _) = record_capacity(self.core.geometry.streams_max);
        let active = self.streams.iter().filter(|stream| stream.is_active()).count();
        let recent = self.recent_takes.iter().copied().max().unwrap_or(0) as usize;
        let wanted = GRANTS_SPARE + recent.max(self.core.starved);
        let idle = active == 0 && self.core.starved == 0 && !planted!(IdleWriterSetsAside);
        let target = if idle { 0 } else { wanted.min(active + GRANTS_SPARE).min(granted_max) };
        let mut tries = target + 16;
        while self.core.ledger.grants().len() < target && tries > 0 {
            tries -= 1;
            let needed = self.core.ledger.grants().len() < self.core.starved;
            let Some(victim) = self.core.ledger.victim(self.ages()) else { return };
            if !self.core.record_has_room_for_row_of(victim.block) {
                return;
            }
            if self.erasing.is_asked() && !victim.void && !needed && !planted!(ErasureCostsMore) {
                return;
            }
            self.grant_one(victim);
        }
    }

    /// The header on disk is read first: if it is not what the row says, the row is wrong, and the choice is made again.
    fn grant_one(&mut self, victim: Candidate) {
        let block = victim.block;
        let row = self.core.ledger.row(block).clone();
        let header = self.core.scanner().block_header(block);
        if let Err(error) = &header {
            // As good as damage; passed over, it would outlive newer footage of its stream.
            tracing::warn!(%block, %error, "cannot read a block's header; the block is taken on the word of its row");
        }
        let verdict = judge(&row, Source::Known, Header::of(&header));
        if verdict == Verdict::Rebuild && !planted!(RowNotRepaired) {
            tracing::warn!(%block, row = %row.sequence, "the block table is not what the block says; the row is repaired");
            let row = crate::recover::row_from_block(&self.core.scanner(), block);
            self.core.ledger.settle(block, row);
            return;
        }
        if victim.doubtful {
            tracing::error!(%block, "nothing else is left: a block is overwritten that a lost hold may have kept");
        }
        if victim.young {
            tracing::warn!(%block, stream = %row.stream, "a block is overwritten before its minimum age");
            self.keeping.report.young_taken += 1;
        }
        self.core.ledger.grant(block);
    }

    fn submit_table(&mut self) {
        self.sectors = self.core.ledger.sectors_to_write(self.core.round);
        let core = &mut self.core;
        submit_sectors(
            &core.geometry,
            core.volume,
            core.round,
            &core.ledger,
            &self.sectors,
            &mut core.writes,
        );
    }

    fn submit_record(&mut self, closed: bool) {
        self.core.round = RoundNumber(self.core.round.0 + 1);
        let record = self.record(closed);
        let core = &mut self.core;
        if record.bytes() > core.geometry.log_slot_bytes {
            // Only where much of the block table is lost and refuses to be written. A round without a record fails.
            tracing::error!(
                bytes = record.bytes(),
                "more rows wait for the block table than a round record has room for"
            );
            return;
        }
        for log_at in core.geometry.logs_at().into_iter().skip(usize::from(planted!(RecordInOneLogOnly))) {
            let mut buffer = core.writes.buffer(round_up(record.bytes(), core.geometry.page_bytes));
            record.seal(&mut buffer);
            let at = core.geometry.slot_at(log_at, core.round.0);
            core.writes.submit(at, Arc::new(buffer), Purpose::Record);
        }
    }

    fn record(&self, closed: bool) -> RoundRecord {
        let core = &self.core;
        let named = core.named.values().map(|named| NamedBlock {
            block: named.take.block,
            durable_end: if planted!(RecordClaimsSent) { named.sent_end } else { named.durable_end } as u32,
            sequence: named.take.sequence,
            stream: if planted!(WrongStreamNamed) { self.streams[0].id } else { named.take.stream },
            durable_chunk: self.streams[named.stream].durable_chunk(),
        });
        let granted = core.ledger.grants().filter(|_| !planted!(GrantNotLogged)).map(|grant| GrantedBlock {
            block: grant.block,
            zero: Zero,
            sequence: grant.sequence,
        });
        let rows =
            core.ledger.rows_to_log().map(|(block, row)| RoundRow { block, zero: Zero, row: row.clone() });
        RoundRecord {
            header: RoundHeader {
                version: FORMAT_VERSION,
                closed,
                epoch: core.epoch,
                round: core.round,
                volume: core.volume,
                highest: if planted!(HighestForgotten) { Default::default() } else { core.ledger.highest() },
                at: core.clock.wall(),
                running_seconds: self.running_seconds(),
                holds_generation: self.holds.generation_to_log(),
                clock_mark: self.keeping.clock.mark.map(|(mark, _)| mark).unwrap_or_default(),
                clock_mark_running_s: self.keeping.clock.mark.map_or(0, |(_, since)| since),
                faults_since: core.faults.since_s,
                faults_blocks: core.faults.blocks,
                ..RoundHeader::default()
            },
            named: named.collect(),
            granted: granted.collect(),
            rows: rows.collect(),
        }
    }

    /// Waits for the round's writes, judges them, flushes.
    fn finish(&mut self) {
        self.core.writes.wait();
        if !self.core.writes.failed().is_empty() {
            self.core.writes.retry_failed(Purpose::Record);
        }
        self.relocate_failed();
        let failed = self.core.writes.failed();
        let record_stands = self.core.writes.any_done_for(Purpose::Record);
        if !record_stands || failed.iter().any(|purpose| is_critical(*purpose)) {
            return self.fail();
        }
        self.do_without(&failed);
        if planted!(WatermarkBeforeFlush) {
            self.streams.iter_mut().for_each(super::stream::Stream::flushed);
        }
        match self.core.writes.flush() {
            Ok(()) => self.settle(),
            Err(_) => self.fail(),
        }
    }

    fn fail(&mut self) {
        let error = self.core.writes.last_error().map(ToString::to_string).unwrap_or_default();
        if self.health == Health::Good {
            tracing::error!(%error, "the volume is failing: samples wait in memory, one probe an interval");
        }
        self.health = Health::Failing { error };
    }

    /// Streams of which a write failed twice move to fresh blocks, if the disk writes elsewhere.
    fn relocate_failed(&mut self) {
        let streams = self.streams_of_failed();
        let elsewhere = self.core.writes.any_done_for(Purpose::Record);
        let error = self.core.writes.last_error().and_then(std::io::Error::raw_os_error).map(Errno::from_raw);
        let hopeless = matches!(
            error,
            Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::ENODEV | Errno::ENXIO)
        );
        if streams.is_empty() || !elsewhere || hopeless || self.core.faults_took_enough() {
            return;
        }
        for index in streams {
            tracing::warn!(stream = %self.streams[index].name, "a write failed twice; the stream moves to a fresh block");
            self.streams[index].relocate(&mut self.core);
            // Without a block that may be taken it waits for the next round.
            let _starved = self.streams[index].house(&mut self.core);
        }
        self.core.writes.wait();
    }

    fn streams_of_failed(&self) -> BTreeSet<usize> {
        let of = |purpose| match purpose {
            Purpose::Chunk(stream, _, _) => Some(stream),
            Purpose::Header(block) => self.core.named.get(&block).map(|named| named.stream),
            Purpose::Void(_)
            | Purpose::Footer(_)
            | Purpose::Table(_)
            | Purpose::Record
            | Purpose::Scrub
            | Purpose::Metadata => None,
        };
        self.core.writes.failed().into_iter().filter_map(of).collect()
    }

    /// Caches and copies that could not be written: the next rounds go on without them.
    fn do_without(&mut self, failed: &[Purpose]) {
        for purpose in failed {
            match purpose {
                Purpose::Footer(block) => {
                    if let Some(row) = self.core.named.get_mut(block).and_then(|named| named.ended.as_mut()) {
                        row.flags |= NO_FOOTER;
                    }
                }
                Purpose::Void(block) => self.erasing.write_failed(*block),
                Purpose::Table(_) if planted!(TableFailsAsOne) => self.sectors.clear(),
                Purpose::Table(unit) => self.leave_unit(*unit),
                Purpose::Scrub => self.scrub.refused(self.core.round),
                _ => {}
            }
        }
        self.core.writes.forget_failed();
    }

    /// The rows of a unit that the disk refuses stay in the record, and it is tried again later.
    fn leave_unit(&mut self, unit: usize) {
        let core = &mut self.core;
        let (_, _, rows_max) = record_capacity(core.geometry.streams_max);
        let again = RoundNumber(core.round.0 + REFUSED_PAUSE_ROUNDS);
        for sector in core.writes.sectors_of_unit(unit) {
            tracing::warn!(
                sector,
                "a sector of the block table cannot be written: its rows stay in the round log"
            );
            self.sectors.remove(&sector);
            core.ledger.refuse(sector, again, rows_max / 2);
        }
    }

    fn settle(&mut self) {
        if self.health != Health::Good {
            tracing::info!("the volume is written again");
            self.health = Health::Good;
        }
        self.core.writes.settle();
        self.scrub.flushed();
        self.core.ledger.grants_flushed();
        self.core.ledger.round_flushed(&self.sectors);
        self.sectors.clear();
        self.core.flushed();
        for stream in &mut self.streams {
            stream.flushed();
        }
        self.erasing_flushed();
    }
}

fn is_critical(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Chunk(..) | Purpose::Header(_) | Purpose::Metadata)
}
