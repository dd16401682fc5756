//! What can go wrong, as far as a caller acts on it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the state directory could not be read or written.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the state directory does not hold what it should.
    #[error("{} is not usable: {why}; put its backup in its place, or move it away and begin without what it held", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the state directory is not known to be written.
    #[error("{} is not written: {why}; look at the disk of the state directory, and ask again", path.display())]
    Unkept {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// An address is not to be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A name, a password, a label or an address that cannot be accepted.
    #[error("{what}: {why}")]
    Refused {
        /// What was given.
        what: &'static str,
        /// What it should be.
        why: String,
    },
    /// There is one of that name already.
    #[error("{what} {name} exists already")]
    Exists {
        /// A user or a token.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no {what} {name}")]
    Unknown {
        /// A user or a token.
        what: &'static str,
        /// The name asked for.
        name: String,
    },
}

/// What comes of it.
pub type Result<T, E = Error> = std::result::Result<T, E>;
