//! `keha demo`: four built-in cameras into a volume of its own, with nothing to configure. Started again it goes on.

use super::record::{self, session};
use super::volume::create;
use crate::config::cameras::Entry;
use crate::failure::{Exit, Failure};
use crate::opener::opener;
use crate::output::Output;
use crate::units::{duration, scrub, size};
use anyhow::Context;
use keha_fs::CreateOptions;
use nix::sys::statvfs::statvfs;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the demo leaves free on the disk.
const RESERVE_BYTES: u64 = 256 << 20;

/// The cameras: pictures, rates and GOPs of all sorts share one volume.
const CAMERAS: [(&str, &str); 4] = [
    ("gate", "testsrc://?size=1280x720&fps=25&gop=25&audio=1"),
    ("hall", "testsrc://?size=640x360&fps=15&gop=30"),
    ("yard", "testsrc://?size=640x360&fps=10&gop=20&audio=1"),
    ("dock", "testsrc://?size=320x240&fps=5&gop=25"),
];

/// Arguments of `keha demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the volume demo.ring lies
    #[arg(long, value_name = "DIRECTORY", default_value = "keha-data")]
    dir: PathBuf,
    /// Its size, if it is created
    #[arg(long, default_value = "1GiB", value_parser = size::parse)]
    size: u64,
    /// Stop after this time, such as 30s
    #[arg(long, value_name = "D", value_parser = duration::parse_positive)]
    duration: Option<Duration>,
    /// Print a JSON document a line, as keha record does
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let volume = args.dir.join("demo.ring");
    let entries = CAMERAS.map(|(name, url)| Entry::new(name, url));
    let cameras = record::build(&entries)?;
    if volume.exists() {
        output.say(&format!("{}: goes on where it stopped", volume.display()));
    } else {
        create_volume(&args.dir, &volume, args.size, output)?;
    }
    output.say(&introduction(&volume));
    let retention = Default::default();
    let (duration, json, scrub) = (args.duration, args.json, scrub::Every::default().0);
    let job = session::Job { volume, cameras, duration, json, scrub, retention };
    session::record(&job, output)
}

fn create_volume(dir: &Path, volume: &Path, size_bytes: u64, output: Output) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("{}: cannot create the directory", dir.display()))?;
    let disk = statvfs(dir).with_context(|| format!("{}: cannot ask for free space", dir.display()))?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < size_bytes.saturating_add(RESERVE_BYTES) {
        return Err(Failure::failed(format!(
            "{}: the demo needs {} and leaves {} free, but only {} are; use --size, or --dir on another disk",
            dir.display(),
            size::show(size_bytes),
            size::show(RESERVE_BYTES),
            size::show(free),
        )));
    }
    let options = CreateOptions {
        size_bytes,
        label: "demo".into(),
        opener: opener("create"),
        ..CreateOptions::default()
    };
    create::create(volume, &options, output)?;
    output.say(&format!(
        "{}: created, {}; the oldest footage is overwritten when it is full",
        volume.display(),
        size::show(size_bytes)
    ));
    Ok(())
}

/// What the demo does and what to do with it.
fn introduction(volume: &Path) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "keha".into());
    let (program, volume) = (program.display(), volume.display());
    let names: Vec<&str> = CAMERAS.iter().map(|(name, _)| *name).collect();
    format!(
        "recording four built-in cameras: {}\n\
         the last 30 seconds of one, from another terminal, now or later:\n  \
         {program} export {volume} --stream gate --from -30s -o gate.mkv\n\
         all four on one clock, and what the ring looks like:\n  \
         {program} export {volume} --stream gate --stream hall --stream yard --stream dock --from -30s -o all.mkv\n  \
         {program} volume blocks {volume}\n\
         stop with Ctrl-C; started again it goes on",
        names.join(", ")
    )
}
