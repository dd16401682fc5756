//! `keha volume create`: a new volume in a new file.

use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::output::progress::{Bar, Unit};
use crate::units::size;
use crate::volume_argument;
use keha_fs::{CreateOptions, VolumeInfo};
use std::path::Path;

/// Arguments of `keha volume create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to create
    path: String,
    /// The size of the volume, such as 10GiB or 64MiB
    #[arg(long, value_parser = size::parse)]
    size: u64,
    /// The size of a block, a power of two [default: by the volume's size]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    block_size: Option<u64>,
    /// How many streams it must be able to have [default: by the number of blocks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    streams: Option<u32>,
    /// A name for people
    #[arg(long, default_value = "", hide_default_value = true)]
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
    let options = options(args)?;
    if args.dry_run {
        let info = keha_fs::plan(&options)?;
        output.print(&format!("would create {}\n", describe(&path, &info)))?;
        return Ok(Exit::Done);
    }
    let info = create(&path, &options, output)?;
    output.print(&format!("created {}\n", describe(&path, &info)))?;
    Ok(Exit::Done)
}

/// Creates a volume and shows how far it is.
pub(crate) fn create(path: &Path, options: &CreateOptions, output: Output) -> keha_fs::Result<VolumeInfo> {
    let mut bar = Bar::new("creating", Unit::Bytes, output.quiet);
    keha_fs::create(path, options, &mut |done, all| bar.set(done, all))
}

fn options(args: &Args) -> anyhow::Result<CreateOptions> {
    let block_bytes = args.block_size.map(u32::try_from).transpose();
    Ok(CreateOptions {
        size_bytes: args.size,
        block_bytes: block_bytes.map_err(|_| Failure::usage("--block-size: a block has at most 256MiB"))?,
        streams_max: args.streams,
        label: args.label.clone(),
        prewrite: args.prewrite,
    })
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
