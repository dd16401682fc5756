//! What matters most of the promises, on every ground that a volume can lie on ([`keha_tests::ground`]); on plain files, written by
//! whichever engine the recorder chooses, `acceptance.rs` tries all of them. `make acceptance GROUND=...` runs them in full size.

use anyhow::Result;
use keha_tests::ground::Ground::{self, Partition, Sandbox, Threads, Unprivileged, Uring};
use keha_tests::media::ClipKind;
use keha_tests::points::diskerrors::{self, Refused};
use keha_tests::points::{
    clocks, copy, corrupt, damage, holds, kill, lap, powercut, retention, scrub, stalls,
};
use keha_tests::tried::where_possible;
use keha_tests::true_clock::undisturbed;
use keha_tests::{fake_clock, faulty, power};
use nix::errno::Errno;
use std::time::Duration;

const LIGHT: [ClipKind; 2] = [ClipKind::WithAac, ClipKind::H265Cra];

/// Where the ground is to be had, and what the suite needs besides.
fn on(ground: Ground, besides: fn() -> Result<()>, suite: impl FnOnce() -> Result<()>) -> Result<()> {
    where_possible(|| ground.possible().and_then(|()| besides()), suite)
}

fn nothing() -> Result<()> {
    Ok(())
}

fn kills(ground: Ground, seed: u64) -> Result<()> {
    on(ground, nothing, || kill::whole(ground, 2, &LIGHT, 3, "128MiB", seed))
}

fn cuts_of_a_filesystem(ground: Ground, seed: u64) -> Result<()> {
    on(ground, power::possible, || powercut::whole(ground, 2, &LIGHT, 2, 128, seed))
}

fn cuts_of_sectors(ground: Ground, cuts: usize, seed: u64) -> Result<()> {
    on(ground, faulty::possible, || powercut::sectors(ground, 2, &LIGHT, cuts, 256, seed))
}

fn a_stall(ground: Ground) -> Result<()> {
    on(ground, faulty::possible, || stalls::whole(ground, 2, &LIGHT, 5, "256MiB", true))
}

fn a_stall_for_ever(ground: Ground, seed: u64) -> Result<()> {
    on(ground, faulty::possible, || stalls::for_ever(ground, 2, &LIGHT, seed))
}

fn refusals(ground: Ground, what: Refused, error: Errno) -> Result<()> {
    on(ground, faulty::possible, || diskerrors::refusing(ground, 2, &LIGHT, what, error, 3, "128MiB"))
}

#[test]
fn kills_cost_little_where_threads_write() -> Result<()> {
    kills(Threads, 21)
}

#[test]
fn kills_cost_little_where_io_uring_writes() -> Result<()> {
    kills(Uring, 22)
}

#[test]
fn kills_cost_little_on_a_partition() -> Result<()> {
    kills(Partition, 23)
}

#[test]
fn kills_cost_little_in_a_sandbox() -> Result<()> {
    kills(Sandbox, 24)
}

#[test]
fn kills_cost_little_with_few_rights() -> Result<()> {
    kills(Unprivileged, 25)
}

#[test]
fn power_cuts_of_a_filesystem_cost_little_where_threads_write() -> Result<()> {
    cuts_of_a_filesystem(Threads, 31)
}

#[test]
fn power_cuts_of_a_filesystem_cost_little_with_few_rights() -> Result<()> {
    cuts_of_a_filesystem(Unprivileged, 32)
}

#[test]
fn power_cuts_that_lose_single_sectors_cost_little_where_io_uring_writes() -> Result<()> {
    cuts_of_sectors(Uring, 3, 33)
}

#[test]
fn power_cuts_that_lose_single_sectors_cost_little_on_a_partition() -> Result<()> {
    cuts_of_sectors(Partition, 4, 34)
}

#[test]
fn a_partition_that_stalls_for_seconds_costs_nothing() -> Result<()> {
    a_stall(Partition)
}

#[test]
fn a_file_that_stalls_for_seconds_within_the_call_that_submits_costs_nothing() -> Result<()> {
    a_stall(Uring)
}

/// The writer's thread was held by the file within a call on its ring, and the process, which had entered that ring too while it
/// opened the volume, could not end for it.
#[test]
fn a_recorder_that_is_held_within_the_call_that_submits_says_so_and_can_be_ended() -> Result<()> {
    a_stall_for_ever(Uring, 41)
}

#[test]
fn a_recorder_whose_partition_stalls_for_ever_says_so_and_can_be_ended() -> Result<()> {
    a_stall_for_ever(Partition, 42)
}

#[test]
fn a_block_of_a_partition_that_refuses_writes_is_withdrawn_and_nothing_is_lost() -> Result<()> {
    on(Partition, faulty::possible, || diskerrors::bad_block(Partition, 2, &LIGHT))
}

#[test]
fn while_a_partition_refuses_flushes_no_block_is_taken_and_then_it_goes_on() -> Result<()> {
    refusals(Partition, Refused::Flushes, Errno::EIO)
}

#[test]
fn while_a_partition_refuses_writes_no_block_is_taken_and_then_it_goes_on() -> Result<()> {
    refusals(Partition, Refused::Writes, Errno::EIO)
}

#[test]
fn while_a_file_refuses_writes_through_io_uring_no_block_is_taken_and_then_it_goes_on() -> Result<()> {
    refusals(Uring, Refused::Writes, Errno::EROFS)
}

#[test]
fn a_clock_that_is_set_costs_nothing_on_a_partition() -> Result<()> {
    let case = clocks::cases().into_iter().find(|case| case.while_recording_s.is_some());
    let case = case.ok_or_else(|| anyhow::anyhow!("no case"))?;
    on(Partition, fake_clock::possible, || undisturbed(|| clocks::whole(Partition, case, 2, &LIGHT, 3)))
}

#[test]
fn a_lapped_partition_holds_the_newest_footage_without_a_hole() -> Result<()> {
    on(Partition, nothing, || lap::whole(Partition, 2, 8.0, Duration::from_secs(180)))
}

#[test]
fn what_is_held_on_a_partition_outlives_a_kill_and_a_lap() -> Result<()> {
    on(Partition, nothing, || holds::whole(Partition, 1, Duration::from_secs(180)))
}

#[test]
fn footage_copied_from_a_partition_is_the_same() -> Result<()> {
    on(Partition, nothing, || copy::whole(Partition, 100))
}

#[test]
fn what_is_erased_on_a_partition_comes_out_of_no_command() -> Result<()> {
    on(Partition, nothing, || retention::whole(Partition, 1, 8))
}

#[test]
fn every_corrupt_byte_of_a_partition_is_found_and_costs_at_most_a_sample() -> Result<()> {
    on(Partition, nothing, || corrupt::whole(Partition, 20, 43))
}

#[test]
fn damage_of_a_partition_is_found_without_asking_and_told_once_over_a_kill() -> Result<()> {
    on(Partition, nothing, || scrub::whole(Partition, 2, "15s", Duration::from_secs(120)))
}

#[test]
fn what_another_program_did_to_the_image_of_a_partition_is_named() -> Result<()> {
    on(Partition, nothing, || damage::whole(Partition, 1, Duration::from_secs(180)))
}
