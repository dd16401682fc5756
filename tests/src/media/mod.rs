//! Clips for cameras to serve: what is in them is known to the last NAL unit.
//!
//! A clip is encoded once by ffmpeg, with settings that give the same bytes each time, and cached below the build
//! directory. Every coded picture of a clip is unique (asserted when it is made), so a lost, repeated or moved picture
//! cannot hide behind an equal one.
//!
//! Must not live here: serving ([`crate::server`]) and judging ([`crate::footage`]).

mod catalogue;
mod clip;
mod encode;
pub mod nal;
mod two_pps;

pub use catalogue::ClipKind;
pub use clip::{Clip, Codec, Sample, Track};
