//! `keha volume check`: verifies every live byte and lists what does not verify. With `--repair` what describes the volume is
//! put right from its blocks before ([`super::repair`]).

use super::findings::{FindingDocument, line};
use super::{names, parse_stream, repair};
use crate::failure::Exit;
use crate::output::Output;
use crate::output::document::{self, VolumeDocument};
use crate::output::progress::{Bar, Unit};
use crate::units::size;
use crate::volume_argument::VolumeArgument;
use keha_fs::{CheckReport, StreamId, StreamName, Volume};
use serde::Serialize;
use std::collections::HashMap;

/// Arguments of `keha volume check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// List only what concerns this stream, or none in particular
    #[arg(long, value_name = "NAME", value_parser = parse_stream)]
    stream: Option<StreamName>,
    #[command(flatten)]
    repair: repair::RepairArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let repaired = match args.repair.run(&path, args.json, output)? {
        repair::Outcome::Ends(exit) => return Ok(exit),
        repair::Outcome::Repaired(steps) => Some(steps),
        repair::Outcome::NotAsked => None,
    };
    let volume = Volume::open(&path)?;
    let wanted = args.stream.as_ref().map(|name| volume.stream(name)).transpose()?;
    let mut bar = Bar::new("checking", Unit::Blocks, output.quiet);
    let mut report = volume.check(&mut |done, all| bar.set(u64::from(done), u64::from(all)))?;
    drop(bar);
    if let Some(wanted) = wanted {
        report.findings.retain(|finding| finding.stream.is_none_or(|stream| stream == wanted.id));
    }
    let names = names(&volume);
    if args.json {
        let document = Document::new(VolumeDocument::new(&path, volume.info()), &report, &names);
        document::print(&Document { repaired, ..document })?;
    } else {
        output.print(&text(&report, &names))?;
    }
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Damaged })
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    volume: VolumeDocument,
    blocks: u32,
    chunks: u64,
    samples: u64,
    bytes: u64,
    /// Blocks that are still being overwritten in place: no damage.
    overwriting: u32,
    findings: Vec<FindingDocument<'a>>,
    /// What was repaired before, with `--repair`.
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<Vec<repair::StepDocument>>,
}

impl<'a> Document<'a> {
    fn new(
        volume: VolumeDocument,
        report: &'a CheckReport,
        names: &'a HashMap<StreamId, StreamName>,
    ) -> Document<'a> {
        let findings = report.findings.iter().map(|finding| FindingDocument::new(finding, names));
        Document {
            schema: "keha.volume-check/1",
            volume,
            blocks: report.blocks,
            chunks: report.chunks,
            samples: report.samples,
            bytes: report.bytes,
            overwriting: report.overwriting,
            findings: findings.collect(),
            repaired: None,
        }
    }
}

fn text(report: &CheckReport, names: &HashMap<StreamId, StreamName>) -> String {
    let mut text: String = report.findings.iter().map(|finding| line(finding, names) + "\n").collect();
    let read = format!(
        "{} blocks with footage, {} chunks, {} samples, {}",
        report.blocks,
        report.chunks,
        report.samples,
        size::show(report.bytes)
    );
    match report.findings.len() {
        0 => text.push_str(&format!("all verified: {read}\n")),
        count => {
            let lost = report.findings.iter().filter(|finding| finding.footage_lost).count();
            text.push_str(&format!("{count} findings, {lost} with footage lost, in {read}\n"));
        }
    }
    if report.overwriting > 0 {
        text.push_str(&overwriting(report.overwriting));
    }
    text
}

/// What was erased, or is past its maximum age, and is not zeros yet.
fn overwriting(blocks: u32) -> String {
    let are = if blocks == 1 { "block is" } else { "blocks are" };
    format!(
        "{blocks} {are} still being overwritten, which is no damage: the recorder finishes it, or the next one\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use keha_fs::{BlockIndex, Finding};
    use std::path::Path;

    fn example() -> (CheckReport, HashMap<StreamId, StreamName>) {
        let (_, blocks, streams) = example::volume();
        let findings = vec![
            Finding {
                what: "sample",
                at: 1_048_600,
                block: Some(BlockIndex(0)),
                stream: blocks[0].stream,
                footage_lost: true,
                detail: "checksum does not match".into(),
            },
            Finding {
                what: "superblock",
                at: 0,
                block: None,
                stream: None,
                footage_lost: false,
                detail: "copy 1 of 4".into(),
            },
        ];
        let report =
            CheckReport { findings, overwriting: 2, blocks: 4, chunks: 40, samples: 1000, bytes: 3_800_000 };
        (report, streams.into_iter().map(|stream| (stream.id, stream.name)).collect())
    }

    #[test]
    fn the_document_is_as_published() {
        let (report, names) = example();
        let volume = VolumeDocument::new(Path::new("a.ring"), &example::volume().0);
        insta::assert_json_snapshot!(Document::new(volume, &report, &names));
    }

    #[test]
    fn the_text_is_as_published() {
        let (report, names) = example();
        insta::assert_snapshot!(text(&report, &names));
    }

    #[test]
    fn a_clean_volume_is_one_line() {
        assert_eq!(
            text(&CheckReport::default(), &HashMap::new()),
            "all verified: 0 blocks with footage, 0 chunks, 0 samples, 0 B\n"
        );
    }

    #[test]
    fn what_is_being_overwritten_is_said_and_is_no_finding() {
        let report = CheckReport { overwriting: 1, ..CheckReport::default() };
        assert_eq!(
            text(&report, &HashMap::new()),
            "all verified: 0 blocks with footage, 0 chunks, 0 samples, 0 B\n\
             1 block is still being overwritten, which is no damage: the recorder finishes it, or the next one\n"
        );
    }
}
