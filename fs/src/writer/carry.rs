//! Samples that were taken for a stream of one volume and are not known to be durable there, written into the same stream of another:
//! what was in memory when its disk went.
//!
//! They keep run, ticks, clock and bytes. Before them go those of their group that are durable there already, as far as they are still in
//! memory: without them nobody could decode the rest. So the same sample may stand in both volumes, by the same run, track and ticks.
//!
//! ```text
//! Undone --carrying--> Carrying --carry: as much as there is room for, again and again--> all is taken
//!                            \--end: what is left is lost, and counted--> Carried
//! ```
//!
//! Nothing here waits: who carries decides how long. What is carried has a part of the memory before the disk, a fair one for each stream
//! of those that come together (`room`): what others send, and what follows in the stream itself, has the rest.
//!
//! Must not live here: which volume, and when.

use super::room::Standing;
use super::thread::Ask;
use super::{Holder, Rejected, StreamWriter};
use crate::configuration::Configuration;
use crate::sample::Anchor;
use crate::tail::{SamplePlace, UndoneItem, UndoneSample};
use crate::types::{RunId, StreamName, TrackNumber, WallTime};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What is to be written again elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    items: Vec<UndoneItem>,
    /// The wall time of the first and the last sample that are not durable.
    span: Option<(WallTime, WallTime)>,
    /// It follows directly on what stands where it is to be written.
    goes_on: bool,
}

/// What is being written again elsewhere.
#[derive(Debug)]
pub struct Carrying {
    left: VecDeque<UndoneItem>,
    told: Told,
    carried: Carried,
    /// How many streams come over at the same time.
    together: usize,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Samples that were taken; those that stand in the other volume, too, among them.
    pub samples: u64,
    /// Samples that were not, of those that are not known to be durable in the other volume either.
    pub samples_lost: u64,
    /// Their bytes.
    pub bytes_lost: u64,
    /// Why they were not.
    pub why_lost: Option<String>,
    /// The wall time of the last sample that was taken.
    pub to: Option<WallTime>,
}

impl Undone {
    /// All this, in the order of recording.
    pub(crate) fn new(items: Vec<UndoneItem>) -> Undone {
        let new = items.iter().filter_map(|item| match item {
            UndoneItem::Sample(sample) if !sample.is_durable => Some(wall(sample)),
            _ => None,
        });
        let span = new.fold(None, |span: Option<(WallTime, WallTime)>, wall| {
            Some(span.map_or((wall, wall), |(from, to)| (from.min(wall), to.max(wall))))
        });
        Undone { items, span, goes_on: false }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The wall time of the first and the last sample that are not known to be durable.
    pub fn span(&self) -> Option<(WallTime, WallTime)> {
        self.span
    }

    /// Whether it follows directly on what stands in the stream that it is to be written into ([`StreamWriter::lacking`]).
    pub fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// What of it came after a sample; all of it if that is not in it.
    pub(crate) fn behind(mut self, last: SamplePlace) -> Undone {
        let place = |sample: &UndoneSample| (sample.run, sample.sample.track, sample.sample.ticks);
        // Of several that say the same the first: rather twice than not at all.
        let is_it = |item: &UndoneItem| matches!(item, UndoneItem::Sample(sample) if place(sample) == last);
        match self.items.iter().position(is_it) {
            Some(at) => Undone { goes_on: true, ..Undone::new(self.items.split_off(at + 1)) },
            None => self,
        }
    }

    /// How many samples there are that are not known to be durable, and their bytes.
    pub fn lost_if_left(&self) -> (u64, u64) {
        self.items.iter().fold((0, 0), |(samples, bytes), item| match item {
            UndoneItem::Sample(sample) if !sample.is_durable => {
                (samples + 1, bytes + sample.sample.len() as u64)
            }
            _ => (samples, bytes),
        })
    }

    /// Begins to write it elsewhere, where so many streams come over at the same time.
    pub fn carrying(self, together: usize) -> Carrying {
        Carrying { left: self.items.into(), told: Told::default(), carried: Carried::default(), together }
    }
}

impl Carrying {
    /// What became of it. What is left is lost.
    pub fn end(self) -> Carried {
        let mut carried = self.carried;
        for item in self.left {
            // What is durable elsewhere is not lost.
            if let UndoneItem::Sample(sample) = item
                && !sample.is_durable
            {
                carried.samples_lost += 1;
                carried.bytes_lost += sample.sample.len() as u64;
            }
        }
        if carried.samples_lost == 0 {
            carried.why_lost = None;
        } else {
            carried.why_lost.get_or_insert_with(|| "there was no room for them".to_owned());
        }
        carried
    }
}

impl Holder {
    /// What of a stream was taken and is not known to be durable. Whoever asks has ended its recording before: what comes after is not
    /// in it. Nothing here waits for the disk.
    pub fn undone(&self, stream: &StreamName) -> Undone {
        let Some((tail, durable)) = self.shared.tail_and_durable(stream) else { return Undone::default() };
        Undone::new(tail.undone(durable))
    }

    /// The streams that were recorded since the volume was opened.
    pub fn recorded(&self) -> Vec<StreamName> {
        self.shared.recorded()
    }
}

impl StreamWriter {
    /// What of it does not stand in this stream, where that is the one for which it waited, in a volume that was opened anew, and was
    /// given nothing since. What stands is told sample by sample, by run, track and ticks, whatever any clock said; where it cannot be told,
    /// or not within `patience`, all is lacking: rather twice than not at all. A gap that is written again replaces itself.
    pub fn lacking(&self, undone: Undone, patience: Duration) -> Undone {
        let asked = self.shared.ask_for(patience, |answer| Ask::LastSample(self.index, answer));
        match asked {
            Ok(Some(last)) => undone.behind(last),
            Ok(None) => undone,
            Err(error) => {
                tracing::warn!(stream = %self.name, %error, "what of it stands cannot be told: some samples may stand twice");
                undone
            }
        }
    }

    /// Has what was given so far written now, and not with the next round: for whoever waits for room. A disk that fails is not asked more
    /// often for it.
    pub fn hurry(&self) {
        self.shared.hurry();
    }

    /// Takes as much of what was not durable elsewhere as there is room for, before anything else is given. Whether that is all, or the
    /// rest can never be taken; else some more may be a little later.
    pub fn carry(&mut self, carrying: &mut Carrying) -> bool {
        while carrying.carried.why_lost.is_none() {
            let Some(item) = carrying.left.pop_front() else { return true };
            let sample = match item {
                UndoneItem::Gap(gap) => {
                    // One that is open is closed where recording goes on.
                    if gap.to.is_some() {
                        self.gap(&gap);
                    }
                    continue;
                }
                UndoneItem::Sample(sample) => sample,
            };
            let wall = wall(&sample);
            let why = match self.carry_sample(&sample, &mut carrying.told, carrying.together) {
                Ok(()) => {
                    carrying.carried.samples += 1;
                    carrying.carried.to = carrying.carried.to.max(Some(wall));
                    continue;
                }
                Err(NotCarried::NoRoom) => None,
                Err(NotCarried::Never(why)) => Some(why),
            };
            // The rest of a group is of no use without it, and what follows would be a hole that nobody explains.
            carrying.left.push_front(UndoneItem::Sample(sample));
            let Some(why) = why else { return false };
            carrying.carried.why_lost = Some(why);
        }
        true
    }

    fn carry_sample(
        &mut self,
        undone: &UndoneSample,
        told: &mut Told,
        together: usize,
    ) -> Result<(), NotCarried> {
        let UndoneSample { run, anchor, configuration, .. } = undone;
        if !told.configuration.as_ref().is_some_and(|told| Arc::ptr_eq(told, configuration)) {
            self.configure(configuration).map_err(|error| NotCarried::Never(error.to_string()))?;
            told.configuration = Some(Arc::clone(configuration));
        }
        if told.run != Some(*run) {
            self.begin_run(*run);
            (told.run, told.anchors) = (Some(*run), BTreeMap::new());
        }
        if told.anchors.insert(anchor.track, *anchor) != Some(*anchor) {
            self.anchor(*anchor);
        }
        self.give(undone.sample.clone(), Standing::Carried { together }).map_err(|rejected| match rejected {
            Rejected::Full => NotCarried::NoRoom,
            other => NotCarried::Never(other.to_string()),
        })
    }
}

/// Why a sample was not carried.
enum NotCarried {
    /// There may be room a little later.
    NoRoom,
    /// It never will be.
    Never(String),
}

/// What the samples before have given already.
#[derive(Debug, Default)]
struct Told {
    configuration: Option<Arc<Configuration>>,
    run: Option<RunId>,
    anchors: BTreeMap<TrackNumber, Anchor>,
}

fn wall(sample: &UndoneSample) -> WallTime {
    sample.anchor.wall_of(sample.sample.ticks)
}
