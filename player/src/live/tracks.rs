//! Which tracks of a configuration go into the live stream, and where it can begin.
//!
//! The first picture track and the first sound track that MP4 can carry: browsers play no more of one source.

use crate::mp4::{ParameterSets, Track};
use keha_fs::{Configuration, SampleFlags, StoredSample, TrackKind, TrackNumber};

/// The tracks that are given, numbered from 1.
pub(super) fn chosen(configuration: &Configuration) -> Result<Vec<(TrackNumber, Track)>, String> {
    let (mut chosen, mut refused) = (Vec::<(TrackNumber, Track)>::new(), Vec::new());
    for kind in [TrackKind::Video, TrackKind::Audio] {
        for track in configuration.tracks.iter().filter(|track| track.kind == kind) {
            let id = u32::try_from(chosen.len()).unwrap_or(u32::MAX).saturating_add(1);
            match Track::new(id, track, ParameterSets::SampleEntry) {
                Ok(made) => {
                    chosen.push((track.track, made));
                    break;
                }
                Err(error) => refused.push(error.to_string()),
            }
        }
    }
    match (chosen.is_empty(), refused.is_empty()) {
        (false, _) => Ok(chosen),
        (true, false) => Err(refused.join("; ")),
        (true, true) => Err("the stream has neither pictures nor sound".to_owned()),
    }
}

/// What a sample is where a viewer might begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Decoding can begin here.
    Begins,
    /// It needs what came before.
    Needs,
    /// Sound, where there are pictures: it decides nothing.
    Beside,
}

/// What a sample of these tracks is.
pub(super) fn entry(tracks: &[(TrackNumber, Track)], sample: &StoredSample) -> Entry {
    let video = tracks.iter().find(|(_, track)| track.kind() == TrackKind::Video);
    let mine = tracks.iter().any(|(number, _)| *number == sample.track);
    match video {
        _ if !mine => Entry::Beside,
        Some((number, _)) if *number != sample.track => Entry::Beside,
        _ if sample.flags.contains(SampleFlags::SYNC) => Entry::Begins,
        _ => Entry::Needs,
    }
}
