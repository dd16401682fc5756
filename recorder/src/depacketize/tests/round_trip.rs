//! What was packetized comes out again, NAL unit for NAL unit, whatever the packet forms and markers.

use proptest::prelude::*;

use super::packetize::{packetize, stream};
use super::{config, depacketizer, nals, run};
use crate::depacketize::Output;

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn every_nal_unit_comes_out_byte_for_byte((codec, markers, pictures) in stream()) {
        let out = run(codec, packetize(codec, markers, &pictures));
        prop_assert_eq!(&out.errors, &[]);
        prop_assert_eq!(out.samples.len(), pictures.len());
        for (sample, picture) in out.samples.iter().zip(&pictures) {
            prop_assert_eq!(sample.ticks, picture.ticks);
            prop_assert_eq!(nals(sample), picture.nal_units());
            prop_assert!(!sample.flags.loss);
        }
    }

    #[test]
    fn flushing_after_every_access_unit_changes_nothing((codec, markers, pictures) in stream()) {
        let mut depacketizer = depacketizer(codec);
        let mut samples = Vec::new();
        for picture in &pictures {
            for packet in packetize(codec, markers, std::slice::from_ref(picture)) {
                depacketizer.push(packet, &mut |output| samples.push(output));
            }
            depacketizer.flush(&mut |output| samples.push(output));
        }
        prop_assert_eq!(samples.len(), pictures.len(), "nothing waits for the next packet");
        for (sample, picture) in samples.iter().zip(&pictures) {
            let Output::Sample(sample) = sample else { panic!("no errors") };
            prop_assert_eq!(nals(sample), picture.nal_units());
        }
    }
}
