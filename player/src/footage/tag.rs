//! The entity tag: a hash over all that decides a file's bytes, so that equal tags mean equal bytes (RFC 9110, section 8.8.3).
//!
//! Over the samples it goes by way of the chunks they stand in: a chunk header's checksum covers the checksums of all its samples.
//! This program's version is in it, for another one may make other bytes.

use crate::footage::prepared::{Source, Stood};
use crate::footage::request::Format;
use blake3::Hasher;

/// The hash.
pub(super) fn tag(format: Format, part: usize, source: &Source) -> blake3::Hash {
    let mut hasher = Hasher::new();
    let mut put = |data: &[u8]| {
        hasher.update(&(data.len() as u64).to_le_bytes());
        hasher.update(data);
    };
    put(concat!("keha footage ", env!("CARGO_PKG_VERSION")).as_bytes());
    put(format!("{format:?} {part}").as_bytes());
    put(&source.from.0.to_le_bytes());
    put(&source.to.0.to_le_bytes());
    for stream in &source.streams {
        put(stream.id.0.as_bytes());
        put(stream.name.as_str().as_bytes());
        put(&(stream.pieces.len() as u64).to_le_bytes());
        for Stood { volume, id } in &stream.pieces {
            put(volume.0.as_bytes());
            put(id.0.as_bytes());
        }
    }
    for track in &source.tracks {
        put(&(track.lane as u64).to_le_bytes());
        // All of its fields, each in words that no other value has.
        put(format!("{:?}", track.configuration).as_bytes());
    }
    source.tracks.iter().for_each(|track| track.stretches.hash(&mut hasher));
    hasher.finalize()
}
