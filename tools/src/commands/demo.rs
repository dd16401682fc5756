//! `keha demo`: the server with four built-in cameras and a volume of its own, with nothing to configure. Started again it
//! goes on.

use super::record;
use super::volume::create;
use crate::config::cameras::Entry;
use crate::config::server::{self, CameraEntry, Config, Server, VolumeEntry};
use crate::failure::{Exit, Failure};
use crate::opener::opener;
use crate::output::Output;
use crate::recording::view::View;
use crate::room;
use crate::serve::{self, Job};
use crate::units::{duration, io, scrub, size};
use anyhow::Context;
use keha_fs::CreateOptions;
use keha_player::library::CHUNKS_BYTES;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// So many ports after the usual one are tried, where that is taken.
const OTHER_PORTS: u16 = 100;

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
    /// Where the volume demo.ring and the state of the server lie
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
    let config = config(&args.dir, &volume)?;
    if volume.exists() {
        output.say(&format!("{}: goes on where it stopped", volume.display()));
    } else {
        create_volume(&args.dir, &volume, args.size, output)?;
    }
    output.say(&introduction(&volume));
    let job = Job {
        read: Box::new(move || Ok(config.clone())),
        state: None,
        http: None,
        other_ports: OTHER_PORTS,
        reloads: false,
        view: Some(View::start(args.json, output).context("cannot start a thread")?),
        duration: args.duration,
    };
    serve::run(job, output)
}

/// What a configuration file of the demo would say.
fn config(dir: &Path, volume: &Path) -> anyhow::Result<Config> {
    let http = server::address(server::HTTP).map_err(Failure::failed)?;
    let server = Server {
        http,
        base_path: String::new(),
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        tls: None,
        state: Some(dir.join("state")),
        cache_bytes: CHUNKS_BYTES,
    };
    let (name, scrub) = ("demo".to_owned(), scrub::Every::default().0);
    let (path, io) = (volume.to_owned(), io::Io::default());
    let volumes = vec![VolumeEntry { name, path, size_bytes: None, scrub, io, takes_over: true }];
    let camera = |(name, url): (&str, &str)| {
        let entry = Entry::new(name, url);
        Ok(CameraEntry { camera: record::camera(&entry)?, volume: "demo".to_owned(), entry })
    };
    let cameras = CAMERAS.into_iter().map(camera).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Config { server, volumes, cameras })
}

fn create_volume(dir: &Path, volume: &Path, size_bytes: u64, output: Output) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("{}: cannot create the directory", dir.display()))?;
    room::check(dir, size_bytes, "the demo", "--size, or --dir on another disk")?;
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
