//! Rebuilding what describes a volume from what it holds: superblocks, stream directory, block table, round log and the copies
//! of the holds, from the blocks alone where it must be.
//!
//! Two steps, each in a file of its own: where everything stands when no superblock does ([`geometry`]), and what is to be done
//! ([`plan`]). Doing it is opening the volume as a writer that takes no block:
//! what is proven of opening, a crash at any I/O of it included, holds for a repair.
//!
//! Promises:
//! - footage is read, never written: no byte of any block changes;
//! - nothing that could be read before can not be read after, wherever the repair is cut off, and it may be begun again;
//! - what was given up, erased, expired or overwritten stays so, as long as the table or a later take tells of it;
//! - a volume of which everything stands is not written to at all;
//! - what is not known is not invented: a stream whose name is lost is called by its identity until a name is given.

mod geometry;
mod plan;

#[cfg(test)]
pub(crate) use plan::Survey;
pub(crate) use plan::{Circumstances, survey};

use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, FileDisk, FileOptions, FileReader, ReadAt};
use crate::error::Result;
use crate::report::{Finding, VolumeInfo};
use crate::session::Opener;
use crate::types::{StreamId, StreamName, VolumeId};
use crate::writer::engine::{Engine, EngineOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What a repair is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairOptions {
    /// New names for streams that are called `recovered-...`.
    pub names: BTreeMap<StreamName, StreamName>,
    /// Which volume is meant, where superblocks of several volumes stand, or none and blocks of several.
    pub volume: Option<VolumeId>,
    /// Who repairs it: noted in the volume.
    pub opener: Opener,
}

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairStep {
    /// Which structure: `superblock`, `stream directory`, `stream name`, `block table`, `round log`, `hold`, `session`, `scrub`.
    pub what: &'static str,
    /// What is done to it, and from what it is known.
    pub detail: String,
}

/// What a repair has to do, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairReport {
    /// The volume.
    pub volume: VolumeInfo,
    /// What is done, in order; empty if nothing is to be repaired.
    pub steps: Vec<RepairStep>,
    /// What opening found before.
    pub findings: Vec<Finding>,
    /// Live blocks found.
    pub blocks: u32,
    /// The streams that go by a name made from their identity afterwards.
    pub nameless: Vec<(StreamId, StreamName)>,
}

/// Says what [`repair`] would do. Writes nothing and takes no lock; beside a live recorder it may name what is only under way.
/// `progress` is told blocks done and blocks in all.
///
/// # Errors
/// [`crate::Error::NotAVolume`] if neither a superblock nor enough blocks tell where everything stands;
/// [`crate::Error::Unsupported`], also if it may not be written by this version or on this disk; [`crate::Error::Invalid`] for names that cannot be given, or where several volumes stand here
/// and none is named; [`crate::Error::CutShort`]; [`crate::Error::Corrupt`] where a counter is near its end; [`crate::Error::Io`], also if reads fail now here and now there.
pub fn plan_repair(
    path: &Path,
    options: &RepairOptions,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<RepairReport> {
    let reader = FileReader::open(path)?;
    let here = Circumstances::here(reader.alignment_bytes());
    survey(&reader, path, options, here, progress).map(|survey| survey.report())
}

/// Repairs a volume that nobody writes, and says what was done. What is damaged in the blocks themselves stays as it is.
///
/// # Errors
/// As [`plan_repair`]; [`crate::Error::Locked`]; [`crate::Error::CutShort`]: make it whole first, so that nothing is taken for
/// lost that is only missing. Nothing was made worse then.
pub fn repair(
    path: &Path,
    options: &RepairOptions,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<RepairReport> {
    let disk = FileDisk::open(path, &FileOptions::default())?;
    let reader: Arc<dyn ReadAt> = Arc::new(FileReader::open(path)?);
    let here = Circumstances::here(disk.alignment_bytes());
    let survey = survey(&*reader, path, options, here, progress)?;
    let report = survey.report();
    if !report.steps.is_empty() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let options = EngineOptions::offline(path, options.opener.clone());
        let (mut engine, _) = Engine::open_to_repair(disk, reader, clock, options, survey.recovered)?;
        engine.close()?;
    }
    Ok(report)
}
