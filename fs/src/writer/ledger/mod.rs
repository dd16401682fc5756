//! Which block is taken next: the table in memory, the order in which blocks are overwritten, the blocks set aside.
//!
//! Pure bookkeeping, no I/O. The victim is the block that was written to longest ago (lowest rank), never-used ones first,
//! never one that is open, granted, bad or held; last those that a lost hold may have covered. Rank, not sequence: a camera of
//! few bits fills its block over many laps of the others, and what it wrote last is new whenever the block was taken. Quotas
//! and ages choose between streams, each with its lowest block: [`crate::retention::victim`].
//!
//! A row that changes goes into the round record, then, once such a record was flushed, into the table, and leaves the
//! record only when the table was flushed:  `Fresh -> Logged -> (gone)`.

mod in_place;
mod refused;

use crate::format::table::{CLOCKED, ROWS_PER_SECTOR, Row};
use crate::hold::Guard;
use crate::report::BlockState;
use crate::retention::age::{Ages, Written, is_young};
use crate::retention::quota::is_over;
use crate::retention::victim::{Candidate, choose};
use crate::types::{BlockIndex, RoundNumber, Sequence, StreamId};
use refused::Refused;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// A block set aside for a coming take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The block.
    pub(crate) block: BlockIndex,
    /// The sequence it will have.
    pub(crate) sequence: Sequence,
    /// What the block holds until it is taken.
    pub(super) before: Row,
    /// Whether the record that grants it was flushed.
    ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dirty {
    Fresh,
    Logged,
}

/// The order of taking in a stream: whether a lost hold may have covered the block, when it was last written, its take.
type Rank = (bool, Sequence, Sequence, BlockIndex);

/// What a stream may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many blocks, if there is a quota.
    pub(crate) quota_blocks: Option<u32>,
    /// For how long its blocks are passed over, in seconds.
    pub(crate) minimum_age_s: u64,
    /// After how long its footage is overwritten in place, in seconds; 0 = never.
    pub(crate) maximum_age_s: u64,
}

/// The block table in memory.
pub(crate) struct Ledger {
    rows: Vec<Row>,
    /// Blocks without footage that may be taken,
    empty: BTreeSet<BlockIndex>,
    /// and those with some, by stream.
    victims: BTreeMap<StreamId, BTreeSet<Rank>>,
    /// How many blocks each stream has that count for its quota.
    used: BTreeMap<StreamId, u32>,
    limits: BTreeMap<StreamId, Limits>,
    /// The live blocks of each stream, in the order of recording.
    streams: HashMap<StreamId, BTreeSet<(Sequence, BlockIndex)>>,
    /// Blocks that are about to be overwritten in place.
    reserved: BTreeSet<BlockIndex>,
    guard: Guard,
    /// How many blocks are held, without those being written and those withdrawn,
    held: u32,
    /// how many are withdrawn,
    bad: u32,
    /// and how often either changed, or a held block did.
    changes: u64,
    /// Blocks whose rows are not marked as held, or not held, as they shall be.
    unmarked: BTreeSet<BlockIndex>,
    dirty: BTreeMap<BlockIndex, Dirty>,
    refused: Refused,
    grants: VecDeque<Grant>,
    highest: Sequence,
}

impl Ledger {
    /// The ledger of a volume as found. `fresh` are the rows that the table on disk does not have.
    pub(crate) fn new(
        rows: Vec<Row>,
        fresh: &BTreeSet<BlockIndex>,
        highest: Sequence,
        guard: Guard,
    ) -> Ledger {
        let mut ledger = Ledger {
            rows,
            empty: BTreeSet::new(),
            victims: BTreeMap::new(),
            used: BTreeMap::new(),
            limits: BTreeMap::new(),
            streams: HashMap::new(),
            reserved: BTreeSet::new(),
            guard,
            held: 0,
            bad: 0,
            changes: 0,
            unmarked: BTreeSet::new(),
            dirty: fresh.iter().map(|block| (*block, Dirty::Fresh)).collect(),
            refused: Refused::default(),
            grants: VecDeque::new(),
            highest,
        };
        ledger.sort();
        ledger
    }

    fn sort(&mut self) {
        (self.empty, self.victims, self.used, self.unmarked) = Default::default();
        self.streams.clear();
        (self.held, self.bad) = (0, 0);
        for index in 0..self.rows.len() as u32 {
            self.enter(BlockIndex(index));
        }
    }

    fn count(&mut self, block: BlockIndex, add: impl Fn(&mut u32, u32)) {
        let row = &self.rows[block.0 as usize];
        let (bad, open) = (row.state == BlockState::Bad, row.state == BlockState::Open);
        let held = self.guard.covers(row);
        self.changes += u64::from(bad || held);
        add(&mut self.bad, bad.into());
        add(&mut self.held, (held && !bad && !open).into());
    }

    fn enter(&mut self, block: BlockIndex) {
        self.count(block, |sum, one| *sum += one);
        let row = self.row(block);
        let stream = row.stream;
        let (counts, live) = (u32::from(self.counts(block)), row.is_live().then_some((row.sequence, block)));
        match self.rank(block) {
            Some((.., Sequence(0), _, _)) => drop(self.empty.insert(block)),
            Some(rank) => drop(self.victims.entry(stream).or_default().insert(rank)),
            None => {}
        }
        *self.used.entry(stream).or_default() += counts;
        if let Some(live) = live {
            self.streams.entry(stream).or_default().insert(live);
        }
        let row = self.row(block);
        let settled = !matches!(row.state, BlockState::Open | BlockState::Granted);
        let wanted = self.guard.marked(row.clone()).flags;
        if settled && row.flags != wanted {
            self.unmarked.insert(block)
        } else {
            self.unmarked.remove(&block)
        };
    }

    /// Takes a block out of the order, before its row changes.
    fn leave(&mut self, block: BlockIndex) {
        let row = self.row(block);
        let stream = row.stream;
        let counts = u32::from(self.counts(block));
        let rank = self.rank(block);
        self.empty.remove(&block);
        if let Some((rank, victims)) = rank.zip(self.victims.get_mut(&stream)) {
            victims.remove(&rank);
        }
        if let Some(used) = self.used.get_mut(&stream) {
            *used = used.saturating_sub(counts);
        }
        let sequence = self.row(block).sequence;
        if let Some(mine) = self.streams.get_mut(&stream) {
            mine.remove(&(sequence, block));
        }
        self.count(block, |sum, one| *sum -= one);
    }

    /// Whether a block counts for its stream's quota: what is about to be overwritten in place is as good as given.
    fn counts(&self, block: BlockIndex) -> bool {
        let row = self.row(block);
        row.is_owned() && !self.guard.covers(row) && !self.reserved.contains(&block)
    }

    fn rank(&self, block: BlockIndex) -> Option<Rank> {
        let row = self.rows.get(block.0 as usize)?;
        if self.guard.covers(row) && !planted!(HeldTaken) || self.reserved.contains(&block) {
            return None;
        }
        match row.state {
            BlockState::Free => Some((false, Sequence(0), Sequence(0), block)),
            BlockState::Parked | BlockState::Sealed if planted!(VictimsInDiskOrder) => {
                Some((false, Sequence(1), Sequence(1), block))
            }
            BlockState::Parked | BlockState::Sealed | BlockState::Erased | BlockState::Expired => {
                Some((self.guard.may_have_covered(row), row.rank, row.sequence, block))
            }
            BlockState::Bad if planted!(BadTakenAgain) => Some((false, row.rank, row.sequence, block)),
            BlockState::Granted | BlockState::Open | BlockState::Bad => None,
        }
    }

    /// The row of a block.
    pub(crate) fn row(&self, block: BlockIndex) -> &Row {
        &self.rows[block.0 as usize]
    }

    /// The highest sequence granted so far.
    pub(crate) fn highest(&self) -> Sequence {
        self.highest
    }

    /// The highest sequence that a flushed record grants.
    #[cfg(test)]
    pub(crate) fn highest_flushed(&self) -> Sequence {
        let waiting = self.grants.iter().filter(|grant| !grant.ready).count() as u64;
        Sequence(self.highest.0 - waiting)
    }

    fn replace(&mut self, block: BlockIndex, row: Row) {
        self.leave(block);
        self.rows[block.0 as usize] = row;
        self.enter(block);
    }

    /// Holds what `guard` covers from now on. What was set aside of it is given back; whether anything was: then a record
    /// without it must be flushed before anyone may rely on the hold.
    pub(crate) fn protect(&mut self, guard: Guard) -> bool {
        self.guard_by(guard);
        let grants = std::mem::take(&mut self.grants);
        let (withdrawn, kept): (VecDeque<Grant>, _) = grants
            .into_iter()
            .partition(|grant| self.guard.covers(&grant.before) && !planted!(GrantNotWithdrawn));
        self.grants = kept;
        for grant in &withdrawn {
            self.settle(grant.block, grant.before.clone());
        }
        !withdrawn.is_empty()
    }

    /// Sorts only blocks of streams for which something else is held than before.
    fn guard_by(&mut self, guard: Guard) {
        let Some(streams) = self.guard.changed(&guard) else {
            self.guard = guard;
            return self.sort();
        };
        let mine = streams.iter().filter_map(|stream| self.streams.get(stream));
        let blocks: Vec<BlockIndex> = mine.flatten().map(|(_, block)| *block).collect();
        blocks.iter().for_each(|block| self.leave(*block));
        self.guard = guard;
        blocks.iter().for_each(|block| self.enter(*block));
    }

    /// Whether a lost hold may have kept a block with this row.
    pub(crate) fn may_be_held(&self, row: &Row) -> bool {
        self.guard.may_have_covered(row)
    }

    /// What is about to be overwritten in place.
    #[cfg(test)]
    pub(crate) fn reserved(&self) -> &BTreeSet<BlockIndex> {
        &self.reserved
    }

    /// What is held.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// What each stream may have from now on.
    pub(crate) fn limit(&mut self, limits: BTreeMap<StreamId, Limits>) {
        self.limits = limits;
    }

    /// After how long a stream's footage is overwritten in place, in seconds; 0 = never.
    pub(crate) fn maximum_age_s(&self, stream: StreamId) -> u64 {
        self.limits.get(&stream).map_or(0, |limits| limits.maximum_age_s)
    }

    /// What streams may have.
    #[cfg(test)]
    pub(crate) fn limits(&self) -> &BTreeMap<StreamId, Limits> {
        &self.limits
    }

    /// How many blocks are held, without those being written, those set aside and those withdrawn.
    pub(crate) fn held_blocks(&self) -> u32 {
        self.held
    }

    /// How many blocks are withdrawn.
    pub(crate) fn bad_blocks(&self) -> u32 {
        self.bad
    }

    /// Grows whenever a held or withdrawn block changes, or what is held.
    pub(crate) fn changes_of_held(&self) -> u64 {
        self.changes
    }

    /// The live blocks of a stream that were taken after `seen`, and `more` before them, in the order of recording.
    pub(crate) fn rows_behind(
        &self,
        stream: StreamId,
        seen: Sequence,
        more: usize,
    ) -> Vec<(BlockIndex, &Row)> {
        let Some(mine) = self.streams.get(&stream) else { return Vec::new() };
        let behind = (Sequence(seen.0.saturating_add(1)), BlockIndex(0));
        let before: Vec<_> = mine.range(..behind).rev().take(more).collect();
        let all = before.into_iter().rev().chain(mine.range(behind..));
        all.map(|(_, block)| (*block, self.row(*block))).collect()
    }

    /// The rows of a stream's live blocks, the newest first.
    pub(crate) fn rows_newest_first(&self, stream: StreamId) -> impl Iterator<Item = &Row> {
        self.blocks_newest_first(stream).map(|(_, row)| row)
    }

    /// The same, with their blocks.
    pub(crate) fn blocks_newest_first(&self, stream: StreamId) -> impl Iterator<Item = (BlockIndex, &Row)> {
        let mine = self.streams.get(&stream).into_iter().flatten().rev();
        mine.map(|(_, block)| (*block, self.row(*block)))
    }

    /// Marks up to `most` rows as held, or no longer held.
    pub(crate) fn mark(&mut self, most: usize) {
        for block in self.unmarked.iter().copied().take(most).collect::<Vec<_>>() {
            self.settle(block, self.row(block).clone());
        }
    }

    /// A row that is durably true from now on.
    pub(crate) fn settle(&mut self, block: BlockIndex, row: Row) {
        let row = self.guard.marked(row);
        self.replace(block, row);
        self.dirty.insert(block, Dirty::Fresh);
    }

    /// A parked block is written again.
    pub(crate) fn reopen(&mut self, block: BlockIndex) {
        let row = Row { state: BlockState::Open, ..self.row(block).clone() };
        self.replace(block, row);
    }

    /// The block that is to be taken next. Where only such are left as the table does not take, one of them.
    pub(crate) fn victim(&self, ages: Ages) -> Option<Candidate> {
        self.victim_but(ages, self.passed_over()).or_else(|| self.victim_but(ages, |_| false))
    }

    fn victim_but(&self, ages: Ages, passed: impl Fn(&BlockIndex) -> bool) -> Option<Candidate> {
        let candidate = |(stream, victims): (&StreamId, &BTreeSet<Rank>)| {
            let (doubtful, rank, sequence, block) = *victims.iter().find(|(.., block)| !passed(block))?;
            let limits = self.limits.get(stream).copied().unwrap_or_default();
            let row = self.row(block);
            // Only a moment that was vouched for makes a block older than its running time does.
            let trusted = ages.trusted.filter(|_| row.flags & CLOCKED != 0);
            let written = Written { wall: row.wall_max, running_s: row.running_s };
            let used = self.used.get(stream).copied().unwrap_or(0);
            let void = matches!(row.state, BlockState::Erased | BlockState::Expired);
            Some(Candidate {
                block,
                rank: (rank, sequence),
                doubtful,
                void,
                young: !void && is_young(limits.minimum_age_s, written, ages.running_s, trusted),
                over_quota: is_over(limits.quota_blocks, used),
            })
        };
        let empty = self.empty.iter().find(|block| !passed(block));
        choose(empty.copied(), self.victims.iter().filter_map(candidate))
    }

    /// Sets a block aside.
    pub(crate) fn grant(&mut self, block: BlockIndex) {
        let before = self.row(block).clone();
        self.highest = Sequence(self.highest.0 + 1);
        self.replace(block, Row { state: BlockState::Granted, ..before.clone() });
        self.dirty.remove(&block);
        self.grants.push_back(Grant {
            block,
            sequence: self.highest,
            before,
            ready: planted!(TakenBeforeGrantFlushed),
        });
    }

    /// Everything granted so far may be taken.
    pub(crate) fn grants_flushed(&mut self) {
        self.grants.iter_mut().for_each(|grant| grant.ready = true);
    }

    /// All blocks set aside.
    pub(crate) fn grants(&self) -> impl ExactSizeIterator<Item = &Grant> {
        self.grants.iter()
    }

    /// Takes the next block that may be taken, for a stream.
    pub(crate) fn take(&mut self, stream: StreamId) -> Option<Grant> {
        let grant = self.grants.pop_front_if(|grant| grant.ready)?;
        self.replace(
            grant.block,
            Row { state: BlockState::Open, stream, sequence: grant.sequence, ..Row::default() },
        );
        Some(grant)
    }

    /// Gives back what was set aside and not taken: nothing was written there. The table may never have had these rows, or
    /// still have what was given up before, so they are logged once more.
    pub(crate) fn release_grants(&mut self) {
        while let Some(grant) = self.grants.pop_front() {
            if planted!(ReleasedGrantNotLogged) {
                self.replace(grant.block, grant.before);
                continue;
            }
            self.settle(grant.block, grant.before);
        }
    }

    /// The rows for the next round record.
    pub(crate) fn rows_to_log(&self) -> impl Iterator<Item = (BlockIndex, &Row)> {
        self.dirty.keys().map(|block| (*block, self.row(*block)))
    }

    /// Whether the row of a block waits for the table.
    pub(crate) fn waits(&self, block: BlockIndex) -> bool {
        self.dirty.contains_key(&block)
    }

    /// How many rows wait for the table.
    pub(crate) fn rows_waiting(&self) -> usize {
        self.dirty.len()
    }

    /// The table sectors whose rows stand in a flushed record, but for those that the disk refused lately.
    pub(crate) fn sectors_to_write(&self, now: RoundNumber) -> BTreeSet<usize> {
        let logged = self.dirty.iter().filter(|(_, dirty)| **dirty == Dirty::Logged);
        let sectors = logged.map(|(block, _)| block.0 as usize / ROWS_PER_SECTOR);
        let waits = |sector: &usize| self.refused.sectors.get(sector).is_some_and(|again| *again > now);
        sectors.filter(|sector| !waits(sector)).collect()
    }

    /// The rows of a sector as the table shall have them: of a granted block what it held before, for a clean end gives it
    /// back; of a parked block that is written again that it is parked, for so far it is durable. Of both the record says more.
    pub(crate) fn sector_rows(&self, sector: usize) -> [Row; ROWS_PER_SECTOR] {
        std::array::from_fn(|index| {
            let place = sector * ROWS_PER_SECTOR + index;
            let granted = self.grants.iter().find(|grant| grant.block.0 as usize == place);
            let row = granted.map(|grant| &grant.before).or_else(|| self.rows.get(place));
            let row = row.cloned().unwrap_or_default();
            let resumed = row.state == BlockState::Open && row.is_live() && !planted!(ResumedRowWritten);
            if resumed { Row { state: BlockState::Parked, ..row } } else { row }
        })
    }

    /// A round was flushed; `sectors` are those of the table that were written in it.
    pub(crate) fn round_flushed(&mut self, sectors: &BTreeSet<usize>) {
        self.refused.sectors.retain(|sector, _| !sectors.contains(sector));
        self.dirty.retain(|block, dirty| {
            let written = sectors.contains(&(block.0 as usize / ROWS_PER_SECTOR));
            let keep = !(written && *dirty == Dirty::Logged || planted!(RowsLeaveRecordEarly));
            *dirty = Dirty::Logged;
            keep
        });
    }

    /// The rows of these sectors stand in the table.
    pub(crate) fn in_table(&mut self, sectors: &BTreeSet<usize>) {
        self.dirty.retain(|block, _| !sectors.contains(&(block.0 as usize / ROWS_PER_SECTOR)));
    }
}
