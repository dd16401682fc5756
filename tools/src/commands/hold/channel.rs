//! The way to whoever writes the volume: the recorder behind its control socket, or a writer of our own where nobody records.

use crate::control::{Answer, HoldOrder, Request, client, path};
use crate::failure::Failure;
use anyhow::Context;
use keha_fs::{HoldId, HoldRequest, Volume, Writer, WriterOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A way to make and lift holds.
pub(super) enum Channel {
    Recorder(PathBuf),
    Own(Writer),
}

impl Channel {
    /// Finds out who writes the volume at `shown`.
    ///
    /// # Errors
    /// Someone does who cannot be asked, or the volume cannot be written.
    pub(super) fn open(volume: &Volume, shown: &Path) -> anyhow::Result<Channel> {
        for socket in path::candidates(&path::Environment::of_process(), volume.info().id) {
            match client::ask(&socket, &Request::Status) {
                Ok(_) => return Ok(Channel::Recorder(socket)),
                Err(error) if is_nobody(&error) => {}
                Err(error) => return Err(error).with_context(|| unanswered(&socket)),
            }
        }
        match Writer::open(shown, WriterOptions::default(), Box::new(|_| ())) {
            Ok(writer) => Ok(Channel::Own(writer)),
            Err(error @ keha_fs::Error::Locked { .. }) => Err(error).context(
                "the process that records cannot be asked: run this as its user, with its KEHA_RUNTIME_DIR",
            ),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a hold; it stands when this returns.
    pub(super) fn add(&self, request: &HoldRequest) -> anyhow::Result<HoldId> {
        match self {
            Channel::Recorder(socket) => ask(socket, &Request::HoldAdd(HoldOrder::new(request))),
            Channel::Own(writer) => Ok(writer.add_hold(request.clone())?.id),
        }
    }

    /// Lifts a hold.
    pub(super) fn lift(&self, id: HoldId) -> anyhow::Result<HoldId> {
        match self {
            Channel::Recorder(socket) => ask(socket, &Request::HoldLift { id: id.0 }),
            Channel::Own(writer) => Ok(writer.lift_hold(id)?.id),
        }
    }

    /// Leaves the volume as it was found: closed, or to its recorder.
    pub(super) fn close(self) -> anyhow::Result<()> {
        match self {
            Channel::Recorder(_) => Ok(()),
            Channel::Own(writer) => Ok(writer.close()?),
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn unanswered(socket: &Path) -> String {
    format!("{}: the recorder does not answer; keha hold list shows what stands", socket.display())
}

fn ask(socket: &Path, request: &Request) -> anyhow::Result<HoldId> {
    let answer = client::ask(socket, request).with_context(|| unanswered(socket))?;
    match serde_json::from_str(&answer) {
        Ok(Answer::Hold { id }) => Ok(HoldId(id)),
        Ok(Answer::Error { error, exit }) => Err(Failure::of(exit, error)),
        Err(_) => Err(Failure::failed(format!(
            "{}: the recorder answers in another language; is it of this version?",
            socket.display()
        ))),
    }
}
