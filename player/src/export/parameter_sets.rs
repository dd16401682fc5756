//! Whether samples recorded under two configurations can share one track of one file.
//!
//! They can when everything but the parameter sets is equal and one configuration has all parameter sets of the other,
//! byte for byte: then the larger one initialises a decoder for both. Pure.

use crate::codec_private::{avc_sets, hevc_sets};
use keha_fs::{Configuration, TrackConfiguration};

/// How a configuration relates to the one a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The file's covers it.
    Covered,
    /// It covers the file's, and takes its place.
    Extends,
    /// They cannot share a file.
    Differs(&'static str),
}

/// How `new` relates to `old`.
pub(crate) fn relate(old: &Configuration, new: &Configuration) -> Relation {
    if old.tracks.len() != new.tracks.len() {
        return Relation::Differs("the tracks changed");
    }
    let (mut covered, mut extends) = (true, true);
    for new in &new.tracks {
        let Some(old) = old.track(new.track) else { return Relation::Differs("the tracks changed") };
        match relate_tracks(old, new) {
            Ok((old_has_all, new_has_all)) => {
                covered &= old_has_all;
                extends &= new_has_all;
            }
            Err(why) => return Relation::Differs(why),
        }
    }
    match (covered, extends) {
        (true, _) => Relation::Covered,
        (false, true) => Relation::Extends,
        (false, false) => Relation::Differs("the parameter sets changed"),
    }
}

/// Whether the old track has all that the new one has, and the reverse.
fn relate_tracks(old: &TrackConfiguration, new: &TrackConfiguration) -> Result<(bool, bool), &'static str> {
    if old.codec != new.codec || old.kind != new.kind {
        return Err("the codec changed");
    }
    if (old.width, old.height) != (new.width, new.height) {
        return Err("the picture's size changed");
    }
    if (old.timescale, old.channels, old.sample_rate) != (new.timescale, new.channels, new.sample_rate) {
        return Err("the clock or the sound format changed");
    }
    if old.private == new.private {
        return Ok((true, true));
    }
    let sets = match &old.codec {
        b"avc1" | b"avc3" => avc_sets,
        b"hvc1" | b"hev1" => hevc_sets,
        _ => return Err("the decoder configuration changed"),
    };
    let (Some((old_fixed, old_sets)), Some((new_fixed, new_sets))) = (sets(&old.private), sets(&new.private))
    else {
        return Err("the decoder configuration changed");
    };
    if old_fixed != new_fixed {
        return Err("the profile, level or length size changed");
    }
    Ok((new_sets.is_subset(&old_sets), old_sets.is_subset(&new_sets)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::{TrackKind, TrackNumber};

    fn avcc(sps: &[&[u8]], pps: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![1, 100, 0, 31, 0xff, 0xe0 | sps.len() as u8];
        for set in sps {
            out.extend((set.len() as u16).to_be_bytes());
            out.extend(*set);
        }
        out.push(pps.len() as u8);
        for set in pps {
            out.extend((set.len() as u16).to_be_bytes());
            out.extend(*set);
        }
        out.extend([0xfd, 0xf8, 0xf8, 0]);
        out
    }

    fn hvcc(sets: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = vec![1; 21];
        out.extend([0x0f, sets.len() as u8]);
        for (kind, set) in sets {
            out.extend([*kind, 0, 1]);
            out.extend((set.len() as u16).to_be_bytes());
            out.extend(*set);
        }
        out
    }

    fn video(codec: &[u8; 4], private: Vec<u8>) -> Configuration {
        let track = TrackConfiguration {
            track: TrackNumber(1),
            kind: TrackKind::Video,
            codec: *codec,
            timescale: 90_000,
            width: 640,
            height: 360,
            channels: 0,
            sample_rate: 0,
            private,
        };
        Configuration { tracks: vec![track], session: Vec::new() }
    }

    #[test]
    fn a_configuration_that_only_adds_parameter_sets_extends_and_is_covered_back() {
        let one = video(b"avc1", avcc(&[b"sps"], &[b"pps0"]));
        let two = video(b"avc1", avcc(&[b"sps"], &[b"pps0", b"pps1"]));
        assert_eq!(relate(&one, &one), Relation::Covered);
        assert_eq!(relate(&one, &two), Relation::Extends);
        assert_eq!(relate(&two, &one), Relation::Covered);
        let one = video(b"hvc1", hvcc(&[(32, b"vps"), (33, b"sps"), (34, b"pps")]));
        let two = video(b"hvc1", hvcc(&[(32, b"vps"), (33, b"sps"), (34, b"pps"), (34, b"pps1")]));
        assert_eq!(relate(&one, &two), Relation::Extends);
        assert_eq!(relate(&two, &one), Relation::Covered);
    }

    #[test]
    fn a_changed_content_size_or_track_set_differs() {
        let one = video(b"avc1", avcc(&[b"sps"], &[b"pps0"]));
        let changed = video(b"avc1", avcc(&[b"sps"], &[b"PPS0"]));
        assert_eq!(relate(&one, &changed), Relation::Differs("the parameter sets changed"));
        let mut larger = one.clone();
        larger.tracks[0].width = 1280;
        assert_eq!(relate(&one, &larger), Relation::Differs("the picture's size changed"));
        let mut more = one.clone();
        more.tracks.push(TrackConfiguration { track: TrackNumber(2), ..one.tracks[0].clone() });
        assert_eq!(relate(&one, &more), Relation::Differs("the tracks changed"));
        assert!(matches!(relate(&one, &video(b"hvc1", hvcc(&[]))), Relation::Differs(_)));
    }

    #[test]
    fn a_record_cut_anywhere_is_a_difference_and_no_panic() {
        let whole = avcc(&[b"sps"], &[b"pps0"]);
        for length in 0..15 {
            let cut = video(b"avc1", whole[..length].to_vec());
            assert!(matches!(relate(&video(b"avc1", whole.clone()), &cut), Relation::Differs(_)), "{length}");
        }
    }
}
