//! `keha volume check --repair`: rebuilds superblocks, stream directory, block table and round log from the blocks.
//!
//! Offline only: it takes the writer's lock. `--dry-run` takes none and only says what would be done.

use super::parse_stream;
use crate::failure::{Exit, Failure};
use crate::opener::opener;
use crate::output::Output;
use crate::output::document::{self, VolumeDocument};
use crate::output::progress::{Bar, Unit};
use keha_fs::{RepairOptions, RepairReport, StreamName, Uuid, VolumeId};
use serde::Serialize;
use std::path::Path;

/// What `check` takes for repairing.
#[derive(Debug, clap::Args)]
pub(super) struct RepairArgs {
    /// Rebuild what describes the volume from its blocks; nobody may be recording
    #[arg(long)]
    repair: bool,
    /// Only say what a repair would do
    #[arg(long, requires = "repair")]
    dry_run: bool,
    /// Give a stream whose name was lost a name: recovered-1a2b3c4d=front
    #[arg(long = "name", value_name = "RECOVERED=NAME", requires = "repair", value_parser = parse_naming)]
    names: Vec<(StreamName, StreamName)>,
    /// The volume that is meant, where no superblock is left and blocks of several volumes stand here
    #[arg(long, value_name = "ID", requires = "repair")]
    volume_id: Option<Uuid>,
}

fn parse_naming(text: &str) -> Result<(StreamName, StreamName), String> {
    let (old, new) = text
        .split_once('=')
        .ok_or_else(|| "say RECOVERED=NAME, such as recovered-1a2b3c4d=front".to_owned())?;
    Ok((parse_stream(old)?, parse_stream(new)?))
}

/// What came of it.
pub(super) enum Outcome {
    /// No repair was asked for.
    NotAsked,
    /// Nothing more is to be done.
    Ends(Exit),
    /// These things were done; what is damaged in the blocks is still to be found out.
    Repaired(Vec<StepDocument>),
}

/// One thing that was or would be done.
#[derive(Serialize)]
pub(super) struct StepDocument {
    what: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct PlanDocument {
    schema: &'static str,
    volume: VolumeDocument,
    dry_run: bool,
    blocks: u32,
    steps: Vec<StepDocument>,
    /// The streams that go by a name made from their identity afterwards.
    nameless: Vec<NamelessDocument>,
}

#[derive(Serialize)]
struct NamelessDocument {
    id: String,
    name: String,
}

impl RepairArgs {
    /// Repairs the volume at `path`, or says what would be done, if that was asked for.
    pub(super) fn run(&self, path: &Path, json: bool, output: Output) -> anyhow::Result<Outcome> {
        if !self.repair {
            return Ok(Outcome::NotAsked);
        }
        let names = self.names.iter().cloned().collect::<std::collections::BTreeMap<_, _>>();
        if names.len() < self.names.len() {
            return Err(Failure::usage("--name: a stream can be given one name only"));
        }
        let options = RepairOptions { names, volume: self.volume_id.map(VolumeId), opener: opener("repair") };
        let mut bar = Bar::new("examining", Unit::Blocks, output.quiet);
        let mut progress = |done, all| bar.set(u64::from(done), u64::from(all));
        let report = match self.dry_run {
            true => keha_fs::plan_repair(path, &options, &mut progress),
            false => keha_fs::repair(path, &options, &mut progress),
        }?;
        drop(bar);
        if self.dry_run {
            if json {
                document::print(&plan_document(path, &report))?;
            } else {
                output.print(&text(&report, true))?;
            }
            return Ok(Outcome::Ends(if report.steps.is_empty() { Exit::Done } else { Exit::Damaged }));
        }
        if !json {
            output.print(&text(&report, false))?;
        }
        Ok(Outcome::Repaired(steps(&report)))
    }
}

fn steps(report: &RepairReport) -> Vec<StepDocument> {
    report.steps.iter().map(|step| StepDocument { what: step.what, detail: step.detail.clone() }).collect()
}

fn plan_document(path: &Path, report: &RepairReport) -> PlanDocument {
    let nameless = report.nameless.iter();
    PlanDocument {
        schema: "keha.volume-repair/1",
        volume: VolumeDocument::new(path, &report.volume),
        dry_run: true,
        blocks: report.blocks,
        steps: steps(report),
        nameless: nameless
            .map(|(id, name)| NamelessDocument { id: id.to_string(), name: name.to_string() })
            .collect(),
    }
}

fn text(report: &RepairReport, dry_run: bool) -> String {
    if report.steps.is_empty() {
        return "nothing to repair: all that describes the volume stands\n".to_owned();
    }
    let verb = if dry_run { "would repair" } else { "repaired" };
    let mut text: String =
        report.steps.iter().map(|step| format!("{verb} {}: {}\n", step.what, step.detail)).collect();
    for (id, name) in &report.nameless {
        text.push_str(&format!(
            "{name} is stream {id}, whose name is lost; name it with: --repair --name {name}=NAME\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use keha_fs::{RepairStep, StreamId};

    fn example() -> RepairReport {
        let step = |what, detail: &str| RepairStep { what, detail: detail.to_owned() };
        RepairReport {
            volume: example::volume().0,
            steps: vec![
                step("superblock", "2 of 4 copies are written again"),
                step("stream directory", "neither copy verifies: made from the streams in the blocks"),
            ],
            findings: Vec::new(),
            blocks: 12,
            nameless: vec![(
                StreamId(Uuid::from_u128(0x1a2b_3c4d << 96)),
                StreamName::new("recovered-1a2b3c4d").expect("a constant"),
            )],
        }
    }

    #[test]
    fn the_document_is_as_published() {
        insta::assert_json_snapshot!(plan_document(Path::new("a.ring"), &example()));
    }

    #[test]
    fn the_text_is_as_published() {
        insta::assert_snapshot!(
            text(&example(), true) + &text(&RepairReport { steps: Vec::new(), ..example() }, false)
        );
    }

    #[test]
    fn a_naming_has_two_names() {
        assert!(parse_naming("recovered-1a2b3c4d=front/sub").is_ok());
        for bad in ["front", "=front", "recovered-1=", "recovered-1=FRONT"] {
            assert!(parse_naming(bad).is_err(), "{bad}");
        }
    }
}
