//! What can go wrong with an export, as variants a caller acts on. Every message says what, where, and what to do.

use crate::time::rfc3339;
use keha_fs::{StreamName, WallTime};
use std::path::PathBuf;

/// The result of a fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the player.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The volume refused or failed.
    #[error(transparent)]
    Volume(#[from] keha_fs::Error),
    /// None of the streams has anything in the range.
    #[error("nothing recorded in that range; available: {}", available_text(.available))]
    NotRecorded {
        /// What each stream asked for has, if anything.
        available: Vec<(StreamName, Option<(WallTime, WallTime)>)>,
    },
    /// The ring passed the export: what it was reading is gone. What was written so far has been removed.
    #[error("{stream}: overwritten by newer footage while it was exported{}; {}", read_up_to(.reached), available_from_text(.available_from))]
    Overwritten {
        /// Whose footage.
        stream: StreamName,
        /// How far the export had come.
        reached: Option<WallTime>,
        /// The first moment that is still there, if known.
        available_from: Option<WallTime>,
    },
    /// The footage does not fit into one file, and no part of it was chosen.
    #[error("the footage falls into {} parts ({}); choose one of them, or a shorter range", parts.len(), parts_text(parts))]
    SeveralParts {
        /// The parts, in the order of recording.
        parts: Vec<crate::footage::FootagePart>,
    },
    /// Footage is not what it was when a file of it was prepared: erased, past its age, or damaged since.
    #[error("{stream}: the footage is not what it was when the file was prepared{}: {why}; ask for it anew", read_up_to(.reached))]
    Changed {
        /// Whose footage.
        stream: StreamName,
        /// How far it was read.
        reached: Option<WallTime>,
        /// What was found.
        why: String,
    },
    /// A file that would be written is there already.
    #[error("{path}: already exists; choose another name or use --force")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused or failed an operation on an output.
    #[error("{path}: cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file; `-` is the standard output.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The request does not work out.
    #[error("{0}")]
    Invalid(String),
    /// A part of the container could not be encoded.
    #[error("cannot encode the Matroska {0}")]
    Container(String),
    /// Footage cannot be put into MP4, or not in that form.
    #[error("cannot make MP4 of {at}: {reason}")]
    Mp4 {
        /// Of what: a track, a sample, a file.
        at: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// There is too much to do already, or it is being shut down.
    #[error("{0}")]
    Busy(String),
    /// No segment or init segment has that name.
    #[error("no segment {name}: {reason}; load the playlist again")]
    NoSegment {
        /// What was asked for.
        name: String,
        /// Why there is none.
        reason: String,
    },
    /// A snapshot cannot be made.
    #[error("no snapshot: {0}")]
    Snapshot(String),
    /// A snapshot needs a program that is not installed.
    #[error(
        "no snapshot: {codec} pictures are decoded by the program {program}, which is not there; install it"
    )]
    NoDecoder {
        /// The codec of the pictures.
        codec: &'static str,
        /// The program.
        program: String,
    },
    /// The caller asked to stop. What was written so far has been removed.
    #[error("stopped before the end; nothing was kept")]
    Cancelled,
}

fn available_text(available: &[(StreamName, Option<(WallTime, WallTime)>)]) -> String {
    let each = available.iter().map(|(name, range)| match range {
        Some((first, last)) => format!("{name} from {} to {}", rfc3339(*first), rfc3339(*last)),
        None => format!("{name} has nothing"),
    });
    each.collect::<Vec<_>>().join(", ")
}

fn read_up_to(reached: &Option<WallTime>) -> String {
    reached.map_or(String::new(), |wall| format!(" (read up to {})", rfc3339(wall)))
}

fn available_from_text(from: &Option<WallTime>) -> String {
    match from {
        Some(wall) => format!("available from {}: export again from there", rfc3339(*wall)),
        None => "export again from a later moment".to_owned(),
    }
}

/// How many parts a message tells one by one.
const PARTS_NAMED_MAX: usize = 10;

fn parts_text(parts: &[crate::footage::FootagePart]) -> String {
    let each = parts.iter().zip(1..).take(PARTS_NAMED_MAX).map(|(part, number)| {
        let why = part.why.as_ref().map_or_else(String::new, |why| format!(", {why}"));
        format!("{number} from {} to {}{why}", rfc3339(part.from), rfc3339(part.to))
    });
    let more = if parts.len() > PARTS_NAMED_MAX { "; ..." } else { "" };
    each.collect::<Vec<_>>().join("; ") + more
}
