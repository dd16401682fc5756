//! Payloads of AAC and G.711 through their depacketizers; the first bytes choose the layout of the AU headers.
#![no_main]

mod packets;

use keha_recorder::depacketize::{Aac, AacParameters, Depacketizer, G711};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([sizes, indexes, others], rest)) = data.split_first_chunk::<3>() else { return };
    let parameters = AacParameters {
        size_length: u32::from(sizes & 31),
        index_length: u32::from(indexes & 7),
        index_delta_length: u32::from(indexes >> 3 & 7),
        cts_delta_length: u32::from(others & 7),
        dts_delta_length: u32::from(others >> 3 & 3),
        random_access_indication: others & 0x80 != 0,
        stream_state_length: u32::from(others >> 5 & 3),
        auxiliary_size_length: u32::from(indexes >> 6),
        constant_size: usize::from(sizes >> 5),
        ticks_per_unit: 1024,
    };
    for parameters in [parameters, AacParameters::hbr(1024), AacParameters::lbr(1024)] {
        packets::run(Depacketizer::Aac(Aac::new(parameters)), packets::packets(rest), false);
    }
    packets::run(Depacketizer::G711(G711::new()), packets::packets(rest), false);
});
