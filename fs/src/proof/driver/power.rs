//! Power cuts: which images they leave, and what must come of them.

use super::{Cuts, Driver, shared};
use crate::disk::sim::{CrashPlan, SimDisk, SimImage, SimRng};
use crate::proof::Verdict;
use crate::proof::material::Shape;
use crate::proof::oracle::{Claim, Holdings, Model, judge};
use crate::writer::inspect::View;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

impl Driver {
    /// The power fails now, in some way; the volume is opened again.
    pub(in crate::proof) fn power_cut(&mut self) -> Verdict {
        let plans = CrashPlan::enumerate(self.disk.pending_sectors(), 24, self.rng.next_u64());
        let plan = plans[self.rng.below(plans.len())];
        self.power_cut_with(plan)
    }

    /// The power fails now in this way; the volume is opened again.
    pub(in crate::proof) fn power_cut_with(&mut self, plan: CrashPlan) -> Verdict {
        let image = self.disk.crash(plan);
        let claim = Claim { model: &self.model, views: vec![self.view()], faulty: self.faulty, clean: false };
        let held = judge(&shared(&image), &claim).map_err(|why| format!("after {plan:?}: {why}"))?;
        self.judged += 1;
        let views = claim.views;
        self.engine = None;
        self.order.crashed();
        self.model = after_crash(&self.model, &held);
        let seed = self.rng.next_u64();
        self.open(SimDisk::from_image(image, seed), &held, views)
    }

    /// Chooses instants from now on.
    pub(super) fn arm(&mut self) {
        if self.cuts.one_in == 0 {
            return;
        }
        let (one_in, points) = (self.cuts.one_in, Arc::clone(&self.points));
        let mut rng = SimRng::new(self.rng.next_u64());
        self.disk.on_event(move |point| {
            if rng.below(one_in) == 0 {
                points.lock().unwrap_or_else(PoisonError::into_inner).push(point.clone());
            }
        });
    }

    /// Judges the images that power cuts at the chosen instants are tried to leave, each different one once.
    pub(super) fn judge_points(&mut self, views: Vec<View>) -> Verdict {
        let points = std::mem::take(&mut *self.points.lock().unwrap_or_else(PoisonError::into_inner));
        let mut seen = HashSet::new();
        let claim = Claim { model: &self.model, views, faulty: self.faulty, clean: false };
        for point in points {
            for plan in CrashPlan::enumerate(point.pending_sectors(), self.cuts.plans, self.rng.next_u64()) {
                let image = point.image(plan);
                if !seen.insert(image.digest()) {
                    continue;
                }
                let context = |why| format!("event {}, {plan:?}: {why}", point.event());
                let held = judge(&shared(&image), &claim).map_err(context)?;
                self.judged += 1;
                if self.cuts.deep_one_in > 0 && self.rng.below(self.cuts.deep_one_in) == 0 {
                    let seed = self.rng.next_u64();
                    self.judged += deep(&image, &held, &claim, &self.shape, seed).map_err(context)?;
                }
            }
        }
        Ok(())
    }
}

/// The model of what a crash left: what is not held was never pushed, and must never be seen again.
pub(in crate::proof) fn after_crash(model: &Model, held: &Holdings) -> Model {
    let mut model = model.clone();
    for (name, stream) in &mut model.streams {
        let retained = held.get(name).cloned().unwrap_or_default();
        stream.entries.truncate(retained.to);
        stream.gone = stream.gone.max(retained.from);
        stream.vanished.extend(retained.missing);
        // What is pushed from now on has the places of what was never pushed.
        stream.vanished.retain(|at| *at < retained.to);
        stream.durable = retained.to;
        stream.durable_chunk = retained.last_chunk;
        // What was being erased is gone, or stays.
        let gone = std::mem::take(&mut stream.erasing);
        stream.erased.extend(gone.difference(&retained.keys));
    }
    model
}

/// Recovers an image, crashes recovery at its I/Os, recovers again, and writes on.
fn deep(image: &SimImage, held: &Holdings, claim: &Claim<'_>, shape: &Shape, seed: u64) -> Verdict<u64> {
    let model = after_crash(claim.model, held);
    let cuts = Cuts { one_in: 3, plans: 4, deep_one_in: 0 };
    let mut driver = Driver::beside(image.clone(), *shape, model, seed, cuts);
    driver.faulty = claim.faulty;
    let disk = SimDisk::from_image(image.clone(), seed);
    driver.open(disk, held, claim.views.clone()).map_err(|why| format!("recovery: {why}"))?;
    driver.cuts = Cuts::NONE;
    // Nothing was written: opening once more must come to the same.
    driver.power_cut_with(CrashPlan::All).map_err(|why| format!("recovery again: {why}"))?;
    for turn in 0..30 {
        driver
            .push_any(turn)
            .or_else(|why| if claim.model.streams.is_empty() { Ok(()) } else { Err(why) })?;
    }
    driver.settle().map_err(|why| format!("after recovery: {why}"))?;
    let view = driver.view();
    driver.judge_now(Some(view)).map_err(|why| format!("after recovery, written on: {why}"))?;
    if seed.is_multiple_of(4) && !claim.model.streams.is_empty() {
        driver.lap()?;
    }
    driver.reopen().map_err(|why| format!("after recovery: {why}"))?;
    Ok(driver.judged)
}
