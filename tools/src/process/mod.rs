//! The process as a whole: the signals that stop it and the service manager that watches it.

pub(crate) mod notify;
pub(crate) mod signals;
