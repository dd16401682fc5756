//! `keha volume grow`: a volume takes in what its file or partition has become larger by, or its file is made larger.
//!
//! Offline only: it takes the writer's lock. `--dry-run` takes none and only says what would be done.

use crate::failure::{Exit, Failure};
use crate::opener::opener;
use crate::output::Output;
use crate::output::document::{self, VolumeDocument};
use crate::output::progress::{Bar, Unit};
use crate::process::signals;
use crate::units::size;
use crate::volume_argument::VolumeArgument;
use keha_fs::{GrowOptions, GrowReport, partition};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

/// What to expect of space that is reserved and was never written.
const FIRST_LAP: &str = "the added space is reserved, not yet written: the first lap over it costs the disk more than later ones do";

/// Arguments of `keha volume grow`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// The size that its file shall have, such as 500GiB [default: all that file or partition have]
    #[arg(long, value_parser = parse_size)]
    size: Option<u64>,
    /// Write zeros over all that is added, so that the first lap is as fast as the later ones
    #[arg(long)]
    prewrite: bool,
    /// On a partition or device: also if the added space carries another program's signature
    #[arg(long)]
    force: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn parse_size(text: &str) -> Result<u64, String> {
    size::parse(text).and_then(|size| if size > 0 { Ok(size) } else { Err("0 is no size".to_owned()) })
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    dry_run: bool,
    /// As it is afterwards.
    volume: VolumeDocument,
    /// As it was.
    before: BeforeDocument,
}

#[derive(Serialize)]
struct BeforeDocument {
    size_bytes: u64,
    blocks: u32,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let on_device = partition::is_device(&path)?;
    if !on_device && args.force {
        return Err(Failure::usage("--force is for partitions: what a file has is its volume's"));
    }
    let options = GrowOptions {
        size_bytes: args.size.unwrap_or(0),
        force: args.force,
        prewrite: args.prewrite,
        opener: opener("grow"),
    };
    let report =
        if args.dry_run { keha_fs::plan_grow(&path, &options)? } else { grow(&path, &options, output)? };
    let shown = document(&path, &report, args.dry_run);
    document::show(output, args.json, &shown, || text(&path, &report, args.dry_run))?;
    if !args.dry_run && !args.prewrite && !on_device {
        output.say(FIRST_LAP);
    }
    Ok(Exit::Done)
}

fn grow(path: &Path, options: &GrowOptions, output: Output) -> anyhow::Result<GrowReport> {
    let stopped = signals::flag()?;
    let mut bar = Bar::new("growing", Unit::Bytes, output.quiet);
    let report = keha_fs::grow(path, options, &mut |done, all| {
        bar.set(done, all);
        if stopped.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(report)
}

fn document(path: &Path, report: &GrowReport, dry_run: bool) -> Document {
    let GrowReport { before, after } = report;
    Document {
        schema: "keha.volume-grow/1",
        dry_run,
        volume: VolumeDocument::new(path, after),
        before: BeforeDocument { size_bytes: before.size_bytes, blocks: before.blocks },
    }
}

fn text(path: &Path, report: &GrowReport, dry_run: bool) -> String {
    let GrowReport { before, after } = report;
    format!(
        "{} {}: from {} in {} blocks to {} in {} blocks\n",
        if dry_run { "would grow" } else { "grew" },
        path.display(),
        size::show(before.size_bytes),
        before.blocks,
        size::show(after.size_bytes),
        after.blocks,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::document::example;
    use keha_fs::VolumeInfo;

    fn report() -> GrowReport {
        let before = example();
        let after = VolumeInfo { size_bytes: 64 << 20, blocks: 61, ..before.clone() };
        GrowReport { before, after }
    }

    #[test]
    fn the_document_is_as_published() {
        insta::assert_json_snapshot!(document(Path::new("a.ring"), &report(), true));
    }

    #[test]
    fn the_text_is_as_published() {
        let both = [true, false].map(|dry_run| text(Path::new("a.ring"), &report(), dry_run));
        assert_eq!(
            both.concat(),
            "would grow a.ring: from 8 MiB in 6 blocks to 64 MiB in 61 blocks\n\
             grew a.ring: from 8 MiB in 6 blocks to 64 MiB in 61 blocks\n"
        );
    }
}
