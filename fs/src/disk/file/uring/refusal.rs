//! Why there is no io_uring to be had, in words that say what to do.

use std::fmt;
use std::io;

use nix::libc;

/// Where an administrator turns it off: 0 is allowed, 1 to the privileged only, 2 to nobody.
const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";

#[derive(Debug)]
pub(in crate::disk::file) enum Refusal {
    /// Setting up a ring is refused.
    Setup {
        source: io::Error,
        /// What stands in [`DISABLED`], if that is why.
        disabled: Option<String>,
    },
    /// It is there, but too old.
    Missing(&'static str),
    /// A ring was set up and cannot be used.
    Failed(io::Error),
}

impl Refusal {
    pub(super) fn of_setup(source: io::Error) -> Self {
        let disabled = std::fs::read_to_string(DISABLED).ok().map(|text| text.trim().to_owned());
        let is_why = source.raw_os_error() == Some(libc::EPERM);
        let disabled = disabled.filter(|text| is_why && text != "0");
        Self::Setup { source, disabled }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = "or let threads do the I/O";
        match self {
            Self::Setup { disabled: Some(value), .. } => {
                write!(formatter, "{DISABLED} is {value}: set it to 0, {threads}")
            }
            Self::Setup { source, .. } => match source.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => write!(
                    formatter,
                    "{source}: a filter of system calls forbids it, as containers and services have: allow io_uring_setup, io_uring_enter and io_uring_register, {threads}"
                ),
                Some(libc::ENOSYS) => {
                    write!(
                        formatter,
                        "this kernel has none, or hides it: Linux 5.11 or later is needed; {threads}"
                    )
                }
                Some(libc::ENOMEM) => write!(
                    formatter,
                    "{source}: raise the limit of locked memory (ulimit -l, LimitMEMLOCK= of a service), {threads}"
                ),
                _ => write!(formatter, "{source}; {threads}"),
            },
            Self::Missing(what) => {
                write!(formatter, "this kernel's is without {what}: Linux 5.11 or later is needed; {threads}")
            }
            Self::Failed(source) => {
                write!(
                    formatter,
                    "a ring was set up and cannot be used ({source}): allow io_uring_enter and io_uring_register, {threads}"
                )
            }
        }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match &refusal {
            Refusal::Setup { source, .. } | Refusal::Failed(source) => source.kind(),
            Refusal::Missing(_) => io::ErrorKind::Unsupported,
        };
        io::Error::new(kind, refusal.to_string())
    }
}
