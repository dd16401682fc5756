//! Samples that were taken for a stream of one volume and are not known to be durable there, written into the same stream of another:
//! what was in memory when its disk went.
//!
//! They keep run, ticks, clock and bytes. Before them go those of their group that are durable there already, as far as they are still in
//! memory: without them nobody could decode the rest. So the same sample may stand in both volumes, by the same run, track and ticks.
//!
//! Must not live here: which volume, and when.

use super::{Holder, Rejected, StreamWriter};
use crate::configuration::Configuration;
use crate::error::Result;
use crate::sample::Anchor;
use crate::tail::{UndoneItem, UndoneSample};
use crate::types::{RunId, StreamName, TrackNumber, WallTime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for room in the queue to the other disk, over all samples: who records waits for this.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(5);

/// What is to be written again elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    items: Vec<UndoneItem>,
    /// The wall time of the first and the last sample that are not durable.
    span: Option<(WallTime, WallTime)>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Samples that were taken; those that stand in the other volume, too, among them.
    pub samples: u64,
    /// Samples that were not: there was no room for them.
    pub samples_lost: u64,
    /// Their bytes.
    pub bytes_lost: u64,
    /// The wall time of the last sample that was taken.
    pub to: Option<WallTime>,
}

impl Undone {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The wall time of the first and the last sample that are not known to be durable.
    pub fn span(&self) -> Option<(WallTime, WallTime)> {
        self.span
    }
}

impl Holder {
    /// What of a stream was taken and is not known to be durable. Whoever asks has ended its recording before: what comes after is not
    /// in it. Nothing here waits for the disk.
    pub fn undone(&self, stream: &StreamName) -> Undone {
        let Some((tail, durable)) = self.shared.tail_and_durable(stream) else { return Undone::default() };
        let items = tail.undone(durable);
        let new = items.iter().filter_map(|item| match item {
            UndoneItem::Sample(sample) if !sample.is_durable => Some(wall(sample)),
            _ => None,
        });
        let span = new.fold(None, |span: Option<(WallTime, WallTime)>, wall| {
            Some(span.map_or((wall, wall), |(from, to)| (from.min(wall), to.max(wall))))
        });
        Undone { items, span }
    }
}

impl StreamWriter {
    /// Takes what was not durable elsewhere, before anything else is given. Waits half a second at most for room.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] where a configuration cannot be stored here. What came before it is taken.
    pub fn carry(&mut self, undone: Undone) -> Result<Carried> {
        let until = Instant::now() + PATIENCE;
        let (mut carried, mut told, mut is_lost) = (Carried::default(), Told::default(), false);
        for item in undone.items {
            match item {
                // One that is open is closed where recording goes on.
                UndoneItem::Gap(gap) if gap.to.is_some() && !is_lost => self.gap(&gap),
                UndoneItem::Gap(_) => {}
                UndoneItem::Sample(sample) => {
                    let bytes = sample.sample.len() as u64;
                    let wall = wall(&sample);
                    if is_lost || !self.carry_sample(*sample, &mut told, until)? {
                        // The rest of a group is of no use without it, and what follows would be a hole that nobody explains.
                        is_lost = true;
                        carried.samples_lost += 1;
                        carried.bytes_lost += bytes;
                        continue;
                    }
                    carried.samples += 1;
                    carried.to = carried.to.max(Some(wall));
                }
            }
        }
        Ok(carried)
    }

    fn carry_sample(&mut self, undone: UndoneSample, told: &mut Told, until: Instant) -> Result<bool> {
        let UndoneSample { run, anchor, configuration, .. } = &undone;
        if !told.configuration.as_ref().is_some_and(|told| Arc::ptr_eq(told, configuration)) {
            self.configure(configuration)?;
            told.configuration = Some(Arc::clone(configuration));
        }
        if told.run != Some(*run) {
            self.begin_run(*run);
            (told.run, told.anchors) = (Some(*run), BTreeMap::new());
        }
        if told.anchors.insert(anchor.track, *anchor) != Some(*anchor) {
            self.anchor(*anchor);
        }
        loop {
            match self.push(undone.sample.clone()) {
                Ok(()) => return Ok(true),
                Err(Rejected::Full) if Instant::now() < until => std::thread::sleep(PAUSE),
                Err(_) => return Ok(false),
            }
        }
    }
}

/// What the samples before have given already.
#[derive(Default)]
struct Told {
    configuration: Option<Arc<Configuration>>,
    run: Option<RunId>,
    anchors: BTreeMap<TrackNumber, Anchor>,
}

fn wall(sample: &UndoneSample) -> WallTime {
    sample.anchor.wall_of(sample.sample.ticks)
}
