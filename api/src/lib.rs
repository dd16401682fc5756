//! Keha's HTTP interface: who may do what ([`auth`]), the gate that every request passes, live and recorded footage, exports, holds,
//! cameras, what happened ([`events`]), and the files that outlive the server ([`state`], [`keeping`]).
//!
//! What is recorded is reached through `keha-player` alone; cameras and holds are changed through a trait that this crate defines
//! and others implement.

#![forbid(unsafe_code)]

mod app;
mod audit;
pub mod auth;
mod budget;
mod connections;
pub mod control;
mod discontinuities;
mod downloads;
mod error;
mod etag;
pub mod events;
mod export_making;
mod exports;
mod extract;
mod filed;
mod gate;
mod handover;
pub mod keeping;
mod lease;
mod live;
mod marks;
mod measuring;
mod media;
mod openapi;
mod placing;
mod prepared;
mod problem;
mod ranges;
mod routes;
mod server;
mod sockets;
pub mod state;
#[cfg(test)]
mod testing;

pub use connections::Certificate;
pub use error::{Error, Result};
pub use server::{Server, Services, Settings, Tls};
