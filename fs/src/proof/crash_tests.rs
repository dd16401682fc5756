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
