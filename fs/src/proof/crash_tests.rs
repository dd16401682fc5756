//! Power cuts at random instants of random recordings.

use super::driver::{Cuts, Driver};
use super::for_seeds;
use super::material::Shape;
use crate::disk::sim::SimRng;

#[test]
fn after_a_power_cut_at_any_instant_all_that_was_durable_is_there_and_nothing_else() {
    for_seeds("power cuts", 1000, 25, |seed| {
        let shape = Shape::random(&mut SimRng::new(seed));
        let mut driver = Driver::new(shape, seed, Cuts { one_in: 40, plans: 8, deep_one_in: 40 })?;
        for step in 0..250 {
            driver.step().map_err(|why| format!("step {step}: {why}"))?;
        }
        Ok(driver.judged)
    });
}

#[test]
fn after_a_power_cut_at_every_single_event_of_a_short_recording_the_same_holds() {
    for_seeds("every event", 1500, 2, |seed| {
        let shape = Shape { size_bytes: 448 << 10, page_bytes: 512, block_bytes: 16 << 10, streams: 2 };
        let mut driver = Driver::new(shape, seed, Cuts { one_in: 1, plans: 20, deep_one_in: 0 })?;
        driver.admit("cam0")?;
        driver.push(0, 900)?;
        driver.round()?;
        driver.admit("cam1")?;
        driver.push(1, 200)?;
        driver.push(0, 5000)?;
        driver.work()?;
        driver.gap(0)?;
        driver.round()?;
        driver.push(0, 15_000)?;
        driver.park(1)?;
        driver.configure(0, 2)?;
        driver.round()?;
        driver.push(1, 200)?;
        driver.push(0, 12_000)?;
        driver.round()?;
        driver.reopen()?;
        driver.push(1, 300)?;
        driver.round()?;
        Ok(driver.judged)
    });
}
