//! Writing Matroska (RFC 9559, RFC 8794): header, clusters, cues and tags, onto a file or a pipe.
//!
//! Promises: samples go in byte for byte and in the order given; times are right to 50 µs ([`TICK_NS`] is the
//! timestamp scale); memory holds one cluster and the cues. Nothing here knows volumes, runs or manifests.

mod cluster;
mod codec;
mod cues;
mod ebml;
mod header;
mod interval;
mod muxer;
mod sink;
mod tags;
mod tree_hash;

pub(crate) use codec::is_supported;
pub(crate) use interval::IntervalMeter;
pub(crate) use muxer::{Finished, Muxer};
pub(crate) use sink::{FileSink, PipeSink, Sink};
pub(crate) use tags::{Tag, Tags};

use bytes::Bytes;
use keha_fs::{TrackConfiguration, WallTime};

/// The timestamp scale in nanoseconds: 100 µs. Finer than a millisecond so that 90 kHz times do not lose half of one, and
/// coarse enough that a cluster's 16-bit relative times span 3.2 s.
pub(crate) const TICK_NS: i64 = 100_000;

/// A track of the file.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its unique id.
    pub uid: u64,
    /// Its name for people.
    pub name: String,
    /// Whether players choose it by themselves.
    pub default: bool,
    /// Nanoseconds from sample to sample, where that is constant.
    pub default_duration_ns: Option<u64>,
    /// What it carries.
    pub configuration: TrackConfiguration,
}

/// A sample on its way into the file.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The number of its track in the file.
    pub track: u64,
    /// When it is presented.
    pub wall: WallTime,
    /// Decoding can start here.
    pub key: bool,
    /// No other sample needs it.
    pub discardable: bool,
    /// A place to seek to; a cluster begins here.
    pub cue: bool,
    /// Its bytes.
    pub data: Bytes,
}
