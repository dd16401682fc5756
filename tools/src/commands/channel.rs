//! The way to whoever writes the volume: the recorder behind its control socket, or a writer of our own where nobody records.

use crate::control::client::{self, Found};
use crate::control::{Answer, EraseOrder, HoldOrder, Request, RetentionOrder};
use crate::failure::Failure;
use crate::opener::opener;
use anyhow::Context;
use keha_fs::{EraseRequest, Erased, HoldId, HoldRequest, RetentionRequest, Volume, Writer, WriterOptions};
use std::path::{Path, PathBuf};

/// A way to change what a volume keeps.
pub(crate) enum Channel {
    Recorder(PathBuf),
    Own(Writer),
}

impl Channel {
    /// Finds out who writes the volume at `shown`.
    ///
    /// # Errors
    /// Someone does who cannot be asked, or the volume cannot be written.
    pub(crate) fn open(volume: &Volume, shown: &Path, purpose: &str) -> anyhow::Result<Channel> {
        let silent = match client::find(volume.info().id) {
            Found::Recorder { socket, .. } => return Ok(Channel::Recorder(socket)),
            Found::Silent(why) => Some(why),
            Found::Nobody => None,
        };
        let options = WriterOptions { opener: opener(purpose), ..WriterOptions::default() };
        match Writer::open(shown, options, Box::new(|_| ())) {
            Ok(writer) => Ok(Channel::Own(writer)),
            Err(error @ keha_fs::Error::Locked { .. }) => {
                let why = silent.map(|why| format!(" ({why})")).unwrap_or_default();
                Err(error).context(format!(
                    "the process that records cannot be asked{why}: run this as its user, with its KEHA_RUNTIME_DIR"
                ))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a hold; it stands when this returns.
    pub(crate) fn add(&self, request: &HoldRequest) -> Result<HoldId, NotDone> {
        match self {
            Channel::Recorder(socket) => ask_hold(socket, &Request::HoldAdd(HoldOrder::new(request))),
            Channel::Own(writer) => Ok(writer.add_hold(request.clone())?.id),
        }
    }

    /// Lifts a hold.
    pub(crate) fn lift(&self, id: HoldId) -> Result<HoldId, NotDone> {
        match self {
            Channel::Recorder(socket) => ask_hold(socket, &Request::HoldLift { id: id.0 }),
            Channel::Own(writer) => Ok(writer.lift_hold(id)?.id),
        }
    }

    /// Says how long a stream's footage stays.
    pub(crate) fn set_retention(&self, request: &RetentionRequest) -> Result<(), NotDone> {
        match self {
            Channel::Recorder(socket) => {
                match ask(socket, &Request::StreamSet(RetentionOrder::new(request)))? {
                    Answer::Done {} => Ok(()),
                    _ => Err(other_language(socket)),
                }
            }
            Channel::Own(writer) => Ok(writer.set_retention(request.clone())?),
        }
    }

    /// Has a camera return to this volume.
    pub(crate) fn bring_home(&self, camera: &str) -> Result<(), NotDone> {
        match self {
            Channel::Recorder(socket) => {
                match ask(socket, &Request::CameraReturn { camera: camera.to_owned() })? {
                    Answer::Done {} => Ok(()),
                    _ => Err(other_language(socket)),
                }
            }
            Channel::Own(_) => Err(NotDone::Refused(Failure::failed(
                "nobody records into this volume: name the camera's own volume, while `keha serve` has it open",
            ))),
        }
    }

    /// Erases a range of a stream; it is overwritten when this returns.
    pub(crate) fn erase(&self, request: &EraseRequest) -> Result<Erased, NotDone> {
        match self {
            Channel::Recorder(socket) => match ask(socket, &Request::Erase(EraseOrder::new(request)))? {
                Answer::Erased(erased) => Ok(erased.into()),
                _ => Err(other_language(socket)),
            },
            Channel::Own(writer) => Ok(writer.erase(request.clone())?),
        }
    }

    /// Leaves the volume as it was found: closed, or to its recorder.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        match self {
            Channel::Recorder(_) => Ok(()),
            Channel::Own(writer) => Ok(writer.close()?),
        }
    }
}

/// A change that did not come about, as far as is known.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// It was refused: nothing changed.
    Refused(anyhow::Error),
    /// No answer came, or the disk failed on the way: it may have come about all the same.
    Unknown(anyhow::Error),
}

impl NotDone {
    /// As an error of the command: `refused` says what holds then, `see` where to look.
    pub(crate) fn into_error(self, refused: &str, see: &str) -> anyhow::Error {
        match self {
            NotDone::Refused(error) => error.context(refused.to_owned()),
            NotDone::Unknown(error) => {
                error.context(format!("whether it was done is not known; {see} shows what stands"))
            }
        }
    }
}

impl From<keha_fs::Error> for NotDone {
    fn from(error: keha_fs::Error) -> NotDone {
        match error {
            keha_fs::Error::Io { .. } | keha_fs::Error::Stopped(_) => NotDone::Unknown(error.into()),
            _ => NotDone::Refused(error.into()),
        }
    }
}

fn other_language(socket: &Path) -> NotDone {
    let place = socket.display();
    NotDone::Unknown(Failure::failed(format!(
        "{place}: the recorder answers in another language; is it of this version?"
    )))
}

fn ask_hold(socket: &Path, request: &Request) -> Result<HoldId, NotDone> {
    match ask(socket, request)? {
        Answer::Hold { id } => Ok(HoldId(id)),
        _ => Err(other_language(socket)),
    }
}

fn ask(socket: &Path, request: &Request) -> Result<Answer, NotDone> {
    let place = socket.display();
    let answer = client::ask(socket, request).map_err(|error| {
        NotDone::Unknown(Failure::failed(format!("{place}: the recorder does not answer: {error}")))
    })?;
    match serde_json::from_str(&answer) {
        Ok(Answer::Error { error, exit, known: true }) => Err(NotDone::Refused(Failure::of(exit, error))),
        Ok(Answer::Error { error, exit, known: false }) => Err(NotDone::Unknown(Failure::of(exit, error))),
        Ok(answer) => Ok(answer),
        Err(_) => Err(other_language(socket)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Exit, exit_of, line_of};
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_recorder_that_hangs_up_is_no_success_and_says_nothing_about_what_stands() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let socket = dir.path().join("a.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let hanging_up = std::thread::spawn(move || drop(listener.accept()));
        let error = ask(&socket, &Request::HoldLift { id: keha_fs::Uuid::from_u128(1) });
        let error = error.expect_err("nobody answered").into_error("nothing is held", "keha hold list");
        hanging_up.join().expect("it hung up");
        assert_eq!(exit_of(&error), Exit::Failed);
        let line = line_of(&error);
        assert!(line.contains("not known") && !line.contains("nothing is held"), "{line}");
    }
}
