//! The log of sessions: kept through crashes and damage, in order, and honest about clocks.

use super::driver::{Cuts, Driver, shared};
use super::material::Shape;
use super::repair_tests::repaired;
use super::{Verdict, demand, for_seeds};
use crate::clock::{Clock, ClockSync};
use crate::disk::sim::{CrashPlan, SimImage};
use crate::format::Framed;
use crate::format::session::{SESSION_OPEN, SessionSlot};
use crate::reader::Volume;
use crate::repair::RepairOptions;
use crate::session::{SessionEnd, SessionLog};
use crate::types::{Epoch, WallTime};
use std::path::Path;
use std::time::Duration;

fn log(image: &SimImage) -> Verdict<SessionLog> {
    let volume = Volume::from_disk(shared(image), Path::new("proof")).map_err(|error| error.to_string())?;
    Ok(volume.sessions())
}

#[test]
fn either_copy_of_the_sessions_stands_in_for_the_other() {
    for_seeds("sessions in one copy", 7900, 1, in_one_copy);
}

/// Opens, crashes and closes a volume some times, then wipes one copy of the sessions.
pub(super) fn in_one_copy(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.reopen()?;
    driver.push(0, 500)?;
    driver.settle()?;
    driver.power_cut_with(CrashPlan::None)?;
    let (image, _) = driver.close()?;
    let whole = log(&image)?;
    let ends: Vec<_> = whole.sessions.iter().map(|session| (session.epoch.0, session.end)).collect();
    demand!(
        matches!(
            ends[..],
            [
                (0, SessionEnd::Closed { .. }),
                (1, SessionEnd::Closed { .. }),
                (2, SessionEnd::Crashed { .. }),
                (3, SessionEnd::Closed { .. })
            ]
        ),
        "{ends:?}"
    );
    let geometry = Shape::SMALL.geometry();
    for at in geometry.sessions_at() {
        let mut damaged = image.clone();
        damaged.write(at, &vec![0xa5; geometry.sessions_bytes]);
        demand!(log(&damaged)? == whole, "without the copy at {at}: {:#?}", log(&damaged)?);
    }
    Ok(2)
}

#[test]
fn the_oldest_sessions_give_way_and_what_is_missing_is_said() {
    let outcome = || -> Verdict {
        let mut driver = Driver::new(Shape::SMALL, 7910, Cuts::NONE)?;
        let room = driver.shape.geometry().sessions_max;
        for _ in 0..2 * room {
            driver.reopen()?;
        }
        let (image, _) = driver.close()?;
        let full = log(&image)?;
        let epochs: Vec<u32> = full.sessions.iter().map(|session| session.epoch.0).collect();
        let newest = 2 * room + 1;
        demand!(epochs == (newest + 1 - room..=newest).collect::<Vec<_>>(), "{epochs:?}");
        demand!(full.missing.is_empty() && full.room == room, "{full:?}");
        let mut damaged = image.clone();
        let lost = newest - 1;
        for at in driver_sessions_at() {
            damaged.write(at + u64::from(lost % room) * SessionSlot::SIZE as u64, &[0; SessionSlot::SIZE]);
        }
        demand!(log(&damaged)?.missing == [Epoch(lost)], "{:?}", log(&damaged)?.missing);
        Ok(())
    };
    outcome().unwrap_or_else(|why| panic!("{why}"));
}

fn driver_sessions_at() -> [u64; 2] {
    Shape::SMALL.geometry().sessions_at()
}

#[test]
fn a_session_that_was_altered_later_no_longer_fits_the_next() {
    let outcome = || -> Verdict {
        let mut driver = Driver::new(Shape::SMALL, 7920, Cuts::NONE)?;
        driver.reopen()?;
        let (mut image, _) = driver.close()?;
        let geometry = Shape::SMALL.geometry();
        for at in geometry.sessions_at() {
            let at = at + SessionSlot::SIZE as u64;
            let mut bytes = [0; SessionSlot::SIZE];
            shared(&image).read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
            let (slot, _) = SessionSlot::unseal(&bytes).ok_or("the slot of epoch 1 stands")?;
            SessionSlot { began: WallTime(0), ..slot }.seal(&mut bytes);
            image.write(at, &bytes);
        }
        let follows: Vec<_> = log(&image)?.sessions.iter().map(|session| session.follows).collect();
        demand!(follows == [None, Some(true), Some(false)], "{follows:?}");
        Ok(())
    };
    outcome().unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn a_clock_that_is_set_is_noted_even_if_the_power_fails_then() {
    let outcome = || -> Verdict {
        let mut driver = Driver::new(Shape::SMALL, 7930, Cuts::NONE)?;
        driver.admit("cam0")?;
        let error_max = Duration::from_millis(7);
        driver.clock.set_sync(ClockSync::Synchronised { error_max });
        driver.reopen()?;
        driver.round()?;
        driver.clock.set_wall(driver.clock.wall().plus_ns(-3_600_000_000_000));
        driver.round()?;
        driver.power_cut_with(CrashPlan::None)?;
        let (image, _) = driver.close()?;
        let sessions = log(&image)?.sessions;
        let crashed =
            sessions.iter().find(|session| session.epoch == Epoch(2)).ok_or("epoch 2 is missing")?;
        demand!((crashed.clock_steps, crashed.largest_step_ns) == (1, -3_600_000_000_000), "{crashed:?}");
        demand!(crashed.began_clock == ClockSync::Synchronised { error_max }, "{crashed:?}");
        Ok(())
    };
    outcome().unwrap_or_else(|why| panic!("{why}"));
}

/// A crash between the two writes of a session's end left one copy open for ever; with the other lost, the next session was said
/// not to follow it.
#[test]
fn a_copy_that_a_crash_left_behind_is_brought_in_line_by_the_next_writer() {
    for_seeds("a session in two states", 7940, 1, left_behind);
}

pub(super) fn left_behind(seed: u64) -> Verdict<u64> {
    let geometry = Shape::SMALL.geometry();
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.reopen()?;
    driver.push(0, 500)?;
    let (closed, model) = driver.close()?;
    let newest = log(&closed)?.sessions.last().map_or(0, |session| session.epoch.0);
    let place = u64::from(newest % geometry.sessions_max) * SessionSlot::SIZE as u64;
    let [front, back] = geometry.sessions_at().map(|at| at + place);
    // The front copy is written first.
    let mut bytes = [0; SessionSlot::SIZE];
    shared(&closed).read_exact_at(&mut bytes, back).map_err(|error| error.to_string())?;
    let (slot, _) = SessionSlot::unseal(&bytes).ok_or("the newest slot stands")?;
    let open = SessionSlot { state: SESSION_OPEN, revision: slot.revision - 1, ended: WallTime(0), ..slot };
    open.seal(&mut bytes);
    let mut cut = closed.clone();
    cut.write(back, &bytes);
    let check = |image: &SimImage| -> Verdict<Vec<crate::report::Finding>> {
        let volume =
            Volume::from_disk(shared(image), Path::new("proof")).map_err(|error| error.to_string())?;
        volume.check(&mut |_, _| ()).map(|report| report.findings).map_err(|error| error.to_string())
    };
    demand!(check(&cut)?.is_empty(), "a crash is called damage: {:?}", check(&cut)?);
    // A repair brings it in line, and so does the next writer.
    let (repaired, report) = repaired(&cut, &RepairOptions::default(), seed)?;
    demand!(report.steps.len() == 1 && report.steps[0].what == "session", "{:?}", report.steps);
    let driver = Driver::on(cut, Shape::SMALL, model, seed, Cuts::NONE)?;
    let (mut written, _) = driver.close()?;
    for image in [&repaired, &written] {
        demand!(check(image)?.is_empty(), "{:?}", check(image)?);
        let mut without_front = image.clone();
        without_front.write(front, &[0; SessionSlot::SIZE]);
        let sessions = log(&without_front)?.sessions;
        let this = sessions.iter().find(|session| session.epoch.0 == newest).ok_or("it is lost")?;
        demand!(matches!(this.end, SessionEnd::Closed { .. }), "{:?}", this.end);
        demand!(sessions.iter().all(|session| session.follows != Some(false)), "{sessions:#?}");
    }
    // Put back later, it is no crash any more.
    written.write(back, &bytes);
    demand!(check(&written)?.len() == 1, "{:?}", check(&written)?);
    Ok(4)
}
