//! The promises in small: the real binary, real cameras, real faults. `make acceptance` runs them in full size.

use anyhow::Result;
use keha_tests::ground::Ground::File;
use keha_tests::media::ClipKind;
use keha_tests::points::diskerrors::{self, Refused};
use keha_tests::points::{
    clock, clocks, copy, corrupt, custody, damage, faults, forecast, frames, holds, inputs, kill, lap,
    powercut, retention, scrub, stalls,
};
use keha_tests::tried::where_possible;
use keha_tests::true_clock::undisturbed;
use keha_tests::{fake_clock, faulty, power};
use nix::errno::Errno;
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
    undisturbed(|| clock::whole(12))
}

#[test]
fn the_built_in_cameras_pictures_show_the_time_the_export_gives_them() -> Result<()> {
    undisturbed(|| clock::built_in(8))
}

#[test]
fn kills_cost_little_and_nothing_that_was_durable() -> Result<()> {
    kill::whole(File, 3, &[ClipKind::WithAac, ClipKind::H265Cra, ClipKind::WithG711], 4, "256MiB", 11)
}

#[test]
fn recorders_that_are_killed_side_by_side_do_not_disturb_each_other() -> Result<()> {
    kill::side_by_side(File, 2, 2, &[ClipKind::WithAac, ClipKind::Small], 4, "128MiB", 14)
}

#[test]
fn power_cuts_cost_little_and_nothing_that_was_durable() -> Result<()> {
    where_possible(power::possible, || {
        powercut::whole(File, 2, &[ClipKind::WithAac, ClipKind::H265Cra], 3, 256, 12)
    })
}

#[test]
fn power_cuts_that_lose_single_sectors_cost_nothing_that_was_durable() -> Result<()> {
    where_possible(faulty::possible, || {
        powercut::sectors(File, 2, &[ClipKind::WithAac, ClipKind::H265Cra], 4, 256, 15)
    })
}

#[test]
fn a_disk_that_stalls_for_seconds_costs_nothing() -> Result<()> {
    let kinds = [ClipKind::Main, ClipKind::H265Cra, ClipKind::Small];
    where_possible(faulty::possible, || stalls::whole(File, 3, &kinds, 5, "256MiB", true))
}

#[test]
fn a_recorder_whose_disk_stalls_for_ever_says_so_and_can_be_ended() -> Result<()> {
    where_possible(faulty::possible, || stalls::for_ever(File, 2, &[ClipKind::WithAac, ClipKind::Small], 16))
}

#[test]
fn a_block_that_refuses_writes_is_withdrawn_and_nothing_is_lost() -> Result<()> {
    let kinds = [ClipKind::Main, ClipKind::Small];
    where_possible(faulty::possible, || diskerrors::bad_block(File, 2, &kinds))
}

#[test]
fn while_the_disk_refuses_flushes_or_writes_no_block_is_taken_and_then_it_goes_on() -> Result<()> {
    let kinds = [ClipKind::H265Cra, ClipKind::Small];
    let trials = [(Refused::Flushes, Errno::EIO), (Refused::Writes, Errno::EROFS)];
    where_possible(faulty::possible, || {
        all_at_once(trials, |(what, error)| diskerrors::refusing(File, 2, &kinds, what, error, 3, "128MiB"))
    })
}

#[test]
fn a_full_filesystem_under_a_sparse_volume_stops_nothing_for_good() -> Result<()> {
    where_possible(power::possible, || diskerrors::full(File, 2, &[ClipKind::Main, ClipKind::H265Cra], 3))
}

#[test]
fn a_clock_that_is_set_costs_no_sample_and_lets_nothing_go_early() -> Result<()> {
    let wanted = ["back by 6 s, then by 8 s more", "forward by ten years"];
    where_possible(fake_clock::possible, || undisturbed(|| wrong_clocks(&wanted)))
}

#[test]
fn a_clock_that_a_restart_finds_wrong_or_that_drifts_costs_no_sample_and_lets_nothing_go_early() -> Result<()>
{
    let wanted =
        ["1970 at the restart", "ten years ahead at the restart", "200 ppm of drift", "5,000 ppm of drift"];
    where_possible(fake_clock::possible, || undisturbed(|| wrong_clocks(&wanted)))
}

fn wrong_clocks(names: &[&str]) -> Result<()> {
    let cases = clocks::cases().into_iter().filter(|case| names.contains(&case.name));
    let kinds = [ClipKind::H265Cra, ClipKind::WithAac];
    all_at_once(cases, |case| clocks::whole(File, case, 2, &kinds, 3))
}

/// Trials that mostly wait, side by side.
fn all_at_once<T: Send>(
    trials: impl IntoIterator<Item = T>,
    run: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    let run = &run;
    std::thread::scope(|scope| {
        let running: Vec<_> = trials.into_iter().map(|trial| scope.spawn(move || run(trial))).collect();
        running
            .into_iter()
            .try_for_each(|trial| trial.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a trial panicked"))))
    })
}

#[test]
fn a_lapped_ring_holds_the_newest_footage_without_a_hole() -> Result<()> {
    lap::whole(File, 3, 8.0, Duration::from_secs(180))
}

#[test]
fn what_is_held_outlives_a_kill_and_three_laps() -> Result<()> {
    holds::whole(File, 3, Duration::from_secs(180))
}

#[test]
fn who_had_the_volume_open_and_how_far_cameras_clocks_were_off_is_told_by_the_volume() -> Result<()> {
    undisturbed(custody::whole)
}

#[test]
fn the_oldest_footage_is_overwritten_about_when_it_was_forecast() -> Result<()> {
    undisturbed(|| forecast::whole("128MiB", 8.0, Duration::from_secs(120)))
}

#[test]
fn footage_copied_into_another_volume_is_the_same() -> Result<()> {
    copy::whole(File, 150)
}

#[test]
fn what_is_erased_comes_out_of_no_command_whatever_comes_right_after() -> Result<()> {
    retention::whole(File, 1, 8)
}

#[test]
fn what_is_past_its_maximum_age_comes_out_of_no_command() -> Result<()> {
    undisturbed(|| retention::ages(File, 8))
}

#[test]
fn every_corrupt_byte_is_found_and_costs_at_most_a_sample() -> Result<()> {
    corrupt::whole(File, 60, 13)
}

#[test]
fn damage_is_found_without_asking_and_told_once_over_a_kill() -> Result<()> {
    scrub::whole(File, 3, "15s", Duration::from_secs(120))
}

#[test]
fn what_another_program_did_to_the_file_is_named_and_the_rest_is_served_and_repaired() -> Result<()> {
    damage::whole(File, 1, Duration::from_secs(180))
}

#[test]
fn a_cameras_fault_has_its_reason_and_shows_in_no_other_footage() -> Result<()> {
    undisturbed(|| faults::whole(12))
}

#[test]
fn bad_input_gets_one_clear_line() -> Result<()> {
    inputs::whole()
}
