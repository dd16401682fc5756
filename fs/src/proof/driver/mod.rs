//! A recorder without threads: random or scripted work on a simulated disk, with the model kept beside it, and every instant
//! at which a power cut is to be tried handed to the oracle.

use super::material::{AUDIO, Camera, Pushed, Run, Shape, VIDEO, camera, configuration, empty_volume};
use super::oracle::{Claim, Entry, Holdings, Model, judge};
use super::{Verdict, demand};
use crate::clock::SimClock;
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, CrashPoint, SimControl, SimDisk, SimImage, SimRng};
use crate::gap::{Gap, GapReason};
use crate::report::{Health, OpenReport};
use crate::sample::SampleFlags;
use crate::types::{ConfigurationHash, RunId, StreamName, Uuid, WallTime};
use crate::writer::engine::{Engine, EngineOptions};
use crate::writer::inspect::View;
use crate::writer::{Input, StoredConfiguration};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A camera's stream as the recorder sees it.
#[derive(Clone, Debug)]
struct Feed {
    name: String,
    camera: Camera,
    index: usize,
    run: Option<Run>,
    configuration: ConfigurationHash,
    variant: u64,
    since_keyframe: u64,
}

/// Which instants are tried, and how hard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cuts {
    /// One of so many I/O events; 0 = none.
    pub(super) one_in: usize,
    /// Crash plans for each.
    pub(super) plans: usize,
    /// One of so many images is also recovered, written to and crashed in recovery; 0 = none.
    pub(super) deep_one_in: usize,
}

impl Cuts {
    pub(super) const NONE: Cuts = Cuts { one_in: 0, plans: 0, deep_one_in: 0 };
}

/// The recorder.
pub(super) struct Driver {
    pub(super) shape: Shape,
    pub(super) rng: SimRng,
    pub(super) disk: SimControl,
    pub(super) model: Model,
    pub(super) cuts: Cuts,
    pub(super) faulty: bool,
    /// Images judged so far.
    pub(super) judged: u64,
    clock: Arc<SimClock>,
    engine: Option<Engine<SimDisk>>,
    feeds: Vec<Feed>,
    numbers: u64,
    points: Arc<Mutex<Vec<CrashPoint>>>,
}

impl Driver {
    /// An empty volume, opened.
    pub(super) fn new(shape: Shape, seed: u64, cuts: Cuts) -> Verdict<Driver> {
        let image = empty_volume(&shape, seed);
        Driver::on(image, shape, Model::default(), seed, cuts)
    }

    /// A volume with what the model says.
    pub(super) fn on(image: SimImage, shape: Shape, model: Model, seed: u64, cuts: Cuts) -> Verdict<Driver> {
        let mut driver = Driver::beside(image, shape, model, seed, cuts);
        driver.open_now()?;
        Ok(driver)
    }

    /// [`Driver::on`], where faults may have left copies damaged and blocks withdrawn.
    pub(super) fn faulty_on(image: SimImage, shape: Shape, model: Model, seed: u64) -> Verdict<Driver> {
        let mut driver = Driver::beside(image, shape, model, seed, Cuts::NONE);
        driver.faulty = true;
        driver.open_now()?;
        Ok(driver)
    }

    fn beside(image: SimImage, shape: Shape, model: Model, seed: u64, cuts: Cuts) -> Driver {
        let disk = SimDisk::from_image(image, seed);
        let numbers = model
            .streams
            .values()
            .flat_map(|stream| &stream.entries)
            .filter_map(
                |entry| if let Entry::Sample(pushed) = entry { Some(pushed.number + 1) } else { None },
            )
            .max()
            .unwrap_or(1);
        Driver {
            shape,
            rng: SimRng::new(seed ^ 0x5eed),
            disk: disk.control(),
            model,
            cuts,
            faulty: false,
            judged: 0,
            clock: Arc::new(SimClock::new(WallTime(1_700_000_000_000_000_000))),
            engine: None,
            feeds: Vec::new(),
            // Numbers of what a crash discarded are not given again.
            numbers: numbers + (seed % 1000) * 1000,
            points: Arc::default(),
        }
    }

    fn open_now(&mut self) -> Verdict {
        let (image, seed) = (self.disk.snapshot(), self.rng.next_u64());
        let before = self.judge_now(None)?;
        self.open(SimDisk::from_image(image, seed), &before)
    }

    fn open(&mut self, disk: SimDisk, before: &Holdings) -> Verdict {
        self.disk = disk.control();
        self.model.opened();
        let (engine, report) = open_engine_at(disk, Arc::clone(&self.clock))?;
        let harmless = report.findings.iter().all(|finding| self.faulty && !finding.footage_lost);
        demand!(harmless, "opening finds {:?}", report.findings);
        self.engine = Some(engine);
        self.feeds.iter_mut().for_each(|feed| feed.run = None);
        let names: Vec<String> = self.feeds.iter().map(|feed| feed.name.clone()).collect();
        self.feeds.clear();
        for name in self.model.streams.keys().cloned().chain(names).collect::<Vec<_>>() {
            self.admit(&name)?;
        }
        let view = self.view();
        let after = self.judge_now(Some(view))?;
        for (name, held) in before {
            let now = after.get(name).cloned().unwrap_or_default();
            demand!(now.to == held.to, "{name} held {held:?} before opening, {now:?} after");
        }
        Ok(())
    }

    fn engine(&mut self) -> Verdict<&mut Engine<SimDisk>> {
        self.engine.as_mut().ok_or_else(|| "the volume is closed".to_owned())
    }

    pub(super) fn view(&self) -> View {
        self.engine.as_ref().map(Engine::view).unwrap_or_default()
    }

    /// Admits a stream (again).
    pub(super) fn admit(&mut self, name: &str) -> Verdict {
        if self.feeds.iter().any(|feed| feed.name == name) {
            return Ok(());
        }
        let stream = StreamName::new(name).map_err(|error| error.to_string())?;
        self.model.streams.entry(name.to_owned()).or_default();
        let place: usize = name.trim_start_matches("cam").parse().unwrap_or_default();
        let index = self.watched(|engine| engine.admit(&stream))?.map_err(|error| error.to_string())?;
        let report = self.engine()?.report();
        // Where a new writer's watermark stands is where the stream ends.
        for durable in &report.streams {
            if let Some(stream) = self.model.streams.get_mut(durable.name.as_str()) {
                stream.id = durable.stream;
                stream.durable_chunk = stream.durable_chunk.max(durable.chunk);
            }
        }
        self.feeds.push(Feed {
            name: name.to_owned(),
            camera: camera(place),
            index,
            run: None,
            configuration: ConfigurationHash::default(),
            variant: 0,
            since_keyframe: 0,
        });
        Ok(())
    }

    /// Calls the engine and then judges the instants that were chosen meanwhile.
    pub(super) fn watched<T>(&mut self, call: impl FnOnce(&mut Engine<SimDisk>) -> T) -> Verdict<T> {
        self.watched_with(call, false)
    }

    /// [`Driver::watched`]; in closing, more of the oldest blocks are set aside and given back again.
    fn watched_with<T>(&mut self, call: impl FnOnce(&mut Engine<SimDisk>) -> T, closing: bool) -> Verdict<T> {
        let before = self.view();
        self.arm();
        let result = call(self.engine()?);
        self.disk.off_event();
        let after = self.view();
        let points = std::mem::take(&mut *self.points.lock().unwrap_or_else(PoisonError::into_inner));
        demand!(
            after.granted.len() <= after.active + 2,
            "{} blocks are set aside for {} streams",
            after.granted.len(),
            after.active
        );
        self.oldest_first(&before, &after)?;
        let mut oldest: Vec<_> = before.ranks.iter().map(|(block, rank)| (*rank, *block)).collect();
        oldest.sort_unstable();
        let mut between = before.clone();
        if closing {
            let taken = before.takes.iter().filter(|(block, take)| after.takes.get(block) != Some(take));
            let set_aside = taken.count() + before.granted.len() + before.active + 2;
            between.granted.extend(oldest.iter().take(set_aside).map(|(_, block)| *block));
        }
        let views = vec![before, between, after];
        for point in points {
            let claim = Claim { model: &self.model, views: views.clone(), faulty: self.faulty, clean: false };
            self.judged += judge_point(&point, &claim, &self.cuts, &self.shape, &mut self.rng)?;
        }
        Ok(result)
    }

    fn arm(&mut self) {
        if self.cuts.one_in == 0 {
            return;
        }
        let (one_in, points) = (self.cuts.one_in, Arc::clone(&self.points));
        let mut rng = SimRng::new(self.rng.next_u64());
        self.disk.on_event(move |point| {
            if rng.below(one_in) == 0 {
                points.lock().unwrap_or_else(PoisonError::into_inner).push(point.clone());
            }
        });
    }

    /// Only the blocks that were written to longest ago are set aside.
    fn oldest_first(&self, before: &View, after: &View) -> Verdict {
        for block in after.granted.difference(&before.granted) {
            let rank = before.ranks.get(block);
            let younger = |other: &&crate::types::BlockIndex| {
                !after.granted.contains(other) && before.takes.get(other) == after.takes.get(other)
            };
            let passed = before
                .ranks
                .iter()
                .filter(|(other, rank)| younger(other) && after.ranks.get(other) == Some(rank))
                .find(|(_, other_rank)| Some(*other_rank) < rank);
            demand!(
                passed.is_none() || rank.is_none() || self.faulty,
                "block {block} of rank {rank:?} is set aside before {passed:?}"
            );
        }
        Ok(())
    }

    fn feed(&mut self, which: usize) -> Verdict<&mut Feed> {
        let count = self.feeds.len().max(1);
        self.feeds.get_mut(which % count).ok_or_else(|| "no stream yet".to_owned())
    }

    fn give(&mut self, which: usize, input: Input) -> Verdict {
        let index = self.feed(which)?.index;
        self.engine()?.accept(index, input);
        Ok(())
    }

    fn note(&mut self, which: usize, entry: Entry) -> Verdict {
        let name = self.feed(which)?.name.clone();
        self.model.streams.entry(name).or_default().entries.push(entry);
        Ok(())
    }

    /// A stream is configured (anew).
    pub(super) fn configure(&mut self, which: usize, variant: u64) -> Verdict {
        let feed = self.feed(which)?;
        feed.variant = variant;
        let configuration = configuration(&feed.camera, variant);
        let (bytes, hash) = configuration.stored();
        feed.configuration = hash;
        let video = if feed.camera.video { vec![VIDEO] } else { Vec::new() };
        self.model.configurations.insert(hash, configuration);
        self.give(which, Input::Configure(Arc::new(StoredConfiguration { bytes, hash, video })))
    }

    /// A stream begins a run.
    pub(super) fn begin_run(&mut self, which: usize) -> Verdict {
        let (high, low) = (self.rng.next_u64(), self.rng.next_u64());
        let run = Run {
            id: RunId(Uuid::from_u64_pair(high, low)),
            offset_ns: (self.rng.below(7) as i64 - 3) * 3_600_000_000_000,
        };
        let late = self.rng.below(8) == 0;
        let feed = self.feed(which)?;
        feed.run = Some(run);
        // A stream may begin in the middle of a GOP.
        feed.since_keyframe = if late { 1 } else { 0 };
        self.give(which, Input::Run(run.id))?;
        self.anchor(which)
    }

    /// A stream's clock anchors are given anew.
    pub(super) fn anchor(&mut self, which: usize) -> Verdict {
        let ticks = self.numbers as i64;
        let feed = self.feed(which)?.clone();
        let Some(run) = feed.run else { return Ok(()) };
        if feed.camera.video {
            self.give(which, Input::Anchor(run.anchor(VIDEO, ticks)))?;
        }
        if feed.camera.audio {
            self.give(which, Input::Anchor(run.anchor(AUDIO, ticks)))?;
        }
        Ok(())
    }

    /// A stream gets one sample of this size.
    pub(super) fn push(&mut self, which: usize, length: usize) -> Verdict {
        let feed = self.feed(which)?;
        if feed.run.is_none() {
            let variant = feed.variant;
            self.configure(which, variant)?;
            self.begin_run(which)?;
        }
        self.numbers += 1 + self.rng.below(3) as u64;
        let (number, sound) = (self.numbers, self.rng.below(3) == 0);
        let feed = self.feed(which)?;
        let track = if feed.camera.audio && (sound || !feed.camera.video) { AUDIO } else { VIDEO };
        let mut flags = SampleFlags::SYNC;
        if track == VIDEO {
            if feed.since_keyframe % feed.camera.gop != 0 {
                flags = if number % 3 == 0 { SampleFlags::DISCARDABLE } else { SampleFlags::default() };
            }
            feed.since_keyframe += 1;
        }
        let pushed = Pushed {
            number,
            track,
            flags,
            length: length.max(1),
            run: feed.run.unwrap_or_default(),
            configuration: feed.configuration,
        };
        self.give(which, Input::Sample(pushed.sample()))?;
        self.note(which, Entry::Sample(pushed))
    }

    /// A stream gets a sample of a random size.
    pub(super) fn push_any(&mut self, which: usize) -> Verdict {
        let usual = self.feed(which)?.camera.usual_bytes;
        let length = match self.rng.below(60) {
            0..30 => 1 + self.rng.below(usual),
            30..57 => 1 + self.rng.below(usual / 4),
            57..59 => 3000 + self.rng.below(6000),
            _ => 14_000 + self.rng.below(30_000),
        };
        self.push(which, length)
    }

    /// A gap is recorded.
    pub(super) fn gap(&mut self, which: usize) -> Verdict {
        self.numbers += 1;
        let gap = Gap {
            reason: GapReason::ConnectionLost,
            from: WallTime(self.numbers as i64),
            to: None,
            samples_lost: 1,
            bytes_lost: 2,
            detail: "x".repeat(self.rng.below(300)),
        };
        self.give(which, Input::Gap(gap.clone()))?;
        self.note(which, Entry::Gap(gap))
    }

    /// A stream is parked.
    pub(super) fn park(&mut self, which: usize) -> Verdict {
        self.give(which, Input::Park)
    }

    /// What is full goes out.
    pub(super) fn work(&mut self) -> Verdict {
        self.watched(Engine::work)
    }

    /// A flush round.
    pub(super) fn round(&mut self) -> Verdict {
        self.clock.advance(Duration::from_millis(1000));
        let report = self.watched(Engine::round)?;
        self.model.reported(&report)?;
        demand!(
            self.faulty || report.health == Health::Good,
            "the disk is said to fail: {:?}",
            report.health
        );
        Ok(())
    }

    /// Rounds until everything pushed is durable.
    pub(super) fn settle(&mut self) -> Verdict {
        for _ in 0..200 {
            self.round()?;
            let waits = self.model.streams.values().any(|stream| {
                stream.entries.iter().skip(stream.durable).any(|entry| matches!(entry, Entry::Sample(_)))
            });
            if !waits {
                return Ok(());
            }
        }
        Err("what was pushed does not become durable in 200 rounds".to_owned())
    }

    /// Closes cleanly, judges, opens again.
    pub(super) fn reopen(&mut self) -> Verdict {
        let before = self.view();
        self.watched_with(Engine::close, true)?.map_err(|error| error.to_string())?;
        let report = self.engine()?.report();
        self.model.reported(&report)?;
        for stream in self.model.streams.values_mut() {
            let held = stream.durable == stream.entries.len()
                || stream.entries.iter().skip(stream.durable).all(|entry| matches!(entry, Entry::Gap(_)));
            demand!(held, "closed, but only {} of {} are durable", stream.durable, stream.entries.len());
            stream.durable = stream.entries.len();
        }
        let mut after = self.view();
        after.granted.clear();
        self.engine = None;
        let claim =
            Claim { model: &self.model, views: vec![before, after], faulty: self.faulty, clean: true };
        let image = self.disk.crash(CrashPlan::None);
        self.judged += 1;
        let held = judge(&shared(&image), &claim).map_err(|why| format!("after a clean end: {why}"))?;
        let seed = self.rng.next_u64();
        self.open(SimDisk::from_image(image, seed), &held)
    }

    /// The power fails now, in some way; the volume is opened again.
    pub(super) fn power_cut(&mut self) -> Verdict {
        let plans = CrashPlan::enumerate(self.disk.pending_sectors(), 24, self.rng.next_u64());
        let plan = plans[self.rng.below(plans.len())];
        self.power_cut_with(plan)
    }

    /// The power fails now in this way; the volume is opened again.
    pub(super) fn power_cut_with(&mut self, plan: CrashPlan) -> Verdict {
        let image = self.disk.crash(plan);
        let claim = Claim { model: &self.model, views: vec![self.view()], faulty: self.faulty, clean: false };
        let held = judge(&shared(&image), &claim).map_err(|why| format!("after {plan:?}: {why}"))?;
        self.judged += 1;
        self.engine = None;
        self.model = after_crash(&self.model, &held);
        let seed = self.rng.next_u64();
        self.open(SimDisk::from_image(image, seed), &held)
    }

    /// Closes cleanly and gives what stands on the disk then.
    pub(super) fn close(mut self) -> Verdict<(SimImage, Model)> {
        self.settle()?;
        self.watched_with(Engine::close, true)?.map_err(|error| error.to_string())?;
        Ok((self.disk.crash(CrashPlan::None), self.model))
    }

    /// Judges what a reader sees at this moment.
    pub(super) fn judge_now(&mut self, view: Option<View>) -> Verdict<Holdings> {
        self.judged += 1;
        let claim = Claim {
            model: &self.model,
            views: view.into_iter().collect(),
            faulty: self.faulty,
            clean: false,
        };
        judge(&shared(&self.disk.snapshot()), &claim)
    }

    /// One random thing happens.
    pub(super) fn step(&mut self) -> Verdict {
        let which = self.rng.below(4);
        match self.rng.below(200) {
            _ if self.feeds.is_empty() => self.admit("cam0"),
            0..110 => {
                let eagerness = self.feed(which)?.camera.eagerness;
                for _ in 0..self.rng.below(eagerness) + 1 {
                    self.push_any(which)?;
                }
                Ok(())
            }
            110..118 => self.anchor(which),
            118..123 => {
                self.begin_run(which)?;
                let feed = self.feed(which)?;
                if feed.configuration == ConfigurationHash::default() {
                    feed.run = None
                }
                Ok(())
            }
            123..128 => {
                let variant = self.rng.below(5) as u64;
                self.configure(which, variant)
            }
            128..134 => self.gap(which),
            134..142 => self.park(which),
            142..154 => self.work(),
            154..196 => self.round(),
            196 => self.reopen(),
            197 => self.power_cut(),
            _ => {
                let next = format!("cam{}", self.feeds.len());
                if (self.feeds.len() as u32) < self.shape.streams { self.admit(&next) } else { Ok(()) }
            }
        }
    }

    /// A lap and more: every block is overwritten; all is judged.
    pub(super) fn lap(&mut self) -> Verdict {
        let bytes = self.shape.size_bytes as usize;
        let mut pushed = 0;
        while pushed < bytes {
            for which in 0..self.feeds.len() {
                for _ in 0..self.feed(which)?.camera.eagerness {
                    let length = 200 + self.rng.below(3500);
                    self.push(which, length)?;
                    pushed += length;
                }
            }
            self.round()?;
        }
        self.settle()?;
        let view = self.view();
        self.judge_now(Some(view)).map_err(|why| format!("after a further lap: {why}"))?;
        Ok(())
    }
}

/// Opens a volume for writing.
pub(super) fn open_engine(disk: SimDisk) -> Verdict<Engine<SimDisk>> {
    let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000_000_000)));
    open_engine_at(disk, clock).map(|(engine, _)| engine)
}

fn open_engine_at(disk: SimDisk, clock: Arc<SimClock>) -> Verdict<(Engine<SimDisk>, OpenReport)> {
    let reader: Arc<dyn ReadAt> = Arc::new(disk.control().reader());
    let options = EngineOptions { chunk_bytes: 4096, path: PathBuf::from("proof") };
    Engine::open(disk, reader, clock, options).map_err(|error| format!("does not open: {error}"))
}

/// An image as readers want it.
pub(super) fn shared(image: &SimImage) -> Arc<dyn ReadAt> {
    Arc::new(image.clone())
}

/// The model of what a crash left: what is not held was never pushed, and must never be seen again.
pub(super) fn after_crash(model: &Model, held: &Holdings) -> Model {
    let mut model = model.clone();
    for (name, stream) in &mut model.streams {
        let retained = held.get(name).cloned().unwrap_or_default();
        stream.entries.truncate(retained.to);
        stream.gone = stream.gone.max(retained.from);
        stream.durable = retained.to;
        stream.durable_chunk = retained.last_chunk;
    }
    model
}

/// Judges every image that a power cut at this instant is tried to leave.
fn judge_point(
    point: &CrashPoint,
    claim: &Claim<'_>,
    cuts: &Cuts,
    shape: &Shape,
    rng: &mut SimRng,
) -> Verdict<u64> {
    let mut judged = 0;
    for plan in CrashPlan::enumerate(point.pending_sectors(), cuts.plans, rng.next_u64()) {
        let context = |why| format!("event {}, {plan:?}: {why}", point.event());
        let image = point.image(plan);
        let held = judge(&shared(&image), claim).map_err(context)?;
        judged += 1;
        if cuts.deep_one_in > 0 && rng.below(cuts.deep_one_in) == 0 {
            judged += deep(&image, &held, claim, shape, rng.next_u64()).map_err(context)?;
        }
    }
    Ok(judged)
}

/// Recovers an image, crashes recovery at its I/Os, recovers again, and writes on.
fn deep(image: &SimImage, held: &Holdings, claim: &Claim<'_>, shape: &Shape, seed: u64) -> Verdict<u64> {
    let model = after_crash(claim.model, held);
    let cuts = Cuts { one_in: 3, plans: 4, deep_one_in: 0 };
    let mut driver = Driver::on(image.clone(), *shape, model, seed, Cuts::NONE)
        .map_err(|why| format!("recovery: {why}"))?;
    let mut judged = crash_recovery(image, held, claim, cuts, &driver.view(), seed)?;
    // Nothing was written: opening once more must come to the same.
    driver.power_cut_with(CrashPlan::All).map_err(|why| format!("recovery again: {why}"))?;
    for turn in 0..30 {
        driver
            .push_any(turn)
            .or_else(|why| if claim.model.streams.is_empty() { Ok(()) } else { Err(why) })?;
    }
    driver.settle().map_err(|why| format!("after recovery: {why}"))?;
    let view = driver.view();
    driver.judge_now(Some(view)).map_err(|why| format!("after recovery, written on: {why}"))?;
    if seed.is_multiple_of(4) && !claim.model.streams.is_empty() {
        driver.lap()?;
    }
    driver.reopen().map_err(|why| format!("after recovery: {why}"))?;
    judged += driver.judged;
    Ok(judged)
}

/// Cuts the power at the I/Os of recovery itself.
fn crash_recovery(
    image: &SimImage,
    held: &Holdings,
    claim: &Claim<'_>,
    cuts: Cuts,
    after: &View,
    seed: u64,
) -> Verdict<u64> {
    let disk = SimDisk::from_image(image.clone(), seed);
    let points: Arc<Mutex<Vec<CrashPoint>>> = Arc::default();
    let (kept, mut rng) = (Arc::clone(&points), SimRng::new(seed));
    disk.on_event(move |point| {
        if rng.below(cuts.one_in) == 0 {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(point.clone());
        }
    });
    open_engine(disk).map(drop)?;
    let model = after_crash(claim.model, held);
    let mut rng = SimRng::new(!seed);
    let mut judged = 0;
    for point in std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner)) {
        for plan in CrashPlan::enumerate(point.pending_sectors(), cuts.plans, rng.next_u64()) {
            let mut views = claim.views.clone();
            views.push(after.clone());
            let claim = Claim { model: &model, views, faulty: claim.faulty, clean: false };
            judge(&shared(&point.image(plan)), &claim)
                .map_err(|why| format!("recovery cut at event {}, {plan:?}: {why}", point.event()))?;
            judged += 1;
        }
    }
    Ok(judged)
}
