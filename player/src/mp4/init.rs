//! The beginning of a series of segments, and the parts of a `moov` that files share with it.

use crate::error::Result;
use crate::mp4::track::Track;
use crate::mp4::{failed, put};
use bytes::Bytes;
use keha_fs::TrackKind;
use mp4_atom::{
    Dinf, Dref, DrefEntry, FourCC, Ftyp, Hdlr, Matrix, Mdhd, Mdia, Minf, Moov, Mvex, Mvhd, Smhd, Stbl, Stco,
    Stsd, Tkhd, Trak, Trex, Url, Vmhd,
};
use std::collections::BTreeSet;

/// Ticks a second of a movie's own times: fine enough that edits of no common timescale are a hundredth of a frame off.
pub(crate) const MOVIE_TIMESCALE: u32 = 90_000;

/// The matrix that leaves pictures as they are, in 16.16 and 2.30 fixed point (ISO/IEC 14496-12, 8.2.2.1).
const UPRIGHT: Matrix = Matrix { a: 1 << 16, b: 0, u: 0, c: 0, d: 1 << 16, v: 0, x: 0, y: 0, w: 1 << 30 };

/// The init segment of these tracks: `ftyp`, and a `moov` without samples. The same tracks give the same bytes.
///
/// Errors: [`crate::Error::Mp4`] if there is no track, or two have one number.
pub fn init(tracks: &[Track]) -> Result<Bytes> {
    check(tracks)?;
    let trex = tracks.iter().map(|track| Trex {
        track_id: track.id,
        default_sample_description_index: 1,
        ..Trex::default()
    });
    let moov = Moov {
        mvhd: movie_header(tracks, 0),
        mvex: Some(Mvex { mehd: None, trex: trex.collect() }),
        trak: tracks
            .iter()
            .map(|track| trak(track, 0, 0, Stbl { stco: Some(Stco::default()), ..Stbl::default() }))
            .collect(),
        ..Moov::default()
    };
    let mut out = Vec::with_capacity(1024);
    let brands = [FourCC::new(b"iso6"), FourCC::new(b"mp41")];
    let ftyp = Ftyp { major_brand: FourCC::new(b"iso6"), minor_version: 0, compatible_brands: brands.into() };
    put(&mut out, &ftyp, "an init segment")?;
    put(&mut out, &moov, "an init segment")?;
    Ok(out.into())
}

/// An error if these tracks cannot stand in one file.
pub(crate) fn check(tracks: &[Track]) -> Result<()> {
    let ids: BTreeSet<u32> = tracks.iter().map(|track| track.id).collect();
    if tracks.is_empty() || ids.len() != tracks.len() {
        return Err(failed("the tracks", "there is none, or two have the same number; number them from 1"));
    }
    Ok(())
}

/// The movie header of these tracks; `duration` in ticks of [`MOVIE_TIMESCALE`].
pub(crate) fn movie_header(tracks: &[Track], duration: u64) -> Mvhd {
    Mvhd {
        timescale: MOVIE_TIMESCALE,
        duration,
        rate: 1.into(),
        volume: 1.into(),
        matrix: UPRIGHT,
        next_track_id: tracks.iter().map(|track| track.id).max().unwrap_or(0).saturating_add(1),
        ..Mvhd::default()
    }
}

/// A track's box, its sample description put into the table of its samples. `shown` is its duration in ticks of
/// [`MOVIE_TIMESCALE`], `lasts` in its own.
pub(crate) fn trak(track: &Track, shown: u64, lasts: u64, table: Stbl) -> Trak {
    let video = track.kind() == TrackKind::Video;
    let (width, height) = (track.configuration.width, track.configuration.height);
    let dref = Dref { entries: vec![DrefEntry::Url(Url::default())] };
    let (handler, name) = if video { (b"vide", "video") } else { (b"soun", "sound") };
    Trak {
        tkhd: Tkhd {
            track_id: track.id,
            duration: shown,
            enabled: true,
            in_movie: true,
            volume: u8::from(!video).into(),
            matrix: UPRIGHT,
            width: if video { width } else { 0 }.into(),
            height: if video { height } else { 0 }.into(),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd {
                timescale: track.timescale(),
                duration: lasts,
                language: "und".into(),
                ..Mdhd::default()
            },
            hdlr: Hdlr { handler: FourCC::new(handler), name: name.into() },
            minf: Minf {
                vmhd: video.then(Vmhd::default),
                smhd: (!video).then(Smhd::default),
                dinf: Dinf { dref },
                stbl: Stbl { stsd: Stsd { codecs: vec![track.entry.clone()] }, ..table },
                ..Minf::default()
            },
        },
        ..Trak::default()
    }
}
