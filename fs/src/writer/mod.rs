//! The writer of a volume: one thread that owns the disk, fed by bounded queues.
//!
//! [`Writer`] and [`StreamWriter`] are the handles; the thread (`thread`) makes the rounds of the engine (`engine`), which
//! knows neither threads nor time of its own. Nothing in a handle blocks on the disk, but for opening, admitting a stream
//! and closing.

mod admitting;
mod carry;
pub(crate) mod copies;
mod core;
mod draft;
pub(crate) mod engine;
mod erase;
mod holds;
#[cfg(test)]
pub(crate) mod inspect;
mod ledger;
mod retention;
pub(crate) mod room;
mod round;
mod scrub;
mod scrubber;
mod sessions;
mod standing;
mod stream;
mod table;
mod thread;
pub(crate) mod writes;

pub use carry::{Carried, Carrying, Undone};
pub use erase::EraseRequest;
#[cfg(test)]
pub(crate) use stream::Input;
pub(crate) use stream::StoredConfiguration;

use crate::configuration::{Configuration, TrackKind};
use crate::disk::{EngineInUse, EngineKind, IO_DEPTH, IoEngine};
use crate::error::{Error, Result};
use crate::gap::Gap;
use crate::hold::{Hold, HoldRequest};
use crate::report::{OpenReport, RoundReport, VolumeInfo};
use crate::retention::erase::Erased;
use crate::retention::{Retention, RetentionRequest};
use crate::sample::{Anchor, SAMPLE_BYTES_MAX, Sample};
use crate::session::Opener;
use crate::tail::{Tail, TailBuffer};
use crate::types::{ConfigurationHash, HoldId, RunId, StreamId, StreamName, TrackNumber, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thread::{Shared, WriterThread};

/// How a volume is written.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How often everything pending is written and flushed.
    pub flush_interval: Duration,
    /// The most bytes that may wait for the disk, over all streams.
    pub buffer_bytes: usize,
    /// A chunk is written early when it reaches this size (never more than a quarter of a block).
    pub chunk_bytes: usize,
    /// In which time all that is live is read and verified once, over and over; `None`: it is not. Counted is the time in which
    /// the volume is open for writing.
    pub scrub: Option<Duration>,
    /// Who opens it: noted in the volume.
    pub opener: Opener,
    /// What does the I/O.
    pub engine: IoEngine,
    /// How many requests the disk sees at once, 1 to [`crate::disk::IO_DEPTH_MAX`].
    pub depth: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            flush_interval: Duration::from_secs(1),
            buffer_bytes: 256 << 20,
            chunk_bytes: 1 << 20,
            scrub: None,
            opener: Opener::default(),
            engine: IoEngine::Auto,
            depth: IO_DEPTH,
        }
    }
}

/// Why a sample was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue has no room: the caller leaves out the rest of the GOP and records the gap.
    #[error("the queue to the disk is full")]
    Full,
    /// The sample is larger than [`crate::SAMPLE_BYTES_MAX`], or has no bytes.
    #[error("the sample is too large or empty")]
    Size,
    /// Its track is not in the stream's configuration, has no clock anchor, or no run has begun.
    #[error("the sample's track is not configured or has no clock anchor, or no run has begun")]
    NotConfigured,
    /// The writer has stopped.
    #[error("the volume's writer has stopped")]
    Stopped,
}

/// The one writer of a volume. Dropping it closes it.
pub struct Writer {
    thread: WriterThread,
    info: VolumeInfo,
    opened: OpenReport,
}

impl Writer {
    /// Opens a volume for writing: locks it, recovers what a crash left, begins a new epoch. `on_round` is called on the
    /// writer's thread after every round and must not block.
    ///
    /// # Errors
    /// [`Error::Locked`] if another writer has it, [`Error::NotAVolume`], [`Error::Unsupported`], [`Error::Io`].
    pub fn open(
        path: &Path,
        options: WriterOptions,
        on_round: Box<dyn FnMut(RoundReport) + Send>,
    ) -> Result<Writer> {
        let (thread, info, opened) = WriterThread::start(path, options, on_round)?;
        Ok(Writer { thread, info, opened })
    }

    /// What the volume is.
    pub fn info(&self) -> &VolumeInfo {
        &self.info
    }

    /// What does the I/O.
    pub fn engine(&self) -> EngineKind {
        self.io().kind
    }

    /// The same with how many requests at once, and why.
    pub fn io(&self) -> &EngineInUse {
        self.thread.io()
    }

    /// What opening found.
    pub fn opened(&self) -> &OpenReport {
        &self.opened
    }

    /// The stream of this name, admitted if it is new. One `StreamWriter` a stream at a time.
    ///
    /// # Errors
    /// [`Error::StreamsFull`]; [`Error::Invalid`] if the stream is in use already; [`Error::Stopped`].
    pub fn stream(&self, name: &StreamName) -> Result<StreamWriter> {
        self.stream_as(name, None)
    }

    /// The same of a stream that is recorded elsewhere, too: one that is new here is given that identity. One of this name that is
    /// here already keeps the identity that it has, whatever is asked for; [`StreamWriter::id`] says which.
    ///
    /// # Errors
    /// As [`Writer::stream`]; [`Error::Invalid`] also where the identity is that of a stream which has another name here.
    pub fn stream_as(&self, name: &StreamName, id: Option<StreamId>) -> Result<StreamWriter> {
        self.stream_within(name, id, thread::ASK_PATIENCE)
    }

    /// The same where the disk may not answer: waits no longer than `patience`.
    ///
    /// # Errors
    /// As [`Writer::stream_as`]; [`Error::Io`] with `TimedOut` where it takes longer: nobody has the stream then.
    pub fn stream_within(
        &self,
        name: &StreamName,
        id: Option<StreamId>,
        patience: Duration,
    ) -> Result<StreamWriter> {
        let admitted = self.thread.admit(name, id, patience)?;
        Ok(StreamWriter {
            shared: Arc::clone(self.thread.shared()),
            index: admitted.index,
            id: admitted.id,
            name: name.clone(),
            last_recorded: admitted.last_recorded,
            configuration_bytes_max: self.info.block_bytes as usize / 16,
            configured: None,
            run: None,
            anchored: BTreeSet::new(),
            pending: Pending::default(),
            tail: admitted.tail,
        })
    }

    /// Admits those of these streams that may be, as [`Writer::stream_as`] would one by one, but at the cost of one: for many that are about
    /// to be recorded. Who is not told of here is refused there. Waits no longer than `patience`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Stopped`].
    pub fn admit_all(&self, streams: Vec<(StreamName, Option<StreamId>)>, patience: Duration) -> Result<()> {
        self.thread.shared().ask_for(patience, |answer| thread::Ask::AdmitAll(streams, answer))
    }

    /// Holds a range of a stream: the ring does not overwrite it until the hold is lifted or expires. When this returns, the
    /// hold survives any crash. A range that reaches into the future is held as it is recorded, with room set aside for it by
    /// the stream's bit rate; if that is not enough and there is no more, the hold ends there and says so. It waits for the
    /// writer's thread: a round or two, a minute at most where the disk does not answer; what was waited for in vain is not begun any more,
    /// or lifted again as soon as it is made.
    ///
    /// # Errors
    /// [`Error::NoSuchStream`]; [`Error::NotRecorded`] if nothing is there and nothing is to come; [`Error::NoRoomToHold`];
    /// [`Error::HoldsFull`]; [`Error::Invalid`] for a label too long, an empty range, an expiry in the past; [`Error::Io`],
    /// after which the hold may or may not stand; [`Error::Stopped`].
    pub fn add_hold(&self, request: HoldRequest) -> Result<Hold> {
        self.thread.shared().ask(|answer| thread::Ask::Hold(request, answer))
    }

    /// Lifts a hold: its footage is overwritten in its turn. Returns what it was.
    ///
    /// # Errors
    /// [`Error::NoSuchHold`]; [`Error::Io`], after which the hold may or may not stand; [`Error::Stopped`].
    pub fn lift_hold(&self, id: HoldId) -> Result<Hold> {
        self.thread.shared().ask(|answer| thread::Ask::Lift(id, answer))
    }

    /// Says how long a stream's footage stays. When this returns, it survives any crash; the same settings again write
    /// nothing. A quota that is exceeded is come down to with the blocks that are taken next.
    ///
    /// # Errors
    /// [`Error::NoSuchStream`]; [`Error::Invalid`] (see [`crate::Retention::invalid`]); [`Error::Io`], after which either may
    /// be in force; [`Error::Stopped`].
    pub fn set_retention(&self, request: RetentionRequest) -> Result<()> {
        self.holder().set_retention(request)
    }

    /// Erases a range of a stream: all chunks with samples in it are overwritten, to the second. Returns once that is flushed:
    /// then nothing brings it back, neither a crash nor a rebuild from blocks. Takes as long as writing that much does, in
    /// small pieces between rounds. If it fails on the way, what was reached is erased and the rest is whole.
    ///
    /// # Errors
    /// [`Error::Held`]: a hold keeps some of it, nothing is erased; [`Error::NotRecorded`]; [`Error::NoSuchStream`];
    /// [`Error::Erasing`]: another erasure is under way; [`Error::Invalid`]; [`Error::Io`]; [`Error::Stopped`].
    pub fn erase(&self, request: EraseRequest) -> Result<Erased> {
        self.holder().erase(request)
    }

    /// What others than the owner of the writer may change: holds, retention, what is erased.
    pub fn holder(&self) -> Holder {
        Holder { shared: Arc::clone(self.thread.shared()) }
    }

    /// Writes and flushes everything, parks every stream, releases the volume.
    ///
    /// # Errors
    /// [`Error::Io`] if the last samples could not be written.
    pub fn close(mut self) -> Result<()> {
        self.thread.close()
    }
}

/// Changes what a volume that is being written keeps, and reaches the tails of its streams, from any thread.
#[derive(Clone)]
pub struct Holder {
    shared: Arc<Shared>,
}

impl Holder {
    /// As [`Writer::add_hold`].
    ///
    /// # Errors
    /// As there.
    pub fn add(&self, request: HoldRequest) -> Result<Hold> {
        self.shared.ask(|answer| thread::Ask::Hold(request, answer))
    }

    /// As [`Writer::lift_hold`].
    ///
    /// # Errors
    /// As there.
    pub fn lift(&self, id: HoldId) -> Result<Hold> {
        self.shared.ask(|answer| thread::Ask::Lift(id, answer))
    }

    /// As [`Writer::erase`].
    ///
    /// # Errors
    /// As there.
    pub fn erase(&self, request: EraseRequest) -> Result<Erased> {
        self.shared.ask_for(thread::ERASE_PATIENCE, |answer| thread::Ask::Erase(request, answer))
    }

    /// The newest samples of a stream from memory, as [`StreamWriter::tail`] gives them to who records it; `None` if the stream
    /// was not recorded since the volume was opened. It outlives the stream's writer: it ends with it, and goes on with the next.
    pub fn tail(&self, stream: &StreamName) -> Option<Tail> {
        self.shared.tail(stream).map(Tail::new)
    }

    /// As [`Writer::set_retention`].
    ///
    /// # Errors
    /// As there.
    pub fn set_retention(&self, request: RetentionRequest) -> Result<()> {
        let RetentionRequest { stream, retention } = request;
        self.change_retention(&stream, thread::ASK_PATIENCE, move |_| retention)
    }

    /// The same where what is to be depends on what is; waits no longer than `patience`.
    ///
    /// # Errors
    /// As [`Writer::set_retention`].
    pub fn change_retention(
        &self,
        stream: &StreamName,
        patience: Duration,
        change: impl FnOnce(Retention) -> Retention + Send + 'static,
    ) -> Result<()> {
        let change = Box::new(change);
        self.shared.ask_for(patience, |answer| thread::Ask::Retain(stream.clone(), change, answer))
    }
}

/// The way into one stream. Nothing here blocks. Dropping it parks the stream.
pub struct StreamWriter {
    shared: Arc<Shared>,
    index: usize,
    id: StreamId,
    name: StreamName,
    last_recorded: Option<WallTime>,
    configuration_bytes_max: usize,
    configured: Option<(ConfigurationHash, BTreeSet<TrackNumber>)>,
    run: Option<RunId>,
    anchored: BTreeSet<TrackNumber>,
    pending: Pending,
    tail: Arc<TailBuffer>,
}

/// What applies to the next sample. It goes out with that sample: while the queue is full it is replaced, never piled up.
#[derive(Default)]
struct Pending {
    configuration: Option<(Arc<StoredConfiguration>, Configuration)>,
    run: Option<RunId>,
    anchors: BTreeMap<TrackNumber, Anchor>,
}

impl StreamWriter {
    /// The stream's identity.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// The latest moment that stood in the stream when this handle was made.
    pub fn last_recorded(&self) -> Option<WallTime> {
        self.last_recorded
    }

    /// What the following samples need. Repeating the same configuration costs nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it cannot be stored (see [`Configuration::invalid`]) or is larger than 1/16 of a block.
    pub fn configure(&mut self, configuration: &Configuration) -> Result<ConfigurationHash> {
        if let Some(why) = configuration.invalid() {
            return Err(Error::Invalid(format!(
                "the configuration of {} cannot be stored: {why}",
                self.name
            )));
        }
        let (bytes, hash) = configuration.stored();
        if bytes.len() > self.configuration_bytes_max {
            return Err(Error::Invalid(format!(
                "the configuration of {} has {} bytes, a volume with these blocks takes {}",
                self.name,
                bytes.len(),
                self.configuration_bytes_max
            )));
        }
        if self.configured.as_ref().is_some_and(|(current, _)| *current == hash) {
            return Ok(hash);
        }
        let video = configuration
            .tracks
            .iter()
            .filter(|track| track.kind == TrackKind::Video)
            .map(|track| track.track);
        let stored = StoredConfiguration { bytes, hash, video: video.collect() };
        self.configured = Some((hash, configuration.tracks.iter().map(|track| track.track).collect()));
        self.pending.configuration = Some((Arc::new(stored), configuration.clone()));
        Ok(hash)
    }

    /// Following samples belong to a new run; their ticks count from its begin. Anchors of the run before are forgotten:
    /// give the new run's anchor for each track before its first sample.
    pub fn begin_run(&mut self, run: RunId) {
        self.run = Some(run);
        self.anchored.clear();
        self.pending.run = Some(run);
        self.pending.anchors.clear();
    }

    /// The clock anchor of a track for the following samples.
    pub fn anchor(&mut self, anchor: Anchor) {
        if anchor.timescale > 0 {
            self.anchored.insert(anchor.track);
            self.pending.anchors.insert(anchor.track, anchor);
        }
    }

    /// Takes a sample, in decode order.
    ///
    /// # Errors
    /// [`Rejected`]; the sample is not recorded then.
    pub fn push(&mut self, sample: Sample) -> std::result::Result<(), Rejected> {
        self.give(sample, room::Standing::Own)
    }

    fn give(&mut self, sample: Sample, standing: room::Standing) -> std::result::Result<(), Rejected> {
        let bytes = sample.len();
        let configured = self.configured.as_ref().is_some_and(|(_, tracks)| tracks.contains(&sample.track));
        if !configured || self.run.is_none() || !self.anchored.contains(&sample.track) {
            return Err(Rejected::NotConfigured);
        }
        if bytes == 0 || bytes > SAMPLE_BYTES_MAX {
            return Err(Rejected::Size);
        }
        self.shared.send_sample(self.index, &mut self.pending, sample, &self.tail, standing)
    }

    /// The newest samples of this stream from memory, for readers in this process.
    pub fn tail(&self) -> Tail {
        Tail::new(Arc::clone(&self.tail))
    }

    /// Whether a reader in this process has waited for what is recorded next ([`Tail::follow`]) since this was asked last.
    pub fn was_waited_for(&self) -> bool {
        self.tail.was_waited_for()
    }

    /// Records a gap.
    pub fn gap(&mut self, gap: &Gap) {
        self.tail.gap(gap);
        self.shared.send_gap(self.index, gap);
    }

    /// Everything so far goes out with the next round and the block is parked until the next sample comes.
    pub fn park(&mut self) {
        self.shared.send_park(self.index);
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.shared.release(self.index);
    }
}
