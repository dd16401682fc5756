//! The server as others see it: a browser, players, downloads, and clients that come and go, over real HTTP.

use anyhow::Result;
use keha_tests::points::{described, downloads, pages, restarted};

#[test]
fn the_page_shows_live_pictures_plays_what_was_recorded_and_goes_back() -> Result<()> {
    pages::live_then_recorded_then_live()
}

#[test]
fn live_pictures_reach_a_browser_soon() -> Result<()> {
    pages::lateness()
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
fn pictures_are_of_the_moment_they_tell() -> Result<()> {
    downloads::pictures_are_of_the_moment_they_tell()
}

#[test]
fn what_was_set_over_http_outlives_a_kill() -> Result<()> {
    restarted::whole()
}

#[test]
fn the_interface_is_as_it_describes_itself() -> Result<()> {
    described::whole(51)
}
