//! The server as others see it: a browser, players, downloads, and clients that come and go, over real HTTP.

use anyhow::Result;
use keha_tests::points::pages;

#[test]
fn the_page_shows_live_pictures_plays_what_was_recorded_and_goes_back() -> Result<()> {
    pages::live_then_recorded_then_live()
}

#[test]
fn live_pictures_reach_a_browser_soon() -> Result<()> {
    pages::lateness()
}
