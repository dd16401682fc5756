//! Which parameter sets are current, when they change, and the record made of them.
//!
//! Promises:
//! - A set seen again with the same content changes nothing, however often it is sent.
//! - A new id is an addition: what was recorded before can be decoded with the new configuration as well.
//! - The same id with other content is a change, and stale sets go: **when a sequence parameter set changes, the
//!   picture parameter sets that refer to it and did not come in the same access unit are dropped, unless none came
//!   with it**, in which case the old ones still stand (some cameras resend only what changed, and a track without
//!   any would record nothing). A video parameter set is replaced and drops nothing.
//! - Memory is bounded: ids are bounded by the standards, a set is kept only up to [`SET_LEN_MAX`] bytes.
//! - Sets are kept byte for byte, but for remains of an Annex B stream around them (start codes, zero bytes behind).
//!
//! Must not live here: RTP, samples; what a field means (that is [`super::h264`] and [`super::h265`]).

use std::collections::BTreeMap;

use super::bits::trim_annex_b;
use super::nal::VideoCodec;
use super::{CodecError, TrackFormat, h264, h265};

/// The longest parameter set kept, in bytes. Real ones have 10 to 200.
pub const SET_LEN_MAX: usize = 8 << 10;

/// What a parameter set changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing: it was known.
    None,
    /// There is one more; everything known before still stands.
    Added,
    /// Something known before no longer stands.
    Changed,
}

/// The kinds of parameter sets, in the order of dependence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Video,
    Sequence,
    Picture,
}

/// One parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    nal: Vec<u8>,
    /// Id of the set that this one refers to.
    refers_to: u8,
    /// The access unit in which it last came.
    unit: u64,
    parsed: Parsed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Parsed {
    Sps264(h264::SequenceParameterSet),
    Sps265(h265::SequenceParameterSet),
    Other,
}

/// The parameter sets of one video track.
#[derive(Debug, Clone)]
pub struct ParameterSets {
    codec: VideoCodec,
    sets: BTreeMap<(Kind, u8), Set>,
    unit: u64,
    /// Sequence parameter sets that changed in the current access unit.
    changed: Vec<u8>,
    /// Counts changes of `sets`.
    revision: u64,
}

impl ParameterSets {
    /// No sets yet.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Self {
        Self { codec, sets: BTreeMap::new(), unit: 0, changed: Vec::new(), revision: 0 }
    }

    /// Begins an access unit: sets observed from here on came together.
    pub fn begin_unit(&mut self) {
        self.unit += 1;
        self.changed.clear();
    }

    /// Takes note of a parameter set, given from its NAL unit header on. NAL units of other types change nothing.
    ///
    /// # Errors
    ///
    /// [`CodecError`] for a set that cannot be read; what was known before stays.
    pub fn observe(&mut self, nal: &[u8]) -> Result<Change, CodecError> {
        let nal = trim_annex_b(nal);
        let Some((kind, id, refers_to, parsed)) = self.identify(nal)? else { return Ok(Change::None) };
        if nal.len() > SET_LEN_MAX {
            return Err(CodecError::TooLong { set: "parameter set", bytes: nal.len(), limit: SET_LEN_MAX });
        }
        let unit = self.unit;
        if let Some(known) = self.sets.get_mut(&(kind, id)).filter(|known| known.nal == nal) {
            known.unit = unit;
            return Ok(Change::None);
        }
        if self.codec == VideoCodec::H264 {
            self.check_room(kind, id)?;
        }
        let set = Set { nal: nal.to_vec(), refers_to, unit, parsed };
        self.revision += 1;
        let change = match self.sets.insert((kind, id), set) {
            Some(_) => Change::Changed,
            None => Change::Added,
        };
        if change == Change::Changed && kind == Kind::Sequence {
            self.changed.push(id);
        }
        Ok(change)
    }

    /// Ends an access unit: drops what a changed sequence parameter set left stale.
    pub fn end_unit(&mut self) {
        let unit = self.unit;
        for sps in std::mem::take(&mut self.changed) {
            let stale = |kind: Kind, set: &Set| kind == Kind::Picture && set.refers_to == sps;
            let resent = self.sets.iter().any(|((kind, _), set)| stale(*kind, set) && set.unit == unit);
            if resent {
                self.revision += 1;
                self.sets.retain(|(kind, _), set| !stale(*kind, set) || set.unit == unit);
            }
        }
    }

    /// avcC counts sequence parameter sets in 5 bits and picture parameter sets in 8.
    fn check_room(&self, kind: Kind, id: u8) -> Result<(), CodecError> {
        let (set, limit) = match kind {
            Kind::Sequence => ("sequence parameter set", 31),
            _ => ("picture parameter set", 255),
        };
        let others = self.sets.keys().filter(|key| key.0 == kind && key.1 != id).count();
        if others >= limit { Err(CodecError::TooMany { set, limit }) } else { Ok(()) }
    }

    fn identify(&self, nal: &[u8]) -> Result<Option<(Kind, u8, u8, Parsed)>, CodecError> {
        let header = nal.first().copied().unwrap_or(0);
        Ok(match (self.codec, header & 0x1f, header >> 1 & 0x3f) {
            (VideoCodec::H264, 7, _) => {
                let sps = h264::parse_sps(nal)?;
                Some((Kind::Sequence, sps.id, 0, Parsed::Sps264(sps)))
            }
            (VideoCodec::H264, 8, _) => {
                let (id, sps) = h264::parse_pps_ids(nal)?;
                Some((Kind::Picture, id, sps, Parsed::Other))
            }
            (VideoCodec::H265, _, 32) => Some((Kind::Video, h265::parse_vps_id(nal)?, 0, Parsed::Other)),
            (VideoCodec::H265, _, 33) => {
                let sps = h265::parse_sps(nal)?;
                Some((Kind::Sequence, sps.id, sps.video_parameter_set, Parsed::Sps265(sps)))
            }
            (VideoCodec::H265, _, 34) => {
                let (id, sps) = h265::parse_pps_ids(nal)?;
                Some((Kind::Picture, id, sps, Parsed::Other))
            }
            _ => None,
        })
    }

    /// What [`Self::format`] would be made from, cheap to compare: a revision of the sets and the id of the sequence
    /// parameter set in use.
    pub(crate) fn source(&self, pps: Option<u8>) -> Option<(u64, u8)> {
        self.picture(pps).map(|set| (self.revision, set.refers_to))
    }

    fn picture(&self, pps: Option<u8>) -> Option<&Set> {
        match pps {
            Some(id) => self.sets.get(&(Kind::Picture, id)),
            None => self.of_kind(Kind::Picture).next().map(|(_, set)| set),
        }
    }

    /// The format for pictures whose slices name picture parameter set `pps`; nothing while a set it needs is
    /// missing. `None` for a picture whose slice header could not be read: then the lowest one known is taken.
    ///
    /// The record holds all sets, the sequence parameter set in use first.
    #[must_use]
    pub fn format(&self, pps: Option<u8>, timescale: u32) -> Option<TrackFormat> {
        let picture = self.picture(pps)?;
        let active = self.sets.get(&(Kind::Sequence, picture.refers_to))?;
        let sps_in_use_first = self
            .of_kind(Kind::Sequence)
            .filter(|(id, _)| *id == picture.refers_to)
            .chain(self.of_kind(Kind::Sequence).filter(|(id, _)| *id != picture.refers_to))
            .map(|(_, set)| set.nal.as_slice())
            .collect::<Vec<_>>();
        let pps = self.of_kind(Kind::Picture).map(|(_, set)| set.nal.as_slice()).collect::<Vec<_>>();
        let (codec, width, height, private) = match &active.parsed {
            Parsed::Sps264(sps) => {
                (*b"avc1", sps.width, sps.height, h264::avcc(sps, &sps_in_use_first, &pps))
            }
            Parsed::Sps265(sps) => {
                self.sets.get(&(Kind::Video, sps.video_parameter_set))?;
                let vps = self.of_kind(Kind::Video).map(|(_, set)| set.nal.as_slice()).collect::<Vec<_>>();
                (*b"hvc1", sps.width, sps.height, h265::hvcc(sps, &vps, &sps_in_use_first, &pps))
            }
            Parsed::Other => return None,
        };
        Some(TrackFormat { codec, timescale, private, width, height, channels: 0, sample_rate: 0 })
    }

    /// Frames in a second times 1000, as the first H.264 sequence parameter set with a sound VUI claims: a hint.
    #[must_use]
    pub fn frame_rate_milli(&self) -> Option<u32> {
        self.of_kind(Kind::Sequence).find_map(|(_, set)| match &set.parsed {
            Parsed::Sps264(sps) => sps.frame_rate_milli,
            _ => None,
        })
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (u8, &Set)> {
        self.sets.iter().filter(move |(key, _)| key.0 == kind).map(|(key, set)| (key.1, set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 640x480 and 704x576, as cameras sent them; the picture parameter sets are cut to their ids.
    const SPS: &[u8] = &[0x67, 0x64, 0x00, 0x33, 0xac, 0x15, 0x14, 0xa0, 0xa0, 0x3d, 0x90];
    const OTHER_SPS: &[u8] = &[0x67, 0x4d, 0x40, 0x1f, 0x95, 0xa0, 0x2c, 0x04, 0x9a, 0x6c, 0x04];
    /// Ids (ue): pps 0, sps 0; pps 1, sps 0; pps 2, sps 0.
    const PPS: [&[u8]; 3] = [&[0x68, 0b1110_1110, 0x3c, 0x80], &[0x68, 0b0101_1000], &[0x68, 0b0111_1000]];

    fn known(nals: &[&[u8]]) -> ParameterSets {
        let mut sets = ParameterSets::new(VideoCodec::H264);
        unit(&mut sets, nals);
        sets
    }

    fn unit(sets: &mut ParameterSets, nals: &[&[u8]]) -> Change {
        sets.begin_unit();
        let change = nals.iter().map(|nal| sets.observe(nal).expect("valid")).max().unwrap_or(Change::None);
        sets.end_unit();
        change
    }

    fn count(sets: &ParameterSets) -> usize {
        sets.of_kind(Kind::Picture).count()
    }

    #[test]
    fn repeated_sets_change_nothing_even_with_zero_bytes_or_a_start_code_behind() {
        let mut sets = known(&[SPS, PPS[0]]);
        assert_eq!(unit(&mut sets, &[SPS, PPS[0]]), Change::None);
        let with_rest = [PPS[0], &[0, 0, 0, 1]].concat();
        assert_eq!(unit(&mut sets, &[&with_rest]), Change::None);
    }

    #[test]
    fn a_new_id_adds_and_new_content_changes() {
        let mut sets = known(&[SPS, PPS[0]]);
        assert_eq!(unit(&mut sets, &[PPS[1]]), Change::Added);
        assert_eq!(unit(&mut sets, &[&[0x68, 0b1110_1111]]), Change::Changed);
        assert_eq!(count(&sets), 2);
    }

    #[test]
    fn a_changed_sps_drops_the_pps_that_did_not_come_with_it() {
        let mut sets = known(&[SPS, PPS[0], PPS[1], PPS[2]]);
        assert_eq!(unit(&mut sets, &[OTHER_SPS, PPS[0], PPS[2]]), Change::Changed);
        assert_eq!(count(&sets), 2);
        let format = sets.format(Some(2), 90_000).expect("complete");
        assert_eq!((format.width, format.height), (704, 576));
        assert!(sets.format(Some(1), 90_000).is_none(), "the dropped set is missing");
    }

    #[test]
    fn a_changed_sps_alone_keeps_the_pps() {
        let mut sets = known(&[SPS, PPS[0], PPS[1]]);
        unit(&mut sets, &[OTHER_SPS]);
        assert_eq!(count(&sets), 2);
        assert!(sets.format(Some(0), 90_000).is_some());
    }

    #[test]
    fn unreadable_sets_are_errors_and_leave_the_known_ones() {
        let mut sets = known(&[SPS, PPS[0]]);
        let before = sets.format(None, 90_000);
        assert!(sets.observe(&[0x67, 0x64]).is_err());
        assert!(sets.observe(&[0x68]).is_err());
        let long = [PPS[1], &[0xff; SET_LEN_MAX]].concat();
        assert!(matches!(sets.observe(&long), Err(CodecError::TooLong { .. })));
        assert_eq!(sets.observe(&[]), Ok(Change::None));
        assert_eq!(sets.format(None, 90_000), before);
    }

    #[test]
    fn h265_is_complete_only_with_its_vps() {
        let mut sets = ParameterSets::new(VideoCodec::H265);
        let media = super::super::sdp::parse(
            b"m=video 0 RTP/AVP 98\r\na=fmtp:98 profile-id=1;sprop-sps=QgEBAWAAAAMAsAAAAwAAAwBaoAWCAeFja5JFL83BQYFBAAADAAEAAAMADKE=;sprop-pps=RAHA8saNA7NA;sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwBarAwAAAMABAAAAwAyqA==\r\n",
        );
        let nals: Vec<_> = media[0].parameter_sets().into_iter().map(|set| set.expect("base64")).collect();
        for nal in &nals[1..] {
            sets.observe(nal).expect("valid");
        }
        assert!(sets.format(Some(0), 90_000).is_none());
        sets.observe(&nals[0]).expect("valid");
        let format = sets.format(Some(0), 90_000).expect("complete");
        assert_eq!((&format.codec, format.width, format.height), (b"hvc1", 704, 480));
    }
}
