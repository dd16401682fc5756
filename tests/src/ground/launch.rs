//! How `keha` is started where it is to have a volume: with which further arguments its recorder, with which rights, and where its control
//! socket is.
//!
//! It is kept for each volume by how that is named, because all commands of all suites name it: [`command`] finds it by the arguments.
//! Recorders alone are confined; whoever judges what they left is not.

use crate::process::keha_binary;
use anyhow::Result;
use nix::unistd::{Uid, chown};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How it is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    /// Further arguments of `keha record`.
    record: Vec<String>,
    /// With which rights the recorder runs: arguments of `tests/scripts/confined.py`.
    confined: Vec<String>,
    /// Where control sockets are, of the recorder and of whoever asks it.
    runtime: Option<Arc<RuntimeDir>>,
}

/// A directory for control sockets; gone when it is dropped.
#[derive(Debug)]
struct RuntimeDir(PathBuf);

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

static KNOWN: Mutex<Vec<(OsString, Launch)>> = Mutex::new(Vec::new());
static DIRECTORIES: AtomicUsize = AtomicUsize::new(0);

/// It is known as long as this lives.
pub(crate) struct Registered(OsString);

impl Drop for Registered {
    fn drop(&mut self) {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).retain(|(volume, _)| *volume != self.0);
    }
}

impl Launch {
    /// The recorder does its I/O so, or not at all.
    pub(crate) fn by_engine(engine: &str) -> Launch {
        Launch { record: vec!["--io-engine".to_owned(), engine.to_owned()], ..Launch::default() }
    }

    /// The recorder runs under `tests/scripts/confined.py`.
    pub(crate) fn confined(arguments: &[&str]) -> Launch {
        Launch { confined: arguments.iter().map(ToString::to_string).collect(), ..Launch::default() }
    }

    /// With control sockets in a directory of this user's, which root believes as well.
    pub(crate) fn with_runtime_dir_of(self, uid: u32) -> Result<Launch> {
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/run/keha-tests-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir)?;
        let runtime = Some(Arc::new(RuntimeDir(dir.clone())));
        chown(&dir, Some(Uid::from_raw(uid)), None)?;
        Ok(Launch { runtime, ..self })
    }

    /// From now on whoever names this volume is started so.
    pub(crate) fn register(self, volume: &Path) -> Registered {
        let volume = volume.as_os_str().to_owned();
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).push((volume.clone(), self));
        Registered(volume)
    }

    fn of(arguments: &[OsString]) -> Launch {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let named = known.iter().rev().find(|(volume, _)| arguments.contains(volume));
        named.map(|(_, launch)| launch.clone()).unwrap_or_default()
    }
}

/// A program under `tests/scripts/confined.py` with these arguments.
pub(crate) fn confined<A: AsRef<OsStr>>(arguments: &[A], program: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/confined.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).args(arguments).arg(program);
    command
}

/// The command `keha` with these arguments, as its volume's ground says.
///
/// # Errors
/// There is no binary.
pub(crate) fn command<A: AsRef<OsStr>>(arguments: &[A]) -> Result<Command> {
    let mut arguments: Vec<OsString> =
        arguments.iter().map(|argument| argument.as_ref().to_owned()).collect();
    let launch = Launch::of(&arguments);
    let records = arguments.first().is_some_and(|command| command == "record");
    let mut command = if records && !launch.confined.is_empty() {
        confined(&launch.confined, &keha_binary()?)
    } else {
        Command::new(keha_binary()?)
    };
    if records {
        arguments.extend(launch.record.iter().map(OsString::from));
    }
    command.args(arguments).env_remove("KEHA_VOLUME");
    if let Some(runtime) = &launch.runtime {
        command.env("KEHA_RUNTIME_DIR", &runtime.0);
    }
    Ok(command)
}
