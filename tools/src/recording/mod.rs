//! One volume that is being recorded into: its writer, its recorder, its control socket, what is watched of it, and how it is
//! shown. `keha record`, `keha demo` and `keha serve` share it.
//!
//! A [`Live`] is used by many threads; a [`Watch`] belongs to whoever looks at it every second and takes its rounds.
//!
//! Must not live here: which cameras are recorded, and what a command does when a volume fails.

pub(crate) mod document;
mod holding;
mod lines;
mod reporter;
mod silence;
pub(crate) mod view;
mod watch;

pub(crate) use watch::{News, SILENT, Tick, Watch, answers_again};

use crate::control::server::Server;
use crate::control::{FileIdentity, Request, path};
use crate::opener::opener;
use crate::output;
use crate::output::document::{Moment, VolumeDocument};
use crate::units::io::Io;
use crate::units::retention::Wanted;
use anyhow::Context;
use document::{IoDocument, MovedDocument, OpenDocument, StatusDocument, StreamStatus};
use keha_fs::{Hold, HoldId, HoldRequest, Holder, RoundReport, VolumeInfo, Writer, WriterOptions};
use keha_recorder::{Camera, Recorder, StartError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use view::now;

/// A volume that is open for writing, with whoever records into it.
pub(crate) struct Live {
    path: PathBuf,
    pub(crate) writer: Writer,
    pub(crate) recorder: Recorder,
    status: Arc<Mutex<StatusDocument>>,
    control: Option<Server>,
}

/// Whoever has several volumes, for what is asked of one over its control socket.
pub(crate) trait Above: Send + Sync {
    /// Has a camera return to the volume that it is configured for.
    fn bring_home(&self, camera: &str) -> anyhow::Result<()>;

    /// Makes a hold in the volume.
    fn hold(&self, holder: &Holder, request: HoldRequest) -> anyhow::Result<Hold>;

    /// Lifts a hold of it.
    fn lift(&self, holder: &Holder, id: HoldId) -> anyhow::Result<Hold>;
}

/// How a volume is opened.
pub(crate) struct Opening<'a> {
    pub(crate) path: &'a Path,
    /// What for, as the volume notes it.
    pub(crate) purpose: &'a str,
    /// In which time all that is live is verified once; not at all if `None`.
    pub(crate) scrub: Option<Duration>,
    pub(crate) io: Io,
}

impl Live {
    /// Opens a volume and starts its recorder; nobody is answered yet.
    ///
    /// # Errors
    /// Those of opening and starting.
    pub(crate) fn open(
        opening: &Opening<'_>,
        start: impl FnOnce(&Writer) -> Result<Recorder, StartError>,
        on_round: Box<dyn FnMut(RoundReport) + Send>,
    ) -> anyhow::Result<Live> {
        let Opening { path, purpose, scrub, io: Io { engine, depth } } = *opening;
        let opener = opener(purpose);
        let options = WriterOptions { opener, scrub, engine, depth, ..WriterOptions::default() };
        let writer = Writer::open(path, options, on_round)?;
        let recorder = start(&writer)?;
        let (volume, opened) = (VolumeDocument::new(path, writer.info()), OpenDocument::new(writer.opened()));
        for finding in &writer.opened().findings {
            tracing::warn!(volume = %path.display(), what = finding.what, at = finding.at, detail = %finding.detail, "damage found while opening");
        }
        let mut status = StatusDocument::new(std::process::id(), Moment(now()), volume, opened);
        status.file = FileIdentity::of(path).ok();
        status.io = Some(IoDocument::new(writer.io()));
        status.streams = streams(recorder.status());
        let status = Arc::new(Mutex::new(status));
        Ok(Live { path: path.to_owned(), writer, recorder, status, control: None })
    }

    /// Answers `keha status` and whoever changes holds from here on, and has done what only those above it can do, where there are any.
    pub(crate) fn listen(&mut self, above: Option<Box<dyn Above>>) {
        match listen(self.writer.info(), Arc::clone(&self.status), self.writer.holder(), above) {
            Ok(server) => self.control = Some(server),
            // Footage matters more than being asked about it.
            Err(error) => output::say_always(&format!(
                "keha: no control socket, keha status and keha hold add will not work: {error:#}"
            )),
        }
    }

    /// What the volume is.
    pub(crate) fn volume(&self) -> VolumeDocument {
        VolumeDocument::new(&self.path, self.writer.info())
    }

    /// What opening found.
    pub(crate) fn opened(&self) -> OpenDocument {
        OpenDocument::new(self.writer.opened())
    }

    /// What each stream is doing.
    pub(crate) fn streams(&self) -> Vec<StreamStatus> {
        streams(self.recorder.status())
    }

    /// These cameras are recorded elsewhere than they are configured, and that concerns this volume: for `keha status`.
    pub(crate) fn set_moved(&self, moved: Vec<MovedDocument>) {
        self.status().moved = moved;
    }

    /// The answer to `keha status`.
    fn status(&self) -> MutexGuard<'_, StatusDocument> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how long the footage of a camera's streams stays, where that is given. Waits so long at most for each of them.
    ///
    /// # Errors
    /// Those of the volume.
    pub(crate) fn retain(&self, camera: &Camera, wanted: Wanted, patience: Duration) -> anyhow::Result<()> {
        if !wanted.is_any() {
            return Ok(());
        }
        let holder = self.writer.holder();
        for (name, _) in camera.streams() {
            holder.change_retention(name, patience, move |now| wanted.over(now))?;
        }
        Ok(())
    }

    /// [`Live::close`] where nobody waits for it, and the disk may never answer: who asks about this volume meanwhile asks its successor.
    pub(crate) fn leave_behind(mut self) -> keha_fs::Result<()> {
        self.control = None;
        self.close().1
    }

    /// Stops recording, writes everything out, releases the volume. Answers the last status of each stream, and whether all
    /// that was taken is on the disk.
    pub(crate) fn close(self) -> (Vec<StreamStatus>, keha_fs::Result<()>) {
        let Live { writer, recorder, control, .. } = self;
        let streams = streams(recorder.stop());
        let closed = writer.close();
        drop(control);
        (streams, closed)
    }
}

fn streams(snapshots: Vec<keha_recorder::StreamStatus>) -> Vec<StreamStatus> {
    snapshots.iter().map(StreamStatus::new).collect()
}

fn listen(
    volume: &VolumeInfo,
    status: Arc<Mutex<StatusDocument>>,
    holder: Holder,
    above: Option<Box<dyn Above>>,
) -> anyhow::Result<Server> {
    let dir = path::own_directory(&path::Environment::of_process())?;
    let socket = path::socket(&dir, volume.id)?;
    let answer = Box::new(move |request| match request {
        Request::Status => status.lock().unwrap_or_else(PoisonError::into_inner).render(),
        Request::HoldAdd(order) => holding::add(&holder, &order, above.as_deref()),
        Request::HoldLift { id } => holding::lift(&holder, id, above.as_deref()),
        Request::StreamSet(order) => holding::retain(&holder, &order),
        Request::Erase(order) => holding::erase(&holder, &order),
        Request::CameraReturn { camera } => holding::bring_home(above.as_deref(), &camera),
    });
    Server::start(&socket, answer).with_context(|| format!("{}", socket.display()))
}
