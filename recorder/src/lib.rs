//! Placeholder.
#![forbid(unsafe_code)]

pub mod codec;
pub mod depacketize;
