//! `keha volume create`: a new volume in a new file, or on a partition.

use crate::failure::{Exit, Failure};
use crate::opener::opener;
use crate::output::Output;
use crate::output::progress::{Bar, Unit};
use crate::process::signals;
use crate::units::size;
use crate::volume_argument;
use keha_fs::{CreateOptions, Uuid, VolumeId, VolumeInfo, partition};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

/// What to expect of space that is reserved and was never written.
const FIRST_LAP: &str = "its space is reserved, not yet written: the first lap costs the disk more than later ones do. Where \
                         recording will need most of the disk's speed from the first hour on, create it with --prewrite";

/// Arguments of `keha volume create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to create, or the partition, as partuuid:UUID
    path: String,
    /// The size of the volume, such as 10GiB or 64MiB [default on a partition: all of it]
    #[arg(long, value_parser = size::parse)]
    size: Option<u64>,
    /// The size of a block, a power of two [default: by the volume's size]
    #[arg(long, value_name = "SIZE", value_parser = parse_block_size)]
    block_size: Option<u32>,
    /// How many streams it must be able to have [default: by the number of blocks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    streams: Option<u32>,
    /// A name for people
    #[arg(long, default_value = "", hide_default_value = true, value_parser = parse_label)]
    label: String,
    /// Write zeros over all of it, so that the first lap is as fast as the later ones
    #[arg(long)]
    prewrite: bool,
    /// On a partition or device: also if it is not of the type Linux swap, or carries another program's signature
    #[arg(long)]
    force: bool,
    /// On a partition or device: overwrite the volume that is there; all of its footage is lost
    #[arg(long, value_name = "VOLUME-ID")]
    overwrite: Option<Uuid>,
    /// Only say what would be created
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = volume_argument::path_of(&args.path)?;
    let on_device = partition::is_device(&path)?;
    if !on_device && (args.force || args.overwrite.is_some()) {
        return Err(Failure::usage(
            "--force and --overwrite are for partitions: a file that is there is never overwritten",
        ));
    }
    let size_bytes = match args.size {
        Some(0) => return Err(Failure::usage("--size: 0 is no size")),
        Some(size) => size,
        None if on_device => 0,
        None => return Err(Failure::usage("give the volume's size, such as --size 10GiB")),
    };
    let options = CreateOptions {
        size_bytes,
        force: args.force,
        overwrite: args.overwrite.map(VolumeId),
        block_bytes: args.block_size,
        streams_max: args.streams,
        label: args.label.clone(),
        prewrite: args.prewrite,
        opener: opener("create"),
    };
    if args.dry_run {
        let info = keha_fs::plan_at(&path, &options)?;
        output.print(&format!("would create {}\n", describe(&path, &info)))?;
        return Ok(Exit::Done);
    }
    let info = create(&path, &options, output)?;
    output.print(&format!("created {}\n", describe(&path, &info)))?;
    if !on_device && !args.prewrite {
        output.say(FIRST_LAP);
    }
    Ok(Exit::Done)
}

/// Creates a volume, shows how far it is, and leaves nothing behind if it is stopped.
///
/// # Errors
/// Those of creating it.
pub(crate) fn create(path: &Path, options: &CreateOptions, output: Output) -> anyhow::Result<VolumeInfo> {
    let stopped = signals::flag()?;
    let mut bar = Bar::new("creating", Unit::Bytes, output.quiet);
    let info = keha_fs::create(path, options, &mut |done, all| {
        bar.set(done, all);
        if stopped.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(info)
}

fn parse_block_size(text: &str) -> Result<u32, String> {
    let bytes = size::parse(text)?;
    let fits = |bytes: &u32| bytes.is_power_of_two() && (1 << 20..=256 << 20).contains(bytes);
    u32::try_from(bytes)
        .ok()
        .filter(fits)
        .ok_or_else(|| "a block is a power of two from 1MiB to 256MiB".into())
}

fn parse_label(text: &str) -> Result<String, String> {
    if text.len() > 64 || text.chars().any(char::is_control) {
        return Err("a label has at most 64 bytes and no control characters".into());
    }
    Ok(text.to_owned())
}

fn describe(path: &Path, info: &VolumeInfo) -> String {
    format!(
        "{}: {} in {} blocks of {}, for up to {} streams",
        path.display(),
        size::show(info.size_bytes),
        info.blocks,
        size::show(u64::from(info.block_bytes)),
        info.streams_max,
    )
}
