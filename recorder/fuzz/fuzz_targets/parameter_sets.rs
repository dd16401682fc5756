//! Parameter sets, AudioSpecificConfigs and session descriptions: alone, as a history, and as whole tracks.
#![no_main]

#[expect(dead_code, reason = "only the packets are used here, not the checks")]
mod packets;

use keha_recorder::codec::nal::VideoCodec;
use keha_recorder::codec::parameter_sets::ParameterSets;
use keha_recorder::codec::{aac, h264, h265, sdp};
use keha_recorder::depacketize::Track;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (h264::parse_sps(data), h264::parse_pps_ids(data), aac::parse(data));
    let _ = (h265::parse_sps(data), h265::parse_pps_ids(data), h265::parse_vps_id(data));
    for codec in [VideoCodec::H264, VideoCodec::H265] {
        let mut sets = ParameterSets::new(codec);
        for packet in packets::packets(data) {
            sets.begin_unit();
            let _ = sets.observe(&packet.payload);
            sets.end_unit();
            let _ = (sets.format(None, 90_000), sets.frame_rate_milli());
        }
    }
    for media in sdp::parse(data) {
        if let Ok(mut track) = Track::new(&media) {
            for packet in packets::packets(data) {
                track.push(packet, &mut drop);
            }
            track.finish(&mut drop);
        }
    }
});
