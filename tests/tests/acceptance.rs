//! The promises in small: the real binary, real cameras, real faults. `make acceptance` runs them in full size.

use anyhow::Result;
use keha_tests::media::ClipKind;
use keha_tests::points::{clock, copy, corrupt, faults, frames, holds, inputs, kill, lap, powercut};
use keha_tests::power;
use std::time::Duration;

#[test]
fn not_a_frame_of_h264_is_lost() -> Result<()> {
    frames::whole(4, &[ClipKind::Main], 10, "256MiB")
}

#[test]
fn not_a_sample_of_any_other_kind_is_lost() -> Result<()> {
    let kinds = [
        ClipKind::H265Cra,
        ClipKind::TwoPps,
        ClipKind::Reordered,
        ClipKind::WithAac,
        ClipKind::WithG711,
        ClipKind::Small,
    ];
    frames::whole(kinds.len(), &kinds, 10, "256MiB")
}

#[test]
fn two_pps_in_band_cost_no_more_blocks_than_a_plain_clip() -> Result<()> {
    frames::changing_sets_cost_no_blocks(10)
}

#[test]
fn exports_beside_a_live_recorder_are_whole_and_exact() -> Result<()> {
    frames::beside_a_live_recorder()
}

#[test]
fn wall_times_are_right_to_a_picture_whatever_sender_reports_say() -> Result<()> {
    clock::whole(12)
}

#[test]
fn the_built_in_cameras_pictures_show_the_time_the_export_gives_them() -> Result<()> {
    clock::built_in(8)
}

#[test]
fn kills_cost_little_and_nothing_that_was_durable() -> Result<()> {
    kill::whole(3, &[ClipKind::WithAac, ClipKind::H265Cra, ClipKind::WithG711], 5, "256MiB", 11)
}

#[test]
fn power_cuts_cost_little_and_nothing_that_was_durable() -> Result<()> {
    if let Err(why) = power::possible() {
        eprintln!("not tried: {why}");
        return Ok(());
    }
    powercut::whole(2, &[ClipKind::WithAac, ClipKind::H265Cra], 3, 256, 12)
}

#[test]
fn a_lapped_ring_holds_the_newest_footage_without_a_hole() -> Result<()> {
    lap::whole(3, 8.0, Duration::from_secs(180))
}

#[test]
fn what_is_held_outlives_a_kill_and_three_laps() -> Result<()> {
    holds::whole(3, Duration::from_secs(180))
}

#[test]
fn footage_copied_into_another_volume_is_the_same() -> Result<()> {
    copy::whole(150)
}

#[test]
fn every_corrupt_byte_is_found_and_costs_at_most_a_sample() -> Result<()> {
    corrupt::whole(60, 13)
}

#[test]
fn a_cameras_fault_has_its_reason_and_shows_in_no_other_footage() -> Result<()> {
    faults::whole(12)
}

#[test]
fn bad_input_gets_one_clear_line() -> Result<()> {
    inputs::whole()
}
