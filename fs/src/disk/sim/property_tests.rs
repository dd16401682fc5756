//! The simulated disk against a second description of what disks promise, over random histories.
//!
//! The model keeps for each sector the values it may hold: the last one that is certain, and all written after it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::disk::AlignedBuffer;

const SECTORS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Write { sector: usize, count: usize },
    Flush,
    Complete,
    FailNextWrite,
    FailNextFlush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..SECTORS, 1..=3_usize).prop_map(|(sector, count)| Step::Write { sector, count }),
        2 => Just(Step::Flush),
        6 => Just(Step::Complete),
        1 => Just(Step::FailNextWrite),
        1 => Just(Step::FailNextFlush),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Fate {
    InFlight,
    Completed,
    Doubtful,
}

/// A value that a sector may hold.
#[derive(Copy, Clone, Debug)]
struct Entry {
    token: u64,
    value: u8,
    fate: Fate,
}

/// Per sector the certain value, and what was written after it in order.
struct Model {
    certain: [u8; SECTORS],
    after: [Vec<Entry>; SECTORS],
    /// Flushes in flight, with the writes that had completed when they were submitted.
    flushes: BTreeMap<u64, Vec<u64>>,
    /// Writes in flight, with their sectors.
    writes: BTreeMap<u64, std::ops::Range<usize>>,
}

impl Model {
    fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.after.iter_mut().flatten()
    }

    fn written(&mut self, token: u64, failed: bool) {
        let fate = if failed { Fate::Doubtful } else { Fate::Completed };
        self.writes.remove(&token);
        self.entries().filter(|entry| entry.token == token).for_each(|entry| entry.fate = fate);
    }

    fn flush_submitted(&mut self, token: u64) {
        let covered = self.entries().filter(|entry| entry.fate == Fate::Completed).map(|entry| entry.token);
        let covered = covered.collect();
        self.flushes.insert(token, covered);
    }

    fn flushed(&mut self, token: u64, failed: bool) {
        let covered = self.flushes.remove(&token).unwrap();
        if failed {
            let completed = self.entries().filter(|entry| entry.fate == Fate::Completed);
            completed.for_each(|entry| entry.fate = Fate::Doubtful);
            return;
        }
        for (certain, after) in self.certain.iter_mut().zip(&mut self.after) {
            let stands = |entry: &Entry| entry.fate == Fate::Completed && covered.contains(&entry.token);
            if let Some(last) = after.iter().rposition(stands) {
                *certain = after[last].value;
                after.drain(..=last);
            }
        }
    }

    fn may_hold(&self, sector: usize, value: u8) -> bool {
        self.certain[sector] == value || self.after[sector].iter().any(|entry| entry.value == value)
    }

    /// What a reader may see: nothing older than the last completed write.
    fn may_show(&self, sector: usize, value: u8) -> bool {
        let after = &self.after[sector];
        let from = after.iter().rposition(|entry| entry.fate == Fate::Completed);
        // A doubtful one was completed once, or is part of what failed: it may show or not.
        let newer = after.get(from.unwrap_or(0)..).unwrap_or_default();
        newer.iter().any(|entry| entry.value == value) || from.is_none() && self.may_hold(sector, value)
    }
}

/// Runs a history and checks every crash state and every read on its way; the final picture and counts.
fn run(steps: &[Step], seed: u64) -> Result<(Vec<u8>, SimStats), TestCaseError> {
    let mut disk = SimDisk::new(SECTORS * SECTOR_BYTES, seed);
    let mut model = Model {
        certain: [0; SECTORS],
        after: Default::default(),
        flushes: BTreeMap::new(),
        writes: BTreeMap::new(),
    };
    for (number, step) in steps.iter().enumerate() {
        let value = number as u8 + 1;
        match *step {
            Step::Write { sector, count } => {
                let range = sector..(sector + count).min(SECTORS);
                // No sane writer has two writes of one place in flight.
                if model.writes.values().any(|other| other.start < range.end && range.start < other.end) {
                    continue;
                }
                let mut buffer = AlignedBuffer::zeroed(range.len() * SECTOR_BYTES);
                buffer.fill(value);
                let (offset, len) = ((range.start * SECTOR_BYTES) as u64, buffer.len());
                let token = disk.submit(Operation::Write { offset, buffer: Arc::new(buffer), len }).get();
                for after in &mut model.after[range.clone()] {
                    after.push(Entry { token, value, fate: Fate::InFlight });
                }
                model.writes.insert(token, range);
            }
            Step::Flush => {
                let token = disk.submit(Operation::Flush).get();
                model.flush_submitted(token);
            }
            Step::Complete => {
                let Some(completion) = disk.poll(Duration::ZERO) else { continue };
                let (token, failed) = (completion.token.get(), completion.result.is_err());
                match completion.operation {
                    Operation::Flush => model.flushed(token, failed),
                    _ => model.written(token, failed),
                }
            }
            Step::FailNextWrite => {
                disk.fail_nth(disk.submitted(), Errno::EIO, Repeat::Once, Kinds::WRITES);
            }
            Step::FailNextFlush => {
                disk.fail_nth(disk.submitted(), Errno::EIO, Repeat::Once, Kinds::FLUSHES);
            }
        }
        check(&disk, &model, seed)?;
    }
    Ok((disk.snapshot().to_vec(), disk.stats()))
}

fn check(disk: &SimDisk, model: &Model, seed: u64) -> Result<(), TestCaseError> {
    let point = disk.crash_point();
    let values = |image: &SimImage| -> Vec<u8> {
        image.to_vec().chunks(SECTOR_BYTES).map(|sector| sector[0]).collect()
    };
    prop_assert_eq!(values(&point.image(CrashPlan::None)), model.certain.to_vec());
    for plan in CrashPlan::enumerate(point.pending_sectors(), 32, seed) {
        for (sector, value) in values(&point.image(plan)).into_iter().enumerate() {
            prop_assert!(model.may_hold(sector, value), "{plan:?}: sector {sector} holds {value}");
        }
    }
    let reader = disk.reader();
    for sector in 0..SECTORS {
        let mut bytes = [0; SECTOR_BYTES];
        reader.read_exact_at(&mut bytes, (sector * SECTOR_BYTES) as u64).unwrap();
        prop_assert!(bytes.iter().all(|&byte| byte == bytes[0]), "sector {sector} is torn");
        prop_assert!(model.may_show(sector, bytes[0]), "sector {sector} shows {}", bytes[0]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_leaves_what_the_promises_exclude(steps in steps(), seed: u64) {
        run(&steps, seed)?;
    }

    #[test]
    fn the_same_seed_and_calls_give_the_same_history(steps in steps(), seed: u64) {
        prop_assert_eq!(run(&steps, seed)?, run(&steps, seed)?);
    }

    #[test]
    fn all_subsets_of_pending_sectors_are_different_images(count in 1..=8_usize, seed: u64) {
        let mut disk = SimDisk::new(8 * SECTOR_BYTES, seed);
        let mut buffer = AlignedBuffer::zeroed(count * SECTOR_BYTES);
        buffer.fill(1);
        let len = buffer.len();
        disk.submit(Operation::Write { offset: 0, buffer: Arc::new(buffer), len });
        let point = disk.crash_point();
        let plans = CrashPlan::enumerate(point.pending_sectors(), 256, seed);
        let images: std::collections::BTreeSet<Vec<u8>> =
            plans.into_iter().map(|plan| point.image(plan).to_vec()).collect();
        prop_assert_eq!(images.len(), 1 << count);
    }
}
