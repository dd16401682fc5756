//! Footage as a stream of bytes: one or several streams of a range as one Matroska, MP4 or fragmented MP4 file, for a server.
//!
//! First [`prepare`], from the volume's tables alone: it chooses the samples (those that an export of the range has), says which parts
//! the footage falls into, and gives a [`Prepared`] that names a file without holding it. Then [`Prepared::write`], as often as is
//! asked, for any range of the file's bytes, in this process or another one that prepared the same.
//!
//! Invariants:
//! - The same [`Prepared::entity_tag`] means the same bytes. No clock and no chance goes into them: what identities a file needs
//!   are made from the tag.
//! - What is written is what was prepared, or an error. A sample is found again by its chunk's number and the checksum of the chunk's
//!   header, which covers all of the chunk; the volume verifies its bytes; its length is what the layout says. What the ring took,
//!   what was erased or got past its age, and what does not verify, breaks the writing off.
//! - One file has one description of each track. Footage goes on in it over any number of gaps, of recorder restarts and of
//!   configurations that only add parameter sets. What no file can hold (another codec, another size of picture, other parameter
//!   sets, a clock that was set back, a pause longer than MP4 can say) begins the next part. All formats have the same parts.
//! - Footage of one stream may stand in several volumes ([`prepare_of`]): a file goes on from one into the other as it goes on over runs
//!   (`across`).
//! - All tracks are on one clock, the wall clock of the recording. Time zero is the part's earliest moment; in
//!   fragmented MP4, before it by as much as pictures are reordered.
//!
//! Memory: what is prepared costs 24 bytes a chunk and track; MP4, 4 bytes a sample and its head beside. Writing holds a second of
//! footage and a chunk of each stream.
//!
//! Ranges: an MP4's bytes are found where they are asked for. The other two formats have no table of their length in advance:
//! [`Prepared::measure_while`] tells it, and leaves [`Marks`]. A range is made from the last mark before it, or from the beginning where
//! there are none, and what lies before it is left out. The bytes are the same either way.
//!
//! What must not live here: HTTP, who may see what, keeping files.

mod across;
mod axis;
mod depth;
mod file;
mod fragments;
mod lane;
mod marks;
mod matroska;
mod out;
mod part;
mod planner;
mod prepared;
mod request;
mod standing;
mod stretches;
mod tag;
mod watched;

pub use marks::Marks;
pub use planner::FootagePart;
pub use prepared::{Measured, Prepared, Volumes, Written};
pub use request::{FootageRequest, Format};
pub use standing::Standing;

use crate::error::{Error, Result};
use crate::export::archive::{Listing, Streams};
use crate::export::feed::{Feed, Piece, Wanted};
use crate::export::{ExportRequest, nothing_recorded, streams_of};
use crate::library::Whole;
use across::Across;
use keha_fs::{SampleRow, StreamSummary, Volume};
use planner::Planner;
use watched::Watched;

/// Finds out what a request gives, from the volume's tables alone: no sample is read.
///
/// # Errors
/// [`Error::NotRecorded`] if no stream has anything in the range; [`Error::SeveralParts`] if the footage falls into parts and none was
/// chosen; [`Error::Invalid`] for a request that does not work out, or asks for more than one file can have; [`Error::Mp4`] if nothing
/// of it has a place in MP4; [`Error::Volume`].
pub fn prepare(volume: &Volume, request: &FootageRequest) -> Result<Prepared> {
    prepare_while(volume, request, &|| true)
}

/// The same for as long as `goes_on` says so, which is asked at every chunk.
///
/// # Errors
/// As [`prepare`]; [`Error::Cancelled`] where it does not go on.
pub fn prepare_while(
    volume: &Volume,
    request: &FootageRequest,
    goes_on: &dyn Fn() -> bool,
) -> Result<Prepared> {
    prepare_from(&Listing(volume), request, goes_on)
}

/// The same of streams of which several volumes may have something.
///
/// # Errors
/// As [`prepare_while`].
pub fn prepare_of(
    streams: &[Whole],
    request: &FootageRequest,
    goes_on: &dyn Fn() -> bool,
) -> Result<Prepared> {
    let archive = Across::of(streams);
    match archive.only() {
        Some(volume) => prepare_while(volume, request, goes_on),
        None => prepare_from(&archive, request, goes_on),
    }
}

fn prepare_from(
    archive: &dyn Streams,
    request: &FootageRequest,
    goes_on: &dyn Fn() -> bool,
) -> Result<Prepared> {
    let watched = Watched::new(archive, goes_on);
    let prepared = plan_from(&watched, request);
    // What it came to, it came to by the part of the footage that was looked at.
    if watched.is_stopped() { Err(Error::Cancelled) } else { prepared }
}

fn plan_from(archive: &dyn Streams, request: &FootageRequest) -> Result<Prepared> {
    let wanted = ExportRequest { streams: request.streams.clone(), range: request.range, run: None };
    let streams = streams_of(archive, &wanted)?;
    let mut feeds = Vec::with_capacity(streams.len());
    for stream in &streams {
        feeds.push(Rows::new(archive, stream.clone(), request)?);
    }
    if feeds.iter().all(|rows| rows.head.is_none()) {
        return Err(nothing_recorded(streams));
    }
    let mut planner = Planner::new(request, &streams)?;
    while let Some((lane, piece)) = next_row(&mut feeds)? {
        planner.push(lane, &piece)?;
    }
    planner.finish(&archive.places())
}

/// One stream's rows.
struct Rows<'a> {
    feed: Feed<'a, SampleRow>,
    head: Option<Piece<SampleRow>>,
}

impl<'a> Rows<'a> {
    fn new(archive: &'a dyn Streams, stream: StreamSummary, request: &FootageRequest) -> Result<Rows<'a>> {
        let wanted = Wanted { range: request.range, run: None };
        let mut feed = Feed::new(archive, stream, wanted)?;
        let head = feed.next()?;
        Ok(Rows { feed, head })
    }
}

/// The earliest row at the head of a stream: within a stream the order of recording is kept, as in an export.
fn next_row(feeds: &mut [Rows<'_>]) -> Result<Option<(usize, Piece<SampleRow>)>> {
    let heads = feeds.iter().enumerate();
    let heads = heads.filter_map(|(lane, rows)| Some((rows.head.as_ref()?.sample.wall, lane)));
    let Some((_, lane)) = heads.min() else { return Ok(None) };
    let Some(rows) = feeds.get_mut(lane) else { return Ok(None) };
    let next = rows.feed.next()?;
    Ok(std::mem::replace(&mut rows.head, next).map(|piece| (lane, piece)))
}
