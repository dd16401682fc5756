//! What stands of a stream in a volume, sample by sample, read by the library itself: for judging what was recorded into several.
//!
//! Must not live here: what is right.

use anyhow::Result;
use keha_fs::{Gap, Item, RunId, StreamId, StreamName, TimeRange, Volume, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a volume has of a stream, in the order of recording.
#[derive(Clone, Debug)]
pub struct Stands {
    /// Its identity there.
    pub id: StreamId,
    /// Runs and gaps.
    pub order: Vec<Thing>,
}

/// A run, or a gap record.
#[derive(Clone, Debug)]
pub enum Thing {
    /// The samples of a run, one after the other.
    Run(RunId, Vec<Placed>),
    /// A gap.
    Gap(Gap),
}

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// Ticks in its run.
    pub ticks: i64,
    /// When it was.
    pub wall: WallTime,
}

impl Stands {
    /// Reads all of a stream of pictures alone.
    pub fn read(volume: &Path, stream: &str) -> Result<Stands> {
        let volume = Volume::open(volume)?;
        let id = volume.stream(&StreamName::new(stream)?)?.id;
        let mut cursor = volume.read(id, TimeRange::default())?;
        let mut order = Vec::new();
        while let Some(item) = cursor.next_item()? {
            match item {
                Item::Gap(gap) => order.push(Thing::Gap(gap)),
                Item::Run(run) => order.push(Thing::Run(run, Vec::new())),
                Item::Sample(sample) => {
                    let placed = Placed { ticks: sample.ticks, wall: sample.wall };
                    match order.iter_mut().rev().find_map(|thing| match thing {
                        Thing::Run(run, samples) if *run == sample.run => Some(samples),
                        _ => None,
                    }) {
                        Some(samples) => samples.push(placed),
                        None => order.push(Thing::Run(sample.run, vec![placed])),
                    }
                }
                Item::Damage(finding) => anyhow::bail!("damage: {finding:?}"),
                _ => {}
            }
        }
        Ok(Stands { id, order })
    }

    /// Its runs, in the order of recording.
    pub fn runs(&self) -> Vec<(RunId, &[Placed])> {
        let runs = self.order.iter().filter_map(|thing| match thing {
            Thing::Run(run, samples) => Some((*run, samples.as_slice())),
            Thing::Gap(_) => None,
        });
        runs.collect()
    }

    /// Its gaps, in the order of recording.
    pub fn gaps(&self) -> Vec<&Gap> {
        let gaps = self.order.iter().filter_map(|thing| match thing {
            Thing::Gap(gap) => Some(gap),
            Thing::Run(..) => None,
        });
        gaps.collect()
    }
}

/// The samples of each run over several volumes, each once.
pub fn together(all: &[&Stands]) -> BTreeMap<RunId, BTreeSet<Placed>> {
    let mut runs: BTreeMap<RunId, BTreeSet<Placed>> = BTreeMap::new();
    for (run, samples) in all.iter().flat_map(|stands| stands.runs()) {
        runs.entry(run).or_default().extend(samples);
    }
    runs
}

/// How many pictures are missing in a run of a camera that sends one each `step` ticks.
pub fn missing(samples: &BTreeSet<Placed>, step: i64) -> i64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0 };
    (last.ticks - first.ticks) / step + 1 - samples.len() as i64
}
