//! Keha's HTTP interface. So far: who may do what ([`auth`]), and the files in which that is kept ([`state`]).
//!
//! What is recorded is reached through `keha-player` alone; cameras and holds are changed through a trait that this crate defines
//! and others implement.

#![forbid(unsafe_code)]

pub mod auth;
mod error;
pub mod state;

pub use error::{Error, Result};
