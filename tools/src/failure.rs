//! The one place where an error becomes an exit status and a line.
//!
//! A command returns an [`Exit`] when it did its work, whatever it found, and an error when it could not. Every error is
//! shown as one line without secrets: what, where, what to do.

use crate::output::Unread;
use crate::secret;
use crate::units::time;
use jiff::tz::TimeZone;
use std::fmt;

/// How a command ended: the exit status is the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done, also after a clean stop.
    Done = 0,
    /// Could not be done.
    Failed = 1,
    /// Asked for in a wrong way.
    Usage = 2,
    /// Damage found, or the output is incomplete.
    Damaged = 3,
    /// Nothing there in that range.
    Nothing = 4,
}

/// An error of the command line itself.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The command was asked for in a wrong way.
    pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
        Failure { exit: Exit::Usage, message: message.into() }.into()
    }

    /// What another process says of its own failure, with the exit status it stands for there.
    pub(crate) fn of(exit: u8, message: impl Into<String>) -> anyhow::Error {
        let known = [Exit::Failed, Exit::Usage, Exit::Damaged, Exit::Nothing];
        let exit = known.into_iter().find(|known| *known as u8 == exit).unwrap_or(Exit::Failed);
        Failure { exit, message: message.into() }.into()
    }

    /// It could not be done.
    pub(crate) fn failed(message: impl Into<String>) -> anyhow::Error {
        Failure { exit: Exit::Failed, message: message.into() }.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit status that an error stands for.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(exit_of_cause).unwrap_or(Exit::Failed)
}

fn exit_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    if let Some(error) = cause.downcast_ref::<keha_fs::Error>() {
        return Some(exit_of_volume(error));
    }
    if let Some(error) = cause.downcast_ref::<keha_player::Error>() {
        return Some(exit_of_player(error));
    }
    if let Some(keha_api::Error::Refused { .. }) = cause.downcast_ref::<keha_api::Error>() {
        return Some(Exit::Usage);
    }
    // Another pipe that broke, such as the control socket, is a failure like any other.
    let unread = cause.downcast_ref::<std::io::Error>()?.get_ref()?.is::<Unread>();
    unread.then_some(Exit::Done)
}

fn exit_of_volume(error: &keha_fs::Error) -> Exit {
    match error {
        keha_fs::Error::NotRecorded { .. } => Exit::Nothing,
        keha_fs::Error::Overwritten { .. } | keha_fs::Error::Corrupt { .. } => Exit::Damaged,
        _ => Exit::Failed,
    }
}

fn exit_of_player(error: &keha_player::Error) -> Exit {
    match error {
        keha_player::Error::Volume(error) => exit_of_volume(error),
        keha_player::Error::NotRecorded { .. } => Exit::Nothing,
        keha_player::Error::Overwritten { .. } => Exit::Damaged,
        keha_player::Error::Invalid(_) => Exit::Usage,
        // Half an export in a pipe: whoever relies on the status must hear of it.
        keha_player::Error::Io { path, .. } if path.as_os_str() == "-" => Exit::Damaged,
        _ => Exit::Failed,
    }
}

/// An error as one line, without secrets.
pub(crate) fn line_of(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Many errors quote their cause already.
        if !line.ends_with(&cause) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&cause);
        }
    }
    let volume_error = error.chain().find_map(|cause| match cause.downcast_ref::<keha_player::Error>() {
        Some(keha_player::Error::Volume(error)) => Some(error),
        Some(_) => None,
        None => cause.downcast_ref::<keha_fs::Error>(),
    });
    if let Some(available) = volume_error.and_then(what_is_there) {
        line.push_str(&available);
    }
    one_line(&secret::mask(&line))
}

/// What is available instead, in local time: the filesystem knows no zones.
fn what_is_there(error: &keha_fs::Error) -> Option<String> {
    let zone = TimeZone::system();
    match error {
        keha_fs::Error::NotRecorded { available: Some((first, last)) } => {
            Some(format!("; recorded is {} to {}", time::local(*first, &zone), time::local(*last, &zone)))
        }
        keha_fs::Error::NotRecorded { available: None } => Some("; the stream has no footage yet".into()),
        keha_fs::Error::Overwritten { available_from: Some(first) } => {
            Some(format!("; what is still there begins at {}", time::local(*first, &zone)))
        }
        _ => None,
    }
}

/// Joins lines, so that one message is one line for whoever reads the log.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::of_stdout;
    use anyhow::Context;
    use keha_fs::WallTime;

    #[test]
    fn every_kind_of_error_has_its_exit_status() {
        let io = |kind: std::io::ErrorKind| anyhow::Error::new(std::io::Error::from(kind));
        for (error, exit) in [
            (Failure::usage("x"), Exit::Usage),
            (Failure::failed("x"), Exit::Failed),
            (anyhow::anyhow!("x"), Exit::Failed),
            (io(std::io::ErrorKind::NotFound), Exit::Failed),
            (io(std::io::ErrorKind::BrokenPipe), Exit::Failed),
            (anyhow::Error::new(of_stdout(std::io::ErrorKind::BrokenPipe.into())), Exit::Done),
            (keha_fs::Error::Invalid("x".into()).into(), Exit::Failed),
            (keha_fs::Error::NotRecorded { available: None }.into(), Exit::Nothing),
            (keha_fs::Error::Overwritten { available_from: None }.into(), Exit::Damaged),
            (keha_fs::Error::Corrupt { what: "x".into(), at: 0 }.into(), Exit::Damaged),
            (keha_fs::Error::Stopped("x".into()).into(), Exit::Failed),
            (keha_api::Error::Refused { what: "name", why: "x".into() }.into(), Exit::Usage),
            (keha_api::Error::Unknown { what: "user", name: "x".into() }.into(), Exit::Failed),
        ] {
            let error = Err::<(), _>(error).context("while testing").expect_err("an error");
            assert_eq!(exit_of(&error), exit, "{error:#}");
        }
    }

    #[test]
    fn an_error_of_an_export_counts_as_what_it_is_about() {
        let stream = keha_fs::StreamName::new("front").expect("a constant");
        let volume = |error: keha_fs::Error| keha_player::Error::Volume(error);
        let io = |path: &str| keha_player::Error::Io {
            operation: "write",
            path: path.into(),
            source: std::io::ErrorKind::BrokenPipe.into(),
        };
        for (error, exit) in [
            (volume(keha_fs::Error::NotRecorded { available: None }), Exit::Nothing),
            (volume(keha_fs::Error::Stopped("x".into())), Exit::Failed),
            (keha_player::Error::NotRecorded { available: Vec::new() }, Exit::Nothing),
            (keha_player::Error::Overwritten { stream, reached: None, available_from: None }, Exit::Damaged),
            (keha_player::Error::Exists { path: "a".into() }, Exit::Failed),
            (keha_player::Error::Invalid("x".into()), Exit::Usage),
            (keha_player::Error::Cancelled, Exit::Failed),
            (io("-"), Exit::Damaged),
            (io("out.mkv"), Exit::Failed),
        ] {
            let error = anyhow::Error::new(error);
            assert_eq!(exit_of(&error), exit, "{error:#}");
        }
    }

    #[test]
    fn an_error_is_one_line_without_secrets() {
        let error = anyhow::anyhow!("cannot open rtsp://u:p@h/\n  because of reasons\n").context("front");
        assert_eq!(line_of(&error), "front: cannot open rtsp://u:***@h/ because of reasons");
    }

    #[test]
    fn a_range_without_footage_says_what_there_is() {
        let available = Some((WallTime(0), WallTime(1_000_000_000)));
        let line = line_of(&keha_fs::Error::NotRecorded { available }.into());
        assert!(line.starts_with("nothing recorded in that range; recorded is 19"), "{line}");
    }
}
