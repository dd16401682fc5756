//! Loss in every position: never a torn NAL unit, never a loss without a mark.

use proptest::prelude::*;

use super::packetize::{Form, Markers, Picture, packetize, slice, stream};
use super::{Collected, config, nals, run};
use crate::codec::nal::VideoCodec;
use crate::depacketize::{ErrorKind, RtpPacket};

/// The packets without those at `lost`, with the loss counted as retina does.
fn without(packets: Vec<RtpPacket>, lost: &[usize]) -> Vec<RtpPacket> {
    let mut loss = 0;
    let mut kept = Vec::new();
    for (index, packet) in packets.into_iter().enumerate() {
        if lost.contains(&index) {
            loss += 1;
        } else {
            kept.push(RtpPacket { loss: std::mem::take(&mut loss), ..packet });
        }
    }
    kept
}

/// Every NAL unit that came out was sent, in that order; and where one is missing, a mark stands on its sample or on
/// the one behind it (`marked_here`: on its own sample, if anything of it is left).
fn check(out: &Collected, pictures: &[Picture], marked_here: bool) -> Result<(), TestCaseError> {
    let mut sent = pictures.iter().flat_map(|p| p.nal_units().into_iter().map(|nal| (p.ticks, nal)));
    let mut missed = false;
    let mut missed_before = false;
    for sample in &out.samples {
        let mut missed_here = false;
        for nal in nals(sample) {
            loop {
                let Some((ticks, sent)) = sent.next() else {
                    return Err(TestCaseError::fail("a NAL unit that was not sent, or twice, or torn"));
                };
                if sent == nal {
                    prop_assert!(ticks <= sample.ticks, "moved only forward in time");
                    break;
                }
                missed_here |= ticks == sample.ticks;
                missed |= !out.samples.iter().any(|other| other.ticks == ticks);
            }
        }
        let all = pictures.iter().find(|p| p.ticks == sample.ticks).map(Picture::nal_units);
        missed_here |= all.is_some_and(|all| all.last() != nals(sample).last());
        prop_assert!(!missed || sample.flags.loss, "a whole unit is missing before {}", sample.ticks);
        prop_assert!(!(missed_here && marked_here) || sample.flags.loss, "{} lost a part", sample.ticks);
        prop_assert!(!missed_before || sample.flags.loss, "nothing marks the loss before {}", sample.ticks);
        missed_before = missed_here && !sample.flags.loss;
        missed = false;
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn one_packet_lost_at_every_position((codec, markers, pictures) in stream()) {
        let packets = packetize(codec, markers, &pictures);
        // Nobody misses the first packet, for a stream may be joined anywhere, nor the last.
        for lost in 1..packets.len().saturating_sub(1) {
            let out = run(codec, without(packets.clone(), &[lost]));
            let mut errors = out.errors.iter().map(|error| &error.kind);
            prop_assert!(errors.all(|kind| matches!(kind, ErrorKind::NoPicture { .. })), "loss is a mark");
            let trusted = matches!(markers, Markers::Right | Markers::Never);
            check(&out, &pictures, trusted)?;
        }
    }

    #[test]
    fn any_packets_lost(
        (codec, markers, pictures) in stream(),
        lost in prop::collection::vec(1usize..200, 0..30),
    ) {
        let packets = packetize(codec, markers, &pictures);
        let lost: Vec<usize> = lost.into_iter().filter(|index| index + 1 < packets.len()).collect();
        let out = run(codec, without(packets, &lost));
        check(&out, &pictures, matches!(markers, Markers::Right | Markers::Never))?;
    }
}

fn three_pictures() -> Vec<Picture> {
    let nal = |first| slice(VideoCodec::H264, 1, first, &[7; 100]);
    (0..3)
        .map(|index| Picture {
            ticks: index * 3000,
            nals: vec![(nal(true), Form::Fragments(30)), (nal(false), Form::Fragments(30))],
        })
        .collect()
}

#[test]
fn a_slice_that_lost_a_fragment_is_left_out_and_the_other_kept() {
    let pictures = three_pictures();
    let packets = packetize(VideoCodec::H264, Markers::Right, &pictures);
    let per_picture = packets.len() / 3;
    let out = run(VideoCodec::H264, without(packets, &[per_picture + 1]));
    assert_eq!(out.samples.iter().map(|s| s.flags.loss).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(nals(&out.samples[1]), pictures[1].nal_units()[1..]);
}

#[test]
fn a_picture_lost_whole_marks_the_next() {
    let pictures = three_pictures();
    let packets = packetize(VideoCodec::H264, Markers::Right, &pictures);
    let per_picture = packets.len() / 3;
    let lost: Vec<usize> = (per_picture..2 * per_picture).collect();
    let out = run(VideoCodec::H264, without(packets, &lost));
    assert_eq!(
        out.samples.iter().map(|s| (s.ticks, s.flags.loss)).collect::<Vec<_>>(),
        [(0, false), (6000, true)]
    );
}

#[test]
fn a_picture_of_which_only_torn_slices_came_marks_the_next() {
    let pictures = three_pictures();
    let packets = packetize(VideoCodec::H264, Markers::Right, &pictures);
    let per_picture = packets.len() / 3;
    let out = run(VideoCodec::H264, without(packets, &[per_picture + 1, per_picture * 2 - 1]));
    assert_eq!(
        out.samples.iter().map(|s| (s.ticks, s.flags.loss)).collect::<Vec<_>>(),
        [(0, false), (6000, true)]
    );
}

#[test]
fn loss_counted_on_the_very_first_packet_is_not_heeded() {
    let mut packets = packetize(VideoCodec::H264, Markers::Right, &three_pictures());
    packets[0].loss = 1;
    let out = run(VideoCodec::H264, packets);
    assert!(out.samples.iter().all(|sample| !sample.flags.loss));
}

#[test]
fn a_picture_cut_off_by_the_end_of_the_stream_is_marked_if_markers_show_it() {
    let mut packets = packetize(VideoCodec::H264, Markers::Right, &three_pictures());
    let end = packets.len() - packets.len() / 6;
    packets.truncate(end);
    let out = run(VideoCodec::H264, packets);
    assert_eq!(out.samples.iter().map(|s| s.flags.loss).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(out.errors, [], "the second slice had not begun");
}

#[test]
fn joining_in_the_middle_of_a_picture_marks_it() {
    let packets = packetize(VideoCodec::H264, Markers::Right, &three_pictures());
    let second_slice = packets.len() / 6;
    let out = run(VideoCodec::H264, packets.into_iter().skip(second_slice));
    assert_eq!(out.samples.iter().map(|s| s.flags.loss).collect::<Vec<_>>(), [true, false, false]);
}
