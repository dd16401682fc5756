//! Payloads of H265 through its depacketizer, with small limits so that they are met.
#![no_main]

mod packets;

use keha_recorder::depacketize::{Depacketizer, H265, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { sample_bytes: 2000, nal_units: 20, pieces: 30 };
    for limits in [Limits::default(), limits] {
        packets::run(Depacketizer::H265(H265::new(limits)), packets::packets(data), true);
    }
});
