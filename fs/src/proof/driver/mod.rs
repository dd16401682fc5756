//! A recorder without threads: work on a simulated disk, with the model kept beside it, and every instant at which a power cut
//! is to be tried handed to the oracle. What it can be told to do is in [`deeds`], power cuts are in [`power`].

mod deeds;
mod power;

pub(super) use power::after_crash;

use super::material::{Camera, Run, Shape, camera, empty_volume};
use super::oracle::{Claim, Entry, Holdings, Model, judge};
use super::order::Order;
use super::sessions::{self, SessionModel};
use super::{Verdict, demand, presence};
use crate::clock::{Clock, ClockSync, SimClock};
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, CrashPoint, Errno, Kinds, SimControl, SimDisk, SimImage, SimRng};
use crate::recover::recover;
use crate::report::{Health, OpenReport};
use crate::session::Opener;
use crate::types::{
    BlockIndex, ChunkNumber, ConfigurationHash, Sequence, StreamId, StreamName, Uuid, VolumeId, WallTime,
};
use crate::writer::engine::{Engine, EngineOptions};
use crate::writer::inspect::View;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// In which time the scrub goes over the volume once, where it is asked to.
pub(in crate::proof) const SCRUB_EVERY: Duration = Duration::from_secs(10);

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
    /// For which ticks its clock anchors were given last.
    anchored: i64,
}

/// Which instants are tried, and how hard.
#[derive(Clone, Copy, Debug)]
pub(in crate::proof) struct Cuts {
    /// One of so many I/O events; 0 = none.
    pub(in crate::proof) one_in: usize,
    /// Crash plans for each.
    pub(in crate::proof) plans: usize,
    /// One of so many images is also recovered, written to and crashed in recovery; 0 = none.
    pub(in crate::proof) deep_one_in: usize,
}

impl Cuts {
    pub(in crate::proof) const NONE: Cuts = Cuts { one_in: 0, plans: 0, deep_one_in: 0 };
}

/// The recorder.
pub(in crate::proof) struct Driver {
    pub(in crate::proof) shape: Shape,
    pub(in crate::proof) rng: SimRng,
    pub(in crate::proof) disk: SimControl,
    pub(in crate::proof) model: Model,
    pub(in crate::proof) cuts: Cuts,
    pub(in crate::proof) faulty: bool,
    /// Whether cameras say the recorder's time when a run begins, or (as in most trials) hours more or less.
    pub(in crate::proof) on_time: bool,
    /// Images judged so far.
    pub(in crate::proof) judged: u64,
    pub(in crate::proof) clock: Arc<SimClock>,
    engine: Option<Engine<SimDisk>>,
    feeds: Vec<Feed>,
    numbers: u64,
    points: Arc<Mutex<Vec<CrashPoint>>>,
    pub(in crate::proof) order: Order,
    /// Where the disk refuses writes, also after the volume was opened again.
    refused: Vec<Range<u64>>,
    /// Blocks, by take, that were set aside and given back while the disk failed: a record on it still sets them aside.
    set_aside: BTreeSet<(BlockIndex, Sequence)>,
}

impl Driver {
    /// An empty volume, opened.
    pub(in crate::proof) fn new(shape: Shape, seed: u64, cuts: Cuts) -> Verdict<Driver> {
        let image = empty_volume(&shape, seed);
        Driver::on(image, shape, Model::default(), seed, cuts)
    }

    /// A volume with what the model says.
    pub(in crate::proof) fn on(
        image: SimImage,
        shape: Shape,
        model: Model,
        seed: u64,
        cuts: Cuts,
    ) -> Verdict<Driver> {
        let mut driver = Driver::beside(image, shape, model, seed, cuts);
        driver.open_now()?;
        Ok(driver)
    }

    /// [`Driver::faulty_on`] a disk that refuses writes in places.
    pub(in crate::proof) fn refusing_on(
        image: SimImage,
        shape: Shape,
        model: Model,
        seed: u64,
        places: &[Range<u64>],
    ) -> Verdict<Driver> {
        let mut driver = Driver::beside(image, shape, model, seed, Cuts::NONE);
        driver.faulty = true;
        driver.refused = places.to_vec();
        driver.open_now()?;
        Ok(driver)
    }

    /// [`Driver::on`], where faults may have left copies damaged and blocks withdrawn.
    pub(in crate::proof) fn faulty_on(
        image: SimImage,
        shape: Shape,
        model: Model,
        seed: u64,
    ) -> Verdict<Driver> {
        let mut driver = Driver::beside(image, shape, model, seed, Cuts::NONE);
        driver.faulty = true;
        driver.open_now()?;
        Ok(driver)
    }

    fn beside(image: SimImage, shape: Shape, model: Model, seed: u64, cuts: Cuts) -> Driver {
        let disk = SimDisk::from_image(image, seed);
        let clock = SimClock::new(WallTime(1_700_000_000_000_000_000));
        clock.set_sync(if seed.is_multiple_of(2) { ClockSync::Unknown } else { ClockSync::FreeRunning });
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
            on_time: false,
            judged: 0,
            clock: Arc::new(clock),
            engine: None,
            feeds: Vec::new(),
            // Numbers of what a crash discarded are not given again.
            numbers: numbers + (seed % 1000) * 1000,
            points: Arc::default(),
            order: Order::default(),
            refused: Vec::new(),
            set_aside: BTreeSet::new(),
        }
    }

    fn open_now(&mut self) -> Verdict {
        let (image, seed) = (self.disk.snapshot(), self.rng.next_u64());
        let before = self.judge_now(None)?;
        self.open(SimDisk::from_image(image, seed), &before, Vec::new())
    }

    /// Opens a disk that holds `before`; `views` are those of the writers until now. Power cuts strike here, too.
    fn open(&mut self, disk: SimDisk, before: &Holdings, views: Vec<View>) -> Verdict {
        self.disk = disk.control();
        self.disk.set_alignment(self.shape.alignment_bytes);
        self.refuse();
        self.model.opened();
        let path = Path::new("proof");
        let state = recover(&self.disk.snapshot(), path).map_err(|error| error.to_string())?;
        let found = View { epoch: self.model.epoch, ..presence::found(&state) };
        self.arm();
        self.disk.take_written();
        let before_opening = self.clock.monotonic();
        let opener = sessions::opener(self.model.epoch);
        let opened = open_engine_as(disk, Arc::clone(&self.clock), opener.clone());
        self.disk.off_event();
        let (engine, report) = opened?;
        let harmless = report.findings.iter().all(|finding| self.faulty && !finding.footage_lost);
        demand!(harmless, "opening finds {:?}", report.findings);
        demand!(
            report.epoch > self.model.epoch,
            "epoch {} comes after epoch {}",
            report.epoch,
            self.model.epoch
        );
        let view = engine.view();
        self.order.opened(&view);
        let passed = self.clock.monotonic().saturating_sub(before_opening).as_secs();
        let ran = view.running_s.saturating_sub(state.running_seconds);
        demand!(ran <= passed, "opening took {passed} s and counts as {ran} s of running");
        if !self.faulty {
            presence::unchanged(&found, &view)?;
            presence::unwritten(&self.disk.take_written(), &found, &view, &self.shape.geometry())?;
        }
        // What the image holds was judged by what writers knew, and is `found`: they may have known of more at other moments.
        let known = views.into_iter().map(|view| View { live: Vec::new(), ..view });
        let views: Vec<View> = known.chain([found, view]).collect();
        self.judge_points(views.clone()).map_err(|why| format!("opening cut short: {why}"))?;
        self.model.epoch = report.epoch;
        let (began, clock) = (self.clock.wall(), self.clock.sync());
        let session = SessionModel { began, clock, opener, closed: None };
        self.model.sessions.insert(report.epoch, session);
        self.engine = Some(engine);
        self.settings_found()?;
        self.feeds.iter_mut().for_each(|feed| feed.run = None);
        let names: Vec<String> = self.feeds.iter().map(|feed| feed.name.clone()).collect();
        self.feeds.clear();
        for name in self.model.streams.keys().cloned().chain(names).collect::<Vec<_>>() {
            self.admit(&name)?;
        }
        let after = self.judge_with([views, vec![self.view()]].concat())?;
        for (name, held) in before {
            let now = after.get(name).cloned().unwrap_or_default();
            let same =
                now.to == held.to && held.missing.iter().all(|at| *at < now.from || now.missing.contains(at));
            demand!(same, "{name} held {held:?} before opening, {now:?} after");
        }
        Ok(())
    }

    /// From now on the disk refuses writes here, and nothing else fails any more.
    pub(in crate::proof) fn refuse_writes(&mut self, places: &[Range<u64>]) {
        self.refused = places.to_vec();
        self.disk.clear_faults();
        self.refuse();
    }

    fn refuse(&self) {
        for place in &self.refused {
            self.disk.fail_range(place.clone(), Errno::EIO, Kinds::WRITES);
        }
    }

    pub(in crate::proof) fn engine(&mut self) -> Verdict<&mut Engine<SimDisk>> {
        self.engine.as_mut().ok_or_else(|| "the volume is closed".to_owned())
    }

    pub(in crate::proof) fn view(&self) -> View {
        self.engine.as_ref().map(Engine::view).unwrap_or_default()
    }

    /// Admits a stream (again).
    pub(in crate::proof) fn admit(&mut self, name: &str) -> Verdict {
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
            anchored: 0,
        });
        Ok(())
    }

    /// Calls the engine and then judges the instants that were chosen meanwhile.
    pub(in crate::proof) fn watched<T>(
        &mut self,
        call: impl FnOnce(&mut Engine<SimDisk>) -> T,
    ) -> Verdict<T> {
        self.watched_with(call, false)
    }

    /// [`Driver::watched`]; in closing, more of the oldest blocks are set aside and given back again.
    pub(in crate::proof) fn watched_with<T>(
        &mut self,
        call: impl FnOnce(&mut Engine<SimDisk>) -> T,
        closing: bool,
    ) -> Verdict<T> {
        let before = self.view();
        self.arm();
        self.disk.take_written();
        let result = call(self.engine()?);
        self.disk.off_event();
        let mut after = self.view();
        presence::untouched(&self.disk.take_written(), &before, &after, &self.shape.geometry(), &self.model)?;
        self.order.follow(&before, &after, self.faulty, closing)?;
        let mut oldest: Vec<_> = before.ranks.iter().map(|(block, rank)| (*rank, *block)).collect();
        oldest.sort_unstable();
        let mut between = before.clone();
        between.granted.extend(self.set_aside.iter().map(|(block, _)| *block));
        if closing {
            let taken = before.takes.iter().filter(|(block, take)| after.takes.get(block) != Some(take));
            let set_aside = taken.count() + before.granted.len() + before.active + 2;
            // On a very small ring closing comes round to the block that was open when it began.
            let open =
                before.live.iter().map(|live| live.block).filter(|block| !before.ranks.contains_key(block));
            let in_turn = oldest.iter().map(|(_, block)| *block).chain(open);
            between.granted.extend(in_turn.take(set_aside));
            // Limits may choose any stream, but of each the oldest.
            for stream in before.limits.keys().chain(before.owners.values()).collect::<BTreeSet<_>>() {
                let mine = |block: &BlockIndex| before.owners.get(block) == Some(stream);
                let of_stream = oldest.iter().map(|(_, block)| *block).filter(mine);
                let limited = !before.limits.is_empty();
                between.granted.extend(of_stream.take(if limited { set_aside } else { 0 }));
            }
            let given_back =
                between.granted.difference(&after.granted).map(|block| (*block, after.takes.get(block)));
            let given_back = given_back.filter(|(block, take)| before.takes.get(block) == *take);
            self.model.spared.extend(given_back.filter_map(|(block, take)| Some((block, *take?))));
        }
        // What is being overwritten in place is passed over by the ring.
        let reserved = before.reserved.union(&after.reserved);
        let takes = reserved.filter_map(|block| Some((*block, *before.takes.get(block)?)));
        self.model.spared.extend(takes);
        self.note_given_back(&before, &mut after);
        self.judge_points(vec![before, between, after])?;
        Ok(result)
    }

    /// As long as no round is flushed, what was set aside still is, to a reader.
    fn note_given_back(&mut self, before: &View, after: &mut View) {
        let granted = before.granted.iter().filter_map(|block| Some((*block, *before.takes.get(block)?)));
        self.set_aside.extend(granted);
        let same = |(block, take): &(BlockIndex, Sequence)| after.takes.get(block) == Some(take);
        self.set_aside.retain(|one| after.failing && same(one));
        after.granted.extend(self.set_aside.iter().map(|(block, _)| *block));
    }

    /// What is full goes out.
    pub(in crate::proof) fn work(&mut self) -> Verdict {
        self.watched(Engine::work)
    }

    /// A flush round.
    pub(in crate::proof) fn round(&mut self) -> Verdict {
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
    pub(in crate::proof) fn settle(&mut self) -> Verdict {
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
    pub(in crate::proof) fn reopen(&mut self) -> Verdict {
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
        if let Some(session) = self.model.sessions.get_mut(&self.model.epoch) {
            session.closed = Some((self.clock.wall(), self.clock.sync()));
        }
        let mut after = self.view();
        after.granted.clear();
        self.engine = None;
        let views = vec![before, after];
        let claim = Claim { model: &self.model, views: views.clone(), faulty: self.faulty, clean: true };
        let image = self.disk.crash(CrashPlan::None);
        self.judged += 1;
        let held = judge(&shared(&image), &claim).map_err(|why| format!("after a clean end: {why}"))?;
        // Where the ring went over all that a stream had, its chunks are numbered from the beginning again.
        for (name, stream) in &mut self.model.streams {
            if held.get(name).is_none_or(|retained| retained.last_chunk == ChunkNumber::default()) {
                stream.durable_chunk = ChunkNumber::default();
            }
        }
        let seed = self.rng.next_u64();
        self.open(SimDisk::from_image(image, seed), &held, views)
    }

    /// Closes cleanly and gives what stands on the disk then.
    pub(in crate::proof) fn close(mut self) -> Verdict<(SimImage, Model)> {
        self.settle()?;
        self.watched_with(Engine::close, true)?.map_err(|error| error.to_string())?;
        Ok((self.disk.crash(CrashPlan::None), self.model))
    }

    /// Judges what a reader sees at this moment.
    pub(in crate::proof) fn judge_now(&mut self, view: Option<View>) -> Verdict<Holdings> {
        self.judge_with(view.into_iter().collect())
    }

    fn judge_with(&mut self, views: Vec<View>) -> Verdict<Holdings> {
        self.judged += 1;
        let claim = Claim { model: &self.model, views, faulty: self.faulty, clean: false };
        judge(&shared(&self.disk.snapshot()), &claim)
    }
}

/// Opens a volume for writing.
pub(in crate::proof) fn open_engine(disk: SimDisk) -> Verdict<Engine<SimDisk>> {
    let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000_000_000)));
    open_engine_at(disk, clock).map(|(engine, _)| engine)
}

/// [`open_engine`] at this time.
pub(in crate::proof) fn open_engine_at(
    disk: SimDisk,
    clock: Arc<SimClock>,
) -> Verdict<(Engine<SimDisk>, OpenReport)> {
    open_engine_as(disk, clock, Opener { purpose: "proof".to_owned(), ..Opener::default() })
}

fn open_engine_as(
    disk: SimDisk,
    clock: Arc<SimClock>,
    opener: Opener,
) -> Verdict<(Engine<SimDisk>, OpenReport)> {
    let reader: Arc<dyn ReadAt> = Arc::new(disk.control().reader());
    let path = PathBuf::from("proof");
    let options =
        EngineOptions { chunk_bytes: 4096, path, scrub: Some(SCRUB_EVERY), pause: |_| (), stream_id, opener };
    Engine::open(disk, reader, clock, options).map_err(|error| format!("does not open: {error}"))
}

/// The same for the same volume and name, in any order of names.
fn stream_id(volume: VolumeId, name: &StreamName) -> StreamId {
    let (seed, _) = volume.0.as_u64_pair();
    let place = name.as_str().bytes().fold(seed, |sum, byte| SimRng::new(sum ^ u64::from(byte)).next_u64());
    StreamId(Uuid::from_u64_pair(place, seed))
}

/// An image as readers want it.
pub(in crate::proof) fn shared(image: &SimImage) -> Arc<dyn ReadAt> {
    Arc::new(image.clone())
}
