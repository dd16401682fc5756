//! Copying a stretch of a stream into another volume: every sample with its bytes, ticks, flags, run and wall time, every
//! configuration, clock anchor and gap, in the order of recording. Chunks and blocks are cut anew.

use crate::configuration::TrackKind;
use crate::error::{Error, Result};
use crate::gap::{Gap, GapReason};
use crate::reader::Volume;
use crate::report::{Finding, Item, TimeRange};
use crate::sample::{Sample, SampleFlags, StoredSample};
use crate::types::{RunId, StreamId, WallTime};
use crate::writer::{Rejected, StreamWriter};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

/// How long to wait for room in the queue to the other volume's disk.
const PAUSE: Duration = Duration::from_millis(5);

/// How many damaged places a [`CopyReport`] names; of all of them it has the count.
pub const COPY_DAMAGE_MAX: usize = 1000;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// The runs that it belongs to.
    pub runs: BTreeSet<RunId>,
    /// Samples.
    pub samples: u64,
    /// Their bytes.
    pub payload_bytes: u64,
    /// Gap records.
    pub gaps: u64,
    /// The earliest and the latest moment of the samples.
    pub span: Option<(WallTime, WallTime)>,
    /// Chunks of kinds that this version does not know: they are not in the copy.
    pub unknown_chunks: u64,
    /// How many places could not be copied, for they do not verify. In their place stand gaps.
    pub damaged: u64,
    /// The first [`COPY_DAMAGE_MAX`] of them.
    pub damage: Vec<Finding>,
    /// BLAKE3 over all samples with what is known of them: see [`run_digest`].
    pub digest: [u8; 32],
}

/// Copies what [`Volume::read`] gives of a stream. Pictures of a run before its first sync sample, which is damaged then, are left
/// out: nobody can decode them, and no reader gives them. `progress` is told the bytes done; a `Break` ends the copy there.
///
/// # Errors
/// Those of reading; [`Error::Invalid`] if the other volume cannot take it (its blocks are too small for a configuration), or
/// the copy was ended; [`Error::Stopped`] if its writer stopped. What was copied until then stays.
pub fn copy_stream(
    source: &Volume,
    stream: StreamId,
    range: TimeRange,
    into: &mut StreamWriter,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<CopyReport> {
    let mut cursor = source.read(stream, range)?;
    let mut sum = Sum::default();
    let mut report = CopyReport {
        runs: BTreeSet::new(),
        samples: 0,
        payload_bytes: 0,
        gaps: 0,
        span: None,
        unknown_chunks: 0,
        damaged: 0,
        damage: Vec::new(),
        digest: [0; 32],
    };
    // The damage that does not stand as a gap in the copy yet, and when the sample before it was.
    let (mut untold, mut last) = (Untold::default(), range.from);
    // Pictures, the runs that have begun with one that can be decoded, and how many of others were left out.
    let (mut video, mut begun, mut left_out) = (BTreeSet::new(), BTreeSet::new(), 0);
    while let Some(item) = cursor.next_item()? {
        match item {
            Item::Run(run) => {
                report.runs.insert(run);
                into.begin_run(run);
            }
            Item::Configuration(_, configuration) => {
                let tracks = configuration.tracks.iter().filter(|track| track.kind == TrackKind::Video);
                video = tracks.map(|track| track.track).collect();
                into.configure(&configuration)?;
            }
            Item::Anchor(anchor) => into.anchor(anchor),
            // Only listings give these, and samples are read here.
            Item::Listed(_) => {}
            Item::Gap(gap) => {
                report.gaps += 1;
                into.gap(&gap);
            }
            Item::Erased(span) => into.gap(&span.gap()),
            Item::Damage(finding) => {
                report.damaged += 1;
                untold.add(&finding);
                if report.damage.len() < COPY_DAMAGE_MAX {
                    report.damage.push(finding);
                }
            }
            Item::Sample(sample) if video.contains(&sample.track) && !can_begin(&sample, &mut begun) => {
                left_out += 1;
            }
            Item::Sample(sample) => {
                // Sound goes on; the gap ends with the picture that can be decoded.
                let waits = !video.is_empty() && !begun.contains(&sample.run) && untold.findings > 0;
                if !waits {
                    let left_out = std::mem::take(&mut left_out);
                    std::mem::take(&mut untold).tell(left_out, [last, Some(sample.wall)], into);
                    last = Some(sample.wall);
                }
                push(into, &sample, &mut || progress(report.payload_bytes))?;
                sum.add(&sample);
                report.samples += 1;
                report.payload_bytes += sample.data.len() as u64;
                let (from, to) = report.span.unwrap_or((sample.wall, sample.wall));
                report.span = Some((from.min(sample.wall), to.max(sample.wall)));
            }
        }
    }
    untold.tell(left_out, [last, range.to], into);
    into.park();
    report.unknown_chunks = cursor.unknown_chunks();
    report.digest = sum.digest();
    Ok(report)
}

/// Counts and digests the samples of some runs of a stream, in the order of recording: over each sample's run, track, ticks,
/// wall time, flags, the hash of its configuration, length and bytes, all numbers little-endian.
///
/// # Errors
/// Those of reading; [`Error::Corrupt`] if anything does not verify.
pub fn run_digest(volume: &Volume, stream: StreamId, runs: &BTreeSet<RunId>) -> Result<(u64, [u8; 32])> {
    let mut cursor = volume.read(stream, TimeRange::default())?;
    let (mut sum, mut samples) = (Sum::default(), 0);
    while let Some(item) = cursor.next_item()? {
        match item {
            Item::Sample(sample) if runs.contains(&sample.run) => {
                sum.add(&sample);
                samples += 1;
            }
            Item::Damage(finding) => {
                return Err(Error::Corrupt { what: finding.what.to_owned(), at: finding.at });
            }
            _ => {}
        }
    }
    Ok((samples, sum.digest()))
}

/// Gives a sample to the other volume, as soon as it has room.
fn push(
    into: &mut StreamWriter,
    sample: &StoredSample,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<()> {
    loop {
        if go_on().is_break() {
            return Err(Error::Invalid("the copy was ended before all was copied".to_owned()));
        }
        let again = Sample {
            track: sample.track,
            ticks: sample.ticks,
            flags: sample.flags,
            data: vec![sample.data.clone()],
        };
        match into.push(again) {
            Ok(()) => return Ok(()),
            Err(Rejected::Full) => std::thread::sleep(PAUSE),
            Err(Rejected::Stopped) => return Err(Error::Stopped(Rejected::Stopped.to_string())),
            Err(why) => {
                return Err(Error::Invalid(format!("the other volume does not take a sample: {why}")));
            }
        }
    }
}

/// Whether a picture can be decoded: it is a sync sample, or its run has begun with one.
fn can_begin(sample: &StoredSample, begun: &mut BTreeSet<RunId>) -> bool {
    if sample.flags.contains(SampleFlags::SYNC) {
        begun.insert(sample.run);
    }
    begun.contains(&sample.run)
}

/// What was found damaged since the last gap that tells of it.
#[derive(Default)]
struct Untold {
    /// How many places.
    findings: u64,
    /// How many of them are samples that are lost.
    samples_lost: u64,
    /// What the first one is.
    first: String,
}

impl Untold {
    fn add(&mut self, finding: &Finding) {
        if self.findings == 0 {
            self.first = format!("{}: {}", finding.what, finding.detail);
        }
        self.findings += 1;
        self.samples_lost += u64::from(finding.footage_lost && finding.what == "sample");
    }

    /// Leaves one gap for all of it, and for what was left out because of it, between the sample before it and the moment after
    /// it, as far as they are known.
    fn tell(self, left_out: u64, [before, after]: [Option<WallTime>; 2], into: &mut StreamWriter) {
        let Some(from) = before.or(after).filter(|_| self.findings > 0) else { return };
        let more = match self.findings {
            1 => String::new(),
            count => format!(", and {} more findings", count - 1),
        };
        into.gap(&Gap {
            reason: GapReason::Damaged,
            // A gap that came at the sample itself is another one.
            from: from.plus_ns(1),
            to: Some(after.unwrap_or(from).max(from.plus_ns(1))),
            samples_lost: self.samples_lost + left_out,
            bytes_lost: 0,
            detail: format!("in the volume it was copied from: {}{more}", self.first),
        });
    }
}

/// The digest of samples, one after the other.
#[derive(Default)]
struct Sum(blake3::Hasher);

impl Sum {
    fn add(&mut self, sample: &StoredSample) {
        self.0.update(sample.run.0.as_bytes());
        self.0.update(&[sample.track.0]);
        self.0.update(&sample.ticks.to_le_bytes());
        self.0.update(&sample.wall.0.to_le_bytes());
        self.0.update(&sample.flags.0.to_le_bytes());
        self.0.update(&sample.configuration.0);
        self.0.update(&(sample.data.len() as u64).to_le_bytes());
        self.0.update(&sample.data);
    }

    fn digest(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}
