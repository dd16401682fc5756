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
    /// What could not be copied, for it does not verify. In its place stands a gap.
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
        damage: Vec::new(),
        digest: [0; 32],
    };
    // How much of the damage stands as gaps in the copy, and when the sample before it was.
    let (mut told, mut last) = (0, range.from);
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
            Item::Gap(gap) => {
                report.gaps += 1;
                into.gap(&gap);
            }
            Item::Erased(span) => into.gap(&span.gap()),
            Item::Damage(finding) => {
                report.damage.push(finding);
            }
            Item::Sample(sample) if video.contains(&sample.track) && !can_begin(&sample, &mut begun) => {
                left_out += 1;
            }
            Item::Sample(sample) => {
                // Sound goes on; the gap ends with the picture that can be decoded.
                let waits = !video.is_empty() && !begun.contains(&sample.run) && told < report.damage.len();
                if !waits {
                    let left_out = std::mem::take(&mut left_out);
                    told = tell(&report, told, left_out, [last, Some(sample.wall)], into);
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
    tell(&report, told, left_out, [last, range.to], into);
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

/// Leaves one gap for all that was found damaged since `told`, and for what was left out because of it, between the sample
/// before it and the moment after it, as far as they are known. How much is told then.
fn tell(
    report: &CopyReport,
    told: usize,
    left_out: u64,
    [before, after]: [Option<WallTime>; 2],
    into: &mut StreamWriter,
) -> usize {
    let found = report.damage.get(told..).unwrap_or_default();
    if let Some((first, from)) = found.first().zip(before.or(after)) {
        let lost = found.iter().filter(|finding| finding.footage_lost && finding.what == "sample");
        let more = match found.len() {
            1 => String::new(),
            count => format!(", and {} more findings", count - 1),
        };
        into.gap(&Gap {
            reason: GapReason::Damaged,
            // A gap that came at the sample itself is another one.
            from: from.plus_ns(1),
            to: Some(after.unwrap_or(from).max(from.plus_ns(1))),
            samples_lost: lost.count() as u64 + left_out,
            bytes_lost: 0,
            detail: format!("in the volume it was copied from: {}: {}{more}", first.what, first.detail),
        });
    }
    report.damage.len()
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
