//! What can go wrong, as variants a caller acts on. Every message says what, where, and what to do.

use crate::types::{BlockIndex, HoldId, StreamName, VolumeId, WallTime};
use std::path::PathBuf;

/// The result of a fallible operation on a volume.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the filesystem.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused or failed an operation.
    #[error("{path}: cannot {operation}: {source}")]
    Io {
        /// What was tried: `open`, `read 4096 bytes at 8192` ...
        operation: String,
        /// On which file or device.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is no Keha volume here.
    #[error("{path}: not a Keha volume: {detail}; create one with `keha volume create`")]
    NotAVolume {
        /// The file or device.
        path: PathBuf,
        /// What was found instead.
        detail: String,
    },
    /// The volume is of a format this version cannot use in this way.
    #[error("{path}: {detail}; use a newer keha")]
    Unsupported {
        /// The file or device.
        path: PathBuf,
        /// Which feature or version.
        detail: String,
    },
    /// The end of the volume is missing.
    #[error(
        "{path}: the last {missing_bytes} bytes of the volume are cut off; what is there can be read and exported, not recorded to"
    )]
    CutShort {
        /// The file or device.
        path: PathBuf,
        /// How much is missing.
        missing_bytes: u64,
    },
    /// Another writer has the volume.
    #[error("{path}: already open for writing{holder}; stop that recorder first")]
    Locked {
        /// The file or device.
        path: PathBuf,
        /// ` by process N`, where the system tells.
        holder: String,
    },
    /// The system itself uses the device.
    #[error("{path}: in use: {by}; nothing can force this")]
    InUse {
        /// The device.
        path: PathBuf,
        /// For what: mounted where, swap, part of which other device.
        by: String,
    },
    /// The device is there, and must not be written as it is.
    #[error("{path}: {detail}")]
    NotSafe {
        /// The device.
        path: PathBuf,
        /// Why, and what to do.
        detail: String,
    },
    /// A partition or its device is not there, or more than one is.
    #[error("{path}: {detail}")]
    NoDevice {
        /// How it was named.
        path: PathBuf,
        /// What was found, and what to do.
        detail: String,
    },
    /// A device holds a volume that would be overwritten.
    #[error(
        "{path}: holds the volume {id}{detail}; to lose all of its footage give --overwrite {id}, exactly so"
    )]
    HoldsVolume {
        /// The device.
        path: PathBuf,
        /// The volume.
        id: VolumeId,
        /// ` (its label)`, or what is left of it.
        detail: String,
    },
    /// A file that would be created is there already.
    #[error("{path}: already exists; choose another name or remove it first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A size or option does not work out.
    #[error("{0}")]
    Invalid(String),
    /// Every place for streams is taken.
    #[error(
        "the volume has room for {streams_max} streams and all are taken; create a larger volume or one with --streams N"
    )]
    StreamsFull {
        /// Its capacity.
        streams_max: u32,
    },
    /// The holds leave no room for one stream more.
    #[error(
        "{held_blocks} blocks are held: what is left is too little for one stream more; lift a hold that is no longer needed (keha hold list)"
    )]
    HeldTooMuch {
        /// Blocks that are held.
        held_blocks: u32,
    },
    /// Every place for holds is taken.
    #[error(
        "the volume has room for {holds_max} holds and all are taken; lift one that is no longer needed (keha hold list)"
    )]
    HoldsFull {
        /// Its capacity.
        holds_max: u32,
    },
    /// So much cannot be held beside what is: recording needs the rest.
    #[error(
        "the range needs {needed_blocks} blocks more; of the {blocks_max} that may be held {held_blocks} are, and {reserved_blocks} are set aside for what is still to be recorded; hold less, or lift a hold (keha hold list)"
    )]
    NoRoomToHold {
        /// Blocks that the range would take beside those held already.
        needed_blocks: u32,
        /// Blocks that are held.
        held_blocks: u32,
        /// Blocks set aside for holds that still grow.
        reserved_blocks: u32,
        /// Blocks that may be held at most.
        blocks_max: u32,
    },
    /// A hold keeps some of what was to be erased.
    #[error("held by {id} ({label}): nothing is erased; lift the hold first (keha hold list)")]
    Held {
        /// The hold.
        id: HoldId,
        /// Who holds it, and why.
        label: String,
    },
    /// Some of what was to be erased could not be overwritten.
    #[error(
        "the disk refuses to write to block {block}: what was to be erased in it is given to nobody any more, but its bytes stand on the disk until they can be overwritten; erase again, or destroy the disk. The rest of the range is erased"
    )]
    NotOverwritten {
        /// The block.
        block: BlockIndex,
    },
    /// Of a block could not be told what of it was to be erased, or not be written down that it is.
    #[error(
        "block {block} cannot be read or is damaged, so that nobody can tell what of it lies in the range, or the disk refuses its row in the block table, or other footage lies between this and what of it could not be overwritten before: nothing of it is erased, the rest of the range is; erase again, or a range with all that the block holds (keha volume blocks)"
    )]
    NotErased {
        /// The block.
        block: BlockIndex,
    },
    /// Footage of a stream is being erased.
    #[error("footage of {stream} is being erased; try again when that is done")]
    Erasing {
        /// The stream asked about.
        stream: StreamName,
    },
    /// The volume has no such hold.
    #[error("no hold {id} in this volume; `keha hold list` shows those there are")]
    NoSuchHold {
        /// The identity asked for.
        id: HoldId,
    },
    /// The volume has no such stream.
    #[error("no stream {name} in this volume; it has: {available}")]
    NoSuchStream {
        /// The name asked for.
        name: StreamName,
        /// Those that are there, separated by commas.
        available: String,
    },
    /// The stream has nothing in the range.
    #[error("nothing recorded in that range")]
    NotRecorded {
        /// The first and last moment that is there, if any.
        available: Option<(WallTime, WallTime)>,
    },
    /// The ring has taken what was being read for newer footage.
    #[error("overwritten by newer footage while it was read")]
    Overwritten {
        /// The first moment that is still there, if known.
        available_from: Option<WallTime>,
    },
    /// Something on the volume does not verify.
    #[error("damaged: {what} at byte {at}")]
    Corrupt {
        /// Which structure.
        what: String,
        /// Where on the volume.
        at: u64,
    },
    /// The writer has stopped; the volume must be opened again.
    #[error("the volume's writer has stopped: {0}")]
    Stopped(String),
}

impl Error {
    /// An [`Error::Io`].
    pub fn io(operation: impl Into<String>, path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Io { operation: operation.into(), path: path.into(), source }
    }
}
