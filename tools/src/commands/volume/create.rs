//! `keha volume create`: a new volume in a new file.

use crate::failure::Exit;
use crate::opener::opener;
use crate::output::Output;
use crate::output::progress::{Bar, Unit};
use crate::process::signals;
use crate::units::size;
use crate::volume_argument;
use keha_fs::{CreateOptions, VolumeInfo};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Arguments of `keha volume create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to create
    path: String,
    /// The size of the volume, such as 10GiB or 64MiB
    #[arg(long, value_parser = size::parse)]
    size: u64,
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
    /// Only say what would be created
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = volume_argument::path_of(&args.path)?;
    let options = CreateOptions {
        size_bytes: args.size,
        block_bytes: args.block_size,
        streams_max: args.streams,
        label: args.label.clone(),
        prewrite: args.prewrite,
        opener: opener("create"),
        ..CreateOptions::default()
    };
    if args.dry_run {
        let info = keha_fs::plan(&options)?;
        output.print(&format!("would create {}\n", describe(&path, &info)))?;
        return Ok(Exit::Done);
    }
    let info = create(&path, &options, output)?;
    output.print(&format!("created {}\n", describe(&path, &info)))?;
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
