//! `keha record`: records cameras into a volume until it is stopped.
//!
//! A recorder never gives up: what can be wrong on the command line is found out before anything is written, everything
//! else is tried again, said, and recorded as a gap.

pub(super) mod session;

use crate::config::cameras::{self, Entry};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::units::io::Io;
use crate::units::{duration, scrub};
use crate::volume_argument::VolumeArgument;
use keha_recorder::{Camera, Credentials, Secret};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `keha record`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// A camera and the address of its stream, rtsp://user:password@host/path or testsrc://; as many as there are
    #[arg(long = "camera", value_name = "NAME=URL", value_parser = cameras::from_argument, required_unless_present = "cameras")]
    camera: Vec<Entry>,
    /// A file of cameras: keeps passwords off the command line, and knows sub streams
    #[arg(long, value_name = "FILE.toml")]
    cameras: Option<PathBuf>,
    /// Stop after this time, such as 30s or 1h30m
    #[arg(long, value_name = "D", value_parser = duration::parse_positive)]
    duration: Option<Duration>,
    /// Verify all footage in the background once in this time, over and over; or off
    #[arg(long, value_name = "D", value_parser = scrub::parse, default_value = scrub::DEFAULT)]
    scrub: scrub::Every,
    #[command(flatten)]
    io: Io,
    /// Print a JSON document a line: state, counters, durable watermarks
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args, output: Output) -> anyhow::Result<Exit> {
    let volume = args.volume.path()?;
    let mut entries = args.camera;
    if let Some(file) = &args.cameras {
        entries.extend(cameras::from_file(file)?);
    }
    let cameras = build(&entries)?;
    let retention = entries.iter().filter(|entry| entry.retention.is_any());
    let retention = retention.map(|entry| (entry.name.clone(), entry.retention)).collect();
    let (duration, json, scrub, io) = (args.duration, args.json, args.scrub.0, args.io);
    let job = session::Job { volume, cameras, duration, json, scrub, io, retention };
    session::record(&job, output)
}

/// The cameras of these entries.
///
/// # Errors
/// A name or an address that does not work, or a camera that is given twice.
pub(crate) fn build(entries: &[Entry]) -> anyhow::Result<Vec<Camera>> {
    let mut names = BTreeSet::new();
    let mut cameras = Vec::with_capacity(entries.len());
    for entry in entries {
        if !names.insert(entry.name.as_str()) {
            return Err(Failure::usage(format!(
                "camera {} is given twice: give each a name of its own",
                entry.name
            )));
        }
        cameras.push(camera(entry)?);
    }
    Ok(cameras)
}

/// The camera of an entry.
///
/// # Errors
/// A name or an address that does not work.
pub(crate) fn camera(entry: &Entry) -> anyhow::Result<Camera> {
    let wrong = |error: keha_recorder::BadCamera| Failure::usage(error.to_string());
    let mut camera = Camera::new(&entry.name, &entry.url).map_err(wrong)?;
    for (sub, url) in &entry.streams {
        camera = camera.with_stream(sub, url).map_err(wrong)?;
    }
    if let Some((username, password)) = &entry.credentials {
        let credentials =
            Credentials { username: username.clone(), password: Secret::new(password.as_str()) };
        camera = camera.with_credentials(&credentials);
    }
    Ok(camera)
}
