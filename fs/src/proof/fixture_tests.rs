//! Volumes of this and earlier versions, kept as files: every later version must read them to the last byte and write on.
//!
//! `tests/fixtures` has each with a list of what it holds. They are made by the recipes here, which depend on nothing but
//! their seeds; after a change of the format's version: `KEHA_WRITE_FIXTURES=1 cargo test -p keha-fs fixture` writes those
//! of the new one. What is kept is frozen: a file that is there is never written again.

use super::driver::{Cuts, Driver, open_engine_at, shared};
use super::material::{BEGIN, Pushed, Run, Shape, VIDEO, camera, configuration, is_payload};
use super::truth::known_samples;
use super::{Verdict, demand};
use crate::clock::SimClock;
use crate::copy::run_digest;
use crate::disk::sim::{CrashPlan, SimDisk, SimImage};
use crate::format::hold::{HoldSlot, SLOT_HELD};
use crate::format::{FORMAT_VERSION, Framed};
use crate::reader::Volume;
use crate::recover::recover;
use crate::report::{Item, TimeRange};
use crate::retention::Retention;
use crate::sample::SampleFlags;
use crate::session::SessionEnd;
use crate::types::{HoldId, RunId, StreamId, StreamName, Uuid, WallTime};
use crate::writer::{Input, StoredConfiguration};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const TEN_YEARS_S: u64 = 10 * 365 * 86_400;

/// A volume in a file, and how it is made.
struct Recipe {
    name: &'static str,
    make: fn() -> Verdict<SimImage>,
}

const RECIPES: [Recipe; 4] = [
    Recipe { name: "closed", make: closed },
    Recipe { name: "crashed", make: crashed },
    Recipe { name: "large-pages", make: large_pages },
    Recipe { name: "grown", make: grown },
];

/// Two cameras over more than a lap, with everything that a stream may have, and a hold.
fn recorded(shape: Shape, seed: u64) -> Verdict<Driver> {
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    driver.clock.advance(Duration::from_secs(5 * 3600));
    driver.lap()?;
    for turn in 0..40 {
        driver.push_any(turn)?;
        match turn % 16 {
            3 => driver.push(0, 9_000)?,
            5 => driver.push(0, 20_000)?,
            7 => driver.gap(0)?,
            9 => driver.configure(0, turn as u64 % 5)?,
            11 => driver.begin_run(1)?,
            13 => driver.park(1)?,
            _ => {}
        }
        driver.round()?;
        match turn {
            10 => driver.retain("cam0", Retention { maximum_age_s: TEN_YEARS_S, ..Retention::default() })?,
            12 => driver
                .retain("cam1", Retention { quota_bytes: 9 << 20, minimum_age_s: 60, maximum_age_s: 0 })?,
            15 => {
                let (from, to) = super::hold_tests::oldest(&driver, "cam1", 6)?;
                driver.hold("cam1", from, to, None)?.ok_or("there is room for a hold")?;
            }
            20 => driver.reopen()?,
            30 => driver.power_cut_with(CrashPlan::None)?,
            37 => {
                let walls = driver.model.streams.get("cam0").ok_or("no stream")?.durable_walls();
                let [.., from, _, to, _, _] = walls[..] else {
                    return Err("too little is recorded".to_owned());
                };
                demand!(driver.erase("cam0", from, to)?, "nothing was erased");
            }
            _ => {}
        }
    }
    Ok(driver)
}

fn closed() -> Verdict<SimImage> {
    Ok(recorded(Shape { size_bytes: 512 << 10, ..Shape::SMALL }, 9001)?.close()?.0)
}

fn crashed() -> Verdict<SimImage> {
    let mut driver = recorded(Shape { size_bytes: 512 << 10, ..Shape::SMALL }, 9002)?;
    for _ in 0..6 {
        driver.push_any(0)?;
        driver.push_any(1)?;
        driver.work()?;
    }
    Ok(driver.disk.crash(CrashPlan::All))
}

fn large_pages() -> Verdict<SimImage> {
    let shape = Shape {
        size_bytes: 960 << 10,
        page_bytes: 4096,
        block_bytes: 32 << 10,
        streams: 2,
        alignment_bytes: 4096,
        grown_bytes: [0; 2],
    };
    Ok(recorded(shape, 9003)?.close()?.0)
}

/// Recorded over a lap, grown twice, and recorded on after each time.
fn grown() -> Verdict<SimImage> {
    let shape = Shape { size_bytes: 448 << 10, ..Shape::SMALL };
    let (mut image, mut model) = recorded(shape, 9004)?.close()?;
    for grown_bytes in [[528 << 10, 0], [528 << 10, 720 << 10]] {
        let shape = Shape { grown_bytes, ..shape };
        image = super::grow_tests::grown(&image, shape.whole_bytes(), 0)?;
        let mut driver = Driver::on(image, shape, model, 9005, Cuts::NONE)?;
        for turn in 0..30 {
            driver.push_any(turn)?;
            driver.push(0, 4_000)?;
            driver.round()?;
        }
        (image, model) = driver.close()?;
    }
    Ok(image)
}

/// Makes a volume. What is random in it by design is given fixed values.
fn made(recipe: &Recipe) -> Verdict<SimImage> {
    let mut image = (recipe.make)()?;
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let (geometry, volume) = (&state.geometry, state.volume());
    for at in geometry.holds_at() {
        for index in 0..geometry.holds_max {
            let at = at + u64::from(index) * HoldSlot::SIZE as u64;
            let mut bytes = [0; HoldSlot::SIZE];
            shared(&image).read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
            if let Some(slot) = HoldSlot::read(&bytes, volume, index).filter(|slot| slot.state == SLOT_HELD) {
                let id = HoldId(Uuid::from_u128(0x68_6f6c_6400 + u128::from(index)));
                HoldSlot { id, ..slot }.seal(&mut bytes);
                image.write(at, &bytes);
            }
        }
    }
    Ok(image)
}

/// What a volume holds, as text: to the last sample, and what is known about it.
fn listing(volume: &Volume) -> Verdict<String> {
    let info = volume.info();
    let mut lines =
        vec![format!("volume {} {} of {} blocks of {}", info.id, info.label, info.blocks, info.block_bytes)];
    for stream in volume.streams() {
        let (id, samples, bytes) = (stream.id, stream.samples, stream.payload_bytes);
        lines.push(format!("stream {} {id}: {samples} samples, {bytes} bytes", stream.name));
        let Retention { quota_bytes, minimum_age_s, maximum_age_s } = stream.retention;
        lines
            .push(format!("  quota {quota_bytes}, minimum age {minimum_age_s}, maximum age {maximum_age_s}"));
        stream_lines(volume, id, &mut lines)?;
    }
    for hold in volume.holds() {
        let (from, to) = (moment(hold.range.from), moment(hold.range.to));
        let blocks = volume.held_blocks(&hold).len();
        lines.push(format!("hold {} of {} from {from} to {to}: {blocks} blocks", hold.id, hold.stream));
    }
    lines.extend(volume.sessions().sessions.iter().map(|session| {
        let end = match session.end {
            SessionEnd::Closed { at, .. } => format!("closed at {}", at.0),
            SessionEnd::Crashed { last_round_at } => format!("crashed after {}", moment(last_round_at)),
            SessionEnd::Open => "open".to_owned(),
        };
        let follows = session.follows == Some(true);
        format!("session {} from {}: {end}, follows: {follows}", session.epoch, session.began.0)
    }));
    let scrubbed = volume.scrub();
    lines.push(format!(
        "scrubbed {:?} {:?}",
        scrubbed.pass.map(|pass| pass.number),
        scrubbed.last.map(|pass| pass.number)
    ));
    Ok(lines.join("\n") + "\n")
}

fn stream_lines(volume: &Volume, stream: StreamId, lines: &mut Vec<String>) -> Verdict {
    let mut runs = BTreeSet::new();
    let mut cursor = volume.read(stream, TimeRange::default()).map_err(|error| error.to_string())?;
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        match item {
            Item::Run(run) => {
                runs.insert(run);
                lines.push(format!("  run {run}"));
            }
            Item::Configuration(hash, _) => lines.push(format!("  configuration {}", hex(&hash.0))),
            Item::Gap(gap) => {
                let (from, to) = (gap.from.0, moment(gap.to));
                lines.push(format!("  gap {} from {from} to {to}", gap.reason.as_str()));
            }
            Item::Erased(span) => {
                let gap = span.gap();
                lines.push(format!("  erased from {} to {}", gap.from.0, moment(gap.to)));
            }
            Item::Damage(finding) => return Err(format!("damage: {finding:?}")),
            _ => {}
        }
    }
    let (samples, digest) = run_digest(volume, stream, &runs).map_err(|error| error.to_string())?;
    lines.push(format!("  read {samples} samples, BLAKE3 {}", hex(&digest)));
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn moment(at: Option<WallTime>) -> String {
    at.map_or_else(|| "none".to_owned(), |at| at.0.to_string())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn path(version: u16, name: &str, extension: &str) -> PathBuf {
    folder().join(format!("volume-v{version}-{name}.{extension}"))
}

/// Reads a volume from its file, holds it against its list, and writes on.
fn opens_for_good(version: u16, name: &str) -> Verdict {
    let bytes = fs::read(path(version, name, "ring")).map_err(|error| error.to_string())?;
    let expected = fs::read_to_string(path(version, name, "txt")).map_err(|error| error.to_string())?;
    let image = SimImage::from(bytes);
    let open = |image: &SimImage| {
        Volume::from_disk(shared(image), Path::new(name)).map_err(|error| error.to_string())
    };
    let volume = open(&image)?;
    demand!(volume.info().format_version == version, "it is of version {}", volume.info().format_version);
    let found = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?.findings;
    demand!(found.is_empty(), "check finds {found:?}");
    let listed = listing(&volume)?;
    demand!(listed == expected, "it holds\n{listed}\nnot\n{expected}");
    // Opened for writing and closed again it is the same.
    let opened = written_on(&image, 0..0)?;
    let streams = |volume: &Volume| -> Vec<_> {
        volume.streams().into_iter().map(|stream| (stream.id, stream.samples)).collect()
    };
    demand!(streams(&open(&opened)?) == streams(&volume), "opening it for writing cost samples");
    // Written on twice, each time by another writer.
    let once = written_on(&opened, NEW..NEW + 40)?;
    let twice = written_on(&once, NEW + 40..NEW + 80)?;
    goes_on(&volume, &open(&once)?, NEW..NEW + 40).map_err(|why| format!("written on: {why}"))?;
    goes_on(&volume, &open(&twice)?, NEW..NEW + 80).map_err(|why| format!("written on twice: {why}"))
}

/// Samples of which no recipe makes any.
const NEW: u64 = 1 << 32;

/// Opens a volume for writing, has each of its streams, and one more if there is room, record these samples in turn, and closes it.
fn written_on(image: &SimImage, numbers: Range<u64>) -> Verdict<SimImage> {
    let disk = SimDisk::from_image(image.clone(), 1);
    let control = disk.control();
    let clock = Arc::new(SimClock::new(BEGIN));
    let (mut engine, _) = open_engine_at(disk, Arc::clone(&clock))?;
    // What stands there is past its minimum age.
    clock.advance(Duration::from_secs(3600));
    let camera = camera(0);
    let configuration = configuration(&camera, 6);
    let (bytes, hash) = configuration.stored();
    let stored = Arc::new(StoredConfiguration { bytes, hash, video: vec![VIDEO] });
    let run = Run { id: RunId(Uuid::from_u64_pair(numbers.start, 1)), offset_ns: 0 };
    let mut streams = Vec::new();
    for name in ["cam0", "cam1", "later"] {
        let admitted = engine.admit(&StreamName::new(name).map_err(|error| error.to_string())?);
        demand!(admitted.is_ok() || name == "later", "{name} cannot be recorded: {admitted:?}");
        streams.extend(admitted.ok().filter(|_| !numbers.is_empty()));
    }
    for stream in &streams {
        engine.accept(*stream, Input::Configure(Arc::clone(&stored)));
        engine.accept(*stream, Input::Run(run.id));
        engine.accept(*stream, Input::Anchor(run.anchor(VIDEO, numbers.start as i64)));
    }
    for (number, stream) in numbers.clone().zip(streams.iter().cycle()) {
        let flags = if number % 5 == 0 { SampleFlags::default() } else { SampleFlags::SYNC };
        let length = if number % 16 == 7 { 12_000 } else { 600 };
        let pushed = Pushed {
            number,
            track: VIDEO,
            flags,
            length,
            run,
            configuration: hash,
            anchored: numbers.start as i64,
        };
        engine.accept(*stream, Input::Sample(pushed.sample()));
        if number % 8 == 0 {
            clock.advance(Duration::from_secs(1));
            engine.round();
        }
    }
    engine.round();
    engine.close().map_err(|error| error.to_string())?;
    Ok(control.crash(CrashPlan::None))
}

/// A volume that was written on has all the new samples, and of the old ones all but those in blocks that were taken for them.
fn goes_on(old: &Volume, new: &Volume, numbers: Range<u64>) -> Verdict {
    let found = new.check(&mut |_, _| ()).map_err(|error| error.to_string())?.findings;
    demand!(found.is_empty(), "check finds {found:?}");
    let (mut samples, mut fresh) = (BTreeMap::new(), BTreeSet::new());
    for stream in new.streams() {
        let mut cursor = new.read(stream.id, TimeRange::default()).map_err(|error| error.to_string())?;
        while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
            let Item::Sample(sample) = item else { continue };
            demand!(is_payload(sample.ticks as u64, &sample.data), "sample {} has other bytes", sample.ticks);
            if numbers.contains(&(sample.ticks as u64)) {
                demand!(fresh.insert(sample.ticks as u64), "sample {} is there twice", sample.ticks);
            }
            samples.insert((stream.id, sample.ticks), sample);
        }
    }
    demand!(fresh.iter().copied().eq(numbers), "of the new samples there are {fresh:?}");
    for stream in old.streams() {
        let known = known_samples(old, stream.id)?;
        let mut cursor = old.read(stream.id, TimeRange::default()).map_err(|error| error.to_string())?;
        while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
            let Item::Sample(sample) = item else { continue };
            let place = known.get(&sample.ticks).ok_or("a sample that nobody knows")?;
            let taken = old.state().row(place.block).sequence != new.state().row(place.block).sequence;
            let now = samples.get(&(stream.id, sample.ticks));
            demand!(
                now.is_none_or(|now| *now == sample),
                "sample {} is {now:?}, not {sample:?}",
                sample.ticks
            );
            let may_go = taken || !place.by_block_alone;
            demand!(now.is_some() || may_go, "sample {} of {} is gone", sample.ticks, stream.name);
        }
    }
    Ok(())
}

#[test]
fn fixtures_of_every_version_are_read_and_written_on() {
    if std::env::var_os("KEHA_WRITE_FIXTURES").is_some() {
        // They are being written beside this test.
        return;
    }
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder()).expect("the fixtures are there") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        if let Some((version, rest)) = name.strip_prefix("volume-v").and_then(|name| name.split_once('-')) {
            let recipe = rest.split('.').next().unwrap_or_default().to_owned();
            names.insert((version.parse::<u16>().expect("a version"), recipe));
        }
    }
    for recipe in &RECIPES {
        assert!(names.contains(&(FORMAT_VERSION, recipe.name.to_owned())), "{} is not kept", recipe.name);
    }
    for (version, name) in names {
        opens_for_good(version, &name).unwrap_or_else(|why| panic!("version {version}, {name}: {why}"));
    }
}

/// Keeps a file, unless one is kept there already: what was once released with a version never changes.
fn write_new(path: &Path, bytes: &[u8]) {
    let mut file = fs::File::create_new(path)
        .unwrap_or_else(|error| panic!("{} is frozen if it is there: {error}", path.display()));
    file.write_all(bytes).expect("it is written");
}

#[test]
fn what_is_kept_is_never_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("volume-v1-kept.ring");
    write_new(&path, b"first");
    let again = std::panic::catch_unwind(|| write_new(&path, b"second"));
    assert!(again.is_err());
    assert_eq!(fs::read(&path).expect("it stands"), b"first");
}

#[test]
fn fixture_recipes_give_the_same_bytes_each_time() {
    for recipe in &RECIPES {
        let image = made(recipe).unwrap_or_else(|why| panic!("{}: {why}", recipe.name));
        assert!(made(recipe).is_ok_and(|again| again == image), "{}: it is another each time", recipe.name);
        if std::env::var_os("KEHA_WRITE_FIXTURES").is_some() {
            let volume = Volume::from_disk(shared(&image), Path::new(recipe.name)).expect("it opens");
            let listed = listing(&volume).unwrap_or_else(|why| panic!("{}: {why}", recipe.name));
            fs::create_dir_all(folder()).expect("the folder");
            write_new(&path(FORMAT_VERSION, recipe.name, "ring"), &image.to_vec());
            write_new(&path(FORMAT_VERSION, recipe.name, "txt"), listed.as_bytes());
        }
    }
}
