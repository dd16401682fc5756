//! Configuration files: read whole, checked whole, every complaint one line with the file and the place in it.

pub(crate) mod cameras;
mod keys;
mod protected;
pub(crate) mod server;
#[cfg(test)]
mod server_tests;
