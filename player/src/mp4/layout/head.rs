//! The head of a file: `ftyp`, `moov` with all sample tables, and the header of `mdat` (ISO/IEC 14496-12, 8.5 to 8.7).
//!
//! Offsets of chunks have 64 bits whatever the length, so a `moov` is as long with the right ones as without.

use crate::error::Result;
use crate::mp4::init::{MOVIE_TIMESCALE, movie_header, trak};
use crate::mp4::layout::Chunk;
use crate::mp4::layout::table::{Span, Table};
use crate::mp4::put;
use bytes::Bytes;
use mp4_atom::{
    Co64, Ctts, CttsEntry, Edts, Elst, ElstEntry, FourCC, Ftyp, Moov, Stbl, Stsc, StscEntry, Stss, Stsz,
    StszSamples, Stts, SttsEntry, Trak,
};

/// `mdat` with its length in 64 bits: size 1, type, length.
const MEDIA_HEADER_BYTES: usize = 16;

/// A track that has samples.
pub(crate) struct Laid {
    pub(crate) track: u32,
    pub(crate) span: Span,
}

/// The head of a file of these tracks and chunks.
pub(crate) fn encode(tables: &[Table], laid: &[Laid], chunks: &[Chunk], media_bytes: u64) -> Result<Bytes> {
    let at = "a file";
    let zero_ns =
        laid.iter().filter_map(|laid| begins_ns(tables.get(laid.track as usize)?, &laid.span)).min();
    let traks = laid.iter().filter_map(|laid| {
        Some(track_box(tables.get(laid.track as usize)?, laid, chunks, zero_ns.unwrap_or(0)))
    });
    let traks: Vec<Trak> = traks.collect();
    let duration = traks.iter().map(|trak| trak.tkhd.duration).max().unwrap_or(0);
    let tracks: Vec<_> = tables.iter().map(|table| table.track.clone()).collect();
    let mut moov = Moov { mvhd: movie_header(&tracks, duration), trak: traks, ..Moov::default() };

    let brands = [*b"isom", *b"iso2", *b"mp41"].map(|brand| FourCC::new(&brand));
    let ftyp =
        Ftyp { major_brand: FourCC::new(b"isom"), minor_version: 0x200, compatible_brands: brands.into() };
    let mut out = Vec::new();
    put(&mut out, &ftyp, at)?;
    let ftyp_bytes = out.len();
    put(&mut out, &moov, at)?;
    let head_bytes = (out.len() + MEDIA_HEADER_BYTES) as u64;
    let places = moov.trak.iter_mut().filter_map(|trak| trak.mdia.minf.stbl.co64.as_mut());
    places.flat_map(|places| places.entries.iter_mut()).for_each(|place| *place += head_bytes);
    out.truncate(ftyp_bytes);
    put(&mut out, &moov, at)?;
    out.extend(1u32.to_be_bytes());
    out.extend(b"mdat");
    out.extend((media_bytes + MEDIA_HEADER_BYTES as u64).to_be_bytes());
    out.shrink_to_fit();
    Ok(out.into())
}

fn track_box(table: &Table, laid: &Laid, chunks: &[Chunk], zero_ns: i128) -> Trak {
    let span = &laid.span;
    let own = chunks.iter().filter(|chunk| chunk.track == laid.track);
    let stbl = Stbl {
        stts: Stts {
            entries: table
                .deltas
                .runs
                .iter()
                .map(|(c, d)| SttsEntry { sample_count: *c, sample_delta: *d })
                .collect(),
        },
        ctts: composition(table, span),
        stss: table.track.has_sync_samples().then(|| Stss { entries: table.sync.clone() }),
        stsc: Stsc { entries: samples_to_chunks(own.clone()) },
        stsz: Stsz { samples: StszSamples::Different { sizes: table.sizes.clone() } },
        co64: Some(Co64 { entries: own.map(|chunk| chunk.at).collect() }),
        ..Stbl::default()
    };
    let delay = begins_ns(table, span).map_or(0, |begins| to_movie(begins - zero_ns, 1_000_000_000));
    let shown = to_movie(i128::from(span.shown), table.track.timescale());
    Trak { edts: edits(delay, shown, span), ..trak(&table.track, delay + shown, span.lasts, stbl) }
}

/// Composition offsets, shifted so that none is negative: older players know no others. The edit list takes the shift
/// back.
fn composition(table: &Table, span: &Span) -> Option<Ctts> {
    let shift = i64::try_from(span.shift).unwrap_or(i64::MAX);
    let entries = table.offsets.runs.iter().map(|(count, offset)| CttsEntry {
        sample_count: *count,
        sample_offset: i64::from(*offset).saturating_add(shift),
    });
    let entries: Vec<CttsEntry> = entries.collect();
    entries.iter().any(|entry| entry.sample_offset != 0).then_some(Ctts { entries })
}

/// A wait until the track begins, and where in its media it begins; `None` where both are zero.
fn edits(delay: u64, shown: u64, span: &Span) -> Option<Edts> {
    let wait = ElstEntry { segment_duration: delay, media_time: None, media_rate: 1.into() };
    let media =
        ElstEntry { segment_duration: shown, media_time: Some(span.media_time), media_rate: 1.into() };
    let entries: Vec<ElstEntry> = (delay > 0).then_some(wait).into_iter().chain([media]).collect();
    (delay > 0 || span.media_time > 0).then_some(Edts { elst: Some(Elst { entries }) })
}

fn samples_to_chunks<'a>(chunks: impl Iterator<Item = &'a Chunk>) -> Vec<StscEntry> {
    let mut entries: Vec<StscEntry> = Vec::new();
    for (number, chunk) in (1u32..).zip(chunks) {
        if entries.last().is_none_or(|last| last.samples_per_chunk != chunk.count) {
            entries.push(StscEntry {
                first_chunk: number,
                samples_per_chunk: chunk.count,
                sample_description_index: 1,
            });
        }
    }
    entries
}

fn begins_ns(table: &Table, span: &Span) -> Option<i128> {
    Some(i128::from(span.begins) * 1_000_000_000 / i128::from(table.track.timescale()))
}

/// Ticks of this timescale as ticks of the movie, rounded.
fn to_movie(ticks: i128, timescale: u32) -> u64 {
    let timescale = i128::from(timescale.max(1));
    u64::try_from((ticks * i128::from(MOVIE_TIMESCALE) + timescale / 2) / timescale).unwrap_or(0)
}
