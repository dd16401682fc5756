//! The server as others see it: a browser, players, downloads, and clients that come and go, over real HTTP.

use anyhow::Result;
use keha_tests::points::players::Film;
use keha_tests::points::{
    clients, described, downloads, gaps, killed, pages, players, priorities, pulled, restarted,
};
use keha_tests::tried::where_possible;
use std::time::Duration;

#[test]
fn the_page_shows_live_pictures_plays_what_was_recorded_and_goes_back() -> Result<()> {
    pages::live_then_recorded_then_live()
}

#[test]
fn live_pictures_reach_a_browser_soon() -> Result<()> {
    // Beside other tests: the promise itself is a point of acceptance.
    pages::lateness(5 * pages::LATE_MS_MAX)
}

#[test]
fn players_play_a_recorded_range_whole_across_its_gap() -> Result<()> {
    players::recorded_range_with_a_gap()
}

#[test]
fn players_play_h264_whole_across_a_gap_and_a_change_of_its_size() -> Result<()> {
    players::recorded_range_with_a_change(Film::H264)
}

#[test]
fn players_play_h265_whole_across_a_gap_and_a_change_of_its_size() -> Result<()> {
    players::recorded_range_with_a_change(Film::H265)
}

#[test]
fn players_of_live_h264_play_on_when_its_size_changes() -> Result<()> {
    players::live_with_a_change(Film::H264)
}

#[test]
fn players_of_live_h265_play_on_when_its_size_changes() -> Result<()> {
    players::live_with_a_change(Film::H265)
}

#[test]
fn players_play_what_goes_on() -> Result<()> {
    players::live()
}

#[test]
fn footage_is_the_same_in_every_container() -> Result<()> {
    downloads::containers_hold_the_same()
}

#[test]
fn any_slice_of_footage_is_that_of_the_whole() -> Result<()> {
    downloads::slices_are_those_of_the_whole(31)
}

#[test]
fn a_download_of_footage_is_gone_on_with_after_a_kill() -> Result<()> {
    downloads::footage_goes_on_after_a_kill()
}

#[test]
fn ten_thousand_gaps_come_over_http_in_every_container() -> Result<()> {
    gaps::whole(10_000)
}

#[test]
fn an_export_is_gone_on_with_after_a_kill() -> Result<()> {
    downloads::an_export_goes_on_after_a_kill()
}

#[test]
fn pictures_are_of_the_moment_they_tell() -> Result<()> {
    downloads::pictures_are_of_the_moment_they_tell()
}

#[test]
fn what_was_set_over_http_outlives_a_kill() -> Result<()> {
    restarted::whole()
}

#[test]
fn kills_under_load_cost_nothing_that_was_answered_and_nothing_that_was_listed() -> Result<()> {
    killed::whole(&killed::Trial { cameras: 4, clients: 8, size: "512MiB", kills: 3, seed: 61 })
}

#[test]
fn clients_that_come_and_vanish_cost_no_sample_and_leave_nothing() -> Result<()> {
    clients::whole(&clients::Trial {
        clients: 20,
        exports: 0,
        cameras: 6,
        size: "256MiB",
        duration: Duration::from_secs(20),
        alone: None,
        seed: 51,
    })
}

#[test]
fn cameras_of_a_disk_that_is_pulled_away_go_on_on_another_and_return_by_order() -> Result<()> {
    where_possible(pulled::possible, pulled::whole)
}

#[test]
fn a_partition_of_a_disk_that_stops_answering_keeps_none_of_another_disk_from_being_recorded_into()
-> Result<()> {
    where_possible(pulled::possible, pulled::beside)
}

#[test]
fn cameras_of_a_disk_that_stops_answering_go_on_on_another_and_the_server_ends_all_the_same() -> Result<()> {
    where_possible(pulled::possible, pulled::for_ever)
}

/// The server had the device open that was gone, and nobody opened the one that was there instead.
#[test]
fn a_camera_with_nowhere_else_to_go_is_recorded_again_once_its_disk_is_plugged_in_again() -> Result<()> {
    where_possible(pulled::possible, pulled::alone)
}

#[test]
fn recording_comes_before_answering() -> Result<()> {
    priorities::whole()
}

#[test]
fn the_interface_is_as_it_describes_itself() -> Result<()> {
    described::whole(51)
}
