//! The mux: samples of one stream in, messages out. It knows no time of its own, no thread and no viewer.
//!
//! One fragment is one picture with the sound recorded before it. The picture waits for nothing, so the mux delays it by nothing.

use super::message::{Fragment, Message};
use super::period::{Period, Used};
use super::tracks::{Entry, chosen, entry};
use crate::mp4::Track;
use keha_fs::{Configuration, ConfigurationHash, RunId, StoredSample, TailItem, TrackNumber};
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many configurations are remembered: disk and tail may name an earlier one.
const CONFIGURATIONS_MAX: usize = 16;
/// So many packets of sound may come before the first picture of a run.
const HELD_MAX: usize = 64;

/// Turns tail items, or the same from disk, into messages.
#[derive(Default)]
pub struct Mux {
    configurations: BTreeMap<ConfigurationHash, Known>,
    order: Vec<ConfigurationHash>,
    period: Option<Period>,
    /// Where a period is to begin, once a sample comes that it can begin with.
    coming: Option<Coming>,
    used: Used,
    inits: u64,
    /// What was left out since the last fragment.
    left_out: LeftOut,
}

/// What viewers lack, and were not told of yet.
#[derive(Default)]
struct LeftOut {
    samples: u64,
    /// Something is missing, also where none of it is known.
    missed: bool,
}

struct Known {
    tracks: Arc<Vec<(TrackNumber, Track)>>,
    unplayable: Option<Arc<str>>,
}

struct Coming {
    run: RunId,
    configuration: ConfigurationHash,
    /// Sound from before the first picture; given up once a picture is met that needs another.
    held: Vec<StoredSample>,
    told: bool,
}

impl Mux {
    /// A mux that was given nothing.
    pub fn new() -> Mux {
        Mux::default()
    }

    /// Takes what comes next in the order of recording, and appends what follows from it.
    pub fn push(&mut self, item: TailItem, out: &mut Vec<Message>) {
        match item {
            TailItem::Configuration(hash, configuration) => self.learn(hash, &configuration),
            TailItem::Sample(sample) => self.sample(sample, out),
            TailItem::Gap(gap) => {
                self.flush(out);
                out.push(Message::Gap(gap));
            }
            _ => {}
        }
    }

    /// Gives what waits: nothing is coming for now.
    pub fn flush(&mut self, out: &mut Vec<Message>) {
        let Mux { period, used, .. } = self;
        let fragment = period.as_mut().and_then(|period| period.flush(used));
        self.give(fragment, out);
    }

    /// Gives a fragment, and tells before it what is missing there.
    fn give(&mut self, fragment: Option<Fragment>, out: &mut Vec<Message>) {
        let Some(fragment) = fragment else { return };
        self.count();
        let LeftOut { samples, missed } = std::mem::take(&mut self.left_out);
        let samples = samples.max(u64::from(missed));
        if samples > 0 {
            out.push(Message::Skipped { samples });
        }
        out.push(Message::Fragment(fragment));
    }

    fn count(&mut self) {
        self.left_out.samples += self.period.as_mut().map_or(0, Period::take_left_out);
    }

    /// What came before the next item was not had: nothing that needs it is given. `missed`: how much of it is known that was recorded,
    /// perhaps not all; `None` where nothing was.
    pub fn interrupt(&mut self, missed: Option<u64>) {
        if let Some(period) = &mut self.period {
            period.interrupt();
            self.left_out.samples += missed.unwrap_or(0);
            self.left_out.missed |= missed.is_some();
        }
        self.coming = None;
    }

    /// What a sample is where a viewer might begin; `None` if its configuration is not known. One that cannot be played needs nothing
    /// that came before: the mux begins with it, by saying so.
    pub(super) fn entry(&self, sample: &StoredSample) -> Option<Entry> {
        let known = self.configurations.get(&sample.configuration)?;
        Some(if known.unplayable.is_some() { Entry::Begins } else { entry(&known.tracks, sample) })
    }

    /// Takes a configuration to which samples may refer.
    pub(super) fn learn(&mut self, hash: ConfigurationHash, configuration: &Configuration) {
        if self.configurations.contains_key(&hash) {
            return;
        }
        let known = match chosen(configuration) {
            Ok(tracks) => Known { tracks: Arc::new(tracks), unplayable: None },
            Err(why) => Known { tracks: Arc::default(), unplayable: Some(why.into()) },
        };
        if self.order.len() >= CONFIGURATIONS_MAX {
            let oldest = self.order.remove(0);
            self.configurations.remove(&oldest);
        }
        self.order.push(hash);
        self.configurations.insert(hash, known);
    }

    fn sample(&mut self, sample: StoredSample, out: &mut Vec<Message>) {
        if let Some(period) = self.period.as_mut().filter(|period| period.goes_on_with(&sample)) {
            let fragment = period.push(sample, &mut self.used);
            return self.give(fragment, out);
        }
        let Some(known) = self.configurations.get(&sample.configuration) else {
            tracing::warn!(configuration = %sample.configuration, "live: a sample without its configuration is left out");
            return;
        };
        let here = (sample.run, sample.configuration);
        let coming = self.coming.take().filter(|coming| (coming.run, coming.configuration) == here);
        let mut coming = coming.unwrap_or_else(|| Coming {
            run: sample.run,
            configuration: sample.configuration,
            held: Vec::new(),
            told: false,
        });
        if let Some(why) = known.unplayable.clone() {
            if !std::mem::replace(&mut coming.told, true) {
                self.flush(out);
                out.push(Message::Unplayable(why));
            }
            self.coming = Some(coming);
            return;
        }
        let tracks = Arc::clone(&known.tracks);
        match entry(&tracks, &sample) {
            Entry::Begins => return self.begin(&tracks, coming.held, sample, out),
            Entry::Needs => {
                // Who comes before the first footage lacks nothing.
                self.left_out.samples += u64::from(self.inits > 0) * (1 + coming.held.len() as u64);
                coming.held.clear();
            }
            Entry::Beside => {
                coming.held.push(sample);
                let too_many = coming.held.len().saturating_sub(HELD_MAX);
                coming.held.drain(..too_many);
            }
        }
        self.coming = Some(coming);
    }

    fn begin(
        &mut self,
        tracks: &[(TrackNumber, Track)],
        held: Vec<StoredSample>,
        sample: StoredSample,
        out: &mut Vec<Message>,
    ) {
        self.flush(out);
        self.count();
        self.inits += 1;
        let first = held.iter().chain([&sample]).min_by_key(|sample| sample.wall);
        match Period::begin(self.inits, tracks, first.unwrap_or(&sample), self.used) {
            Ok(period) => {
                out.push(Message::Init(Arc::clone(&period.init)));
                let period = self.period.insert(period);
                held.into_iter().for_each(|sound| period.hold(sound));
                let fragment = period.push(sample, &mut self.used);
                self.give(fragment, out);
            }
            Err(error) => {
                self.period = None;
                tracing::warn!(%error, "live: no init segment can be made");
            }
        }
    }
}
