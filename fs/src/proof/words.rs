//! Recordings as words: a letter is one thing that a recorder does, so that all short ones can be counted through and long ones
//! written down.

use super::driver::{Cuts, Driver, after_crash};
use super::hold_tests::oldest;
use super::material::Shape;
use super::oracle::Model;
use super::{Verdict, demand};
use crate::disk::sim::{CrashPlan, SimImage};
use std::cell::OnceCell;

/// What every letter means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// `s`: a sample that begins a GOP.
    Sync,
    /// `d`: a sample that does not.
    Delta,
    /// `l`: a sample that is split over chunks.
    Large,
    /// `f`: samples that fill most of a block, so that another is taken.
    Fill,
    /// `t`: a sample of the second stream.
    Second,
    /// `w`: what is full goes out.
    Work,
    /// `r`: a flush round.
    Round,
    /// `c`: another configuration.
    Configure,
    /// `n`: a new run.
    Run,
    /// `g`: a gap.
    Gap,
    /// `p`: the stream is parked.
    Park,
    /// `q`: the second stream is parked.
    ParkSecond,
    /// `o`: closed and opened again.
    Reopen,
    /// `k`: the power fails, and it is opened again.
    Crash,
    /// `h`: the oldest footage of the stream is held.
    Hold,
    /// `u`: a hold is lifted, if there is one.
    Lift,
    /// `e`: the oldest footage of the stream is erased.
    Erase,
    /// `x`: a sample larger than a block.
    Huge,
}

/// Those of which every sequence is tried.
pub(super) const DEEDS: [Deed; 17] = [
    Deed::Sync,
    Deed::Delta,
    Deed::Large,
    Deed::Fill,
    Deed::Second,
    Deed::Work,
    Deed::Round,
    Deed::Configure,
    Deed::Run,
    Deed::Gap,
    Deed::Park,
    Deed::ParkSecond,
    Deed::Reopen,
    Deed::Crash,
    Deed::Hold,
    Deed::Lift,
    Deed::Erase,
];

const LETTERS: [(char, Deed); 18] = {
    use Deed::*;
    [
        ('s', Sync),
        ('d', Delta),
        ('l', Large),
        ('f', Fill),
        ('t', Second),
        ('w', Work),
        ('r', Round),
        ('c', Configure),
        ('n', Run),
        ('g', Gap),
        ('p', Park),
        ('q', ParkSecond),
        ('o', Reopen),
        ('k', Crash),
        ('h', Hold),
        ('u', Lift),
        ('e', Erase),
        ('x', Huge),
    ]
};

/// The deeds of a word.
pub(super) fn deeds(word: &str) -> Vec<Deed> {
    let deed = |letter| LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, deed)| *deed);
    word.chars().map(|letter| deed(letter).unwrap_or_else(|| panic!("no deed {letter}"))).collect()
}

/// The word of some deeds.
pub(super) fn word(deeds: &[Deed]) -> String {
    deeds
        .iter()
        .filter_map(|deed| LETTERS.iter().find(|(_, known)| known == deed))
        .map(|(letter, _)| letter)
        .collect()
}

impl Deed {
    /// Whether it never touches the disk, so that no power cut can come in between.
    pub(super) fn is_silent(self) -> bool {
        matches!(self, Deed::Configure | Deed::Run | Deed::Gap | Deed::Park | Deed::ParkSecond)
    }

    /// Does it.
    pub(super) fn run(self, driver: &mut Driver) -> Verdict {
        match self {
            Deed::Sync => driver.push_as(0, 400, true)?,
            Deed::Delta => driver.push_as(0, 300, false)?,
            Deed::Large => driver.push_as(0, 6000, true)?,
            Deed::Fill => (0..4).try_for_each(|_| driver.push_as(0, 3300, false))?,
            Deed::Second => driver.push(1, 250)?,
            Deed::Huge => driver.push_as(0, 21_000, true)?,
            Deed::Work => return driver.work(),
            Deed::Round => return driver.round(),
            Deed::Configure => {
                let variant = driver.rng.below(5) as u64;
                return driver.configure(0, variant);
            }
            Deed::Run => return driver.begin_configured_run(0),
            Deed::Gap => return driver.gap(0),
            Deed::Park => return driver.park(0),
            Deed::ParkSecond => return driver.park(1),
            Deed::Reopen => return driver.reopen(),
            Deed::Crash => return driver.power_cut(),
            Deed::Hold => {
                let (from, to) = oldest(driver, "cam0", 2)?;
                return driver.hold("cam0", from, to, None).map(|_| ());
            }
            Deed::Lift => return driver.lift_any(),
            Deed::Erase => {
                let (from, to) = oldest(driver, "cam0", 2)?;
                return driver.erase("cam0", from, to).map(drop);
            }
        }
        driver.work()
    }
}

/// The smallest volume for two streams.
pub(super) const SMALLEST: Shape = Shape { size_bytes: 400 << 10, ..Shape::SMALL };

/// It on its second lap, with both streams, closed cleanly. Two of them, whose streams stand in either order of identity.
pub(super) fn recorded_on(seed: u64) -> Verdict<(SimImage, Model)> {
    // One for each thread: the pages of an image are counted whenever it is cloned, and counting them together is slow.
    thread_local! {
        static RECORDED: [OnceCell<Verdict<(SimImage, Model)>>; 2] = const { [const { OnceCell::new() }; 2] };
    }
    let which = seed % 2;
    let record = || {
        let mut driver = Driver::new(SMALLEST, SEEDS[which as usize], Cuts::NONE)?;
        driver.admit("cam0")?;
        driver.admit("cam1")?;
        let ids: Vec<_> = driver.model.streams.values().map(|stream| stream.id).collect();
        demand!(ids.is_sorted() == (which == 0), "the streams stand in the wrong order");
        driver.lap()?;
        for deed in deeds("srtrlrgrfrpcsrqtrnsr") {
            deed.run(&mut driver)?;
        }
        driver.reopen()?;
        // What the first lap overwrote need not be known any more.
        let held = driver.judge_now(None)?;
        let mut model = after_crash(&driver.model, &held);
        model.forget_gone();
        Ok((driver.disk.crash(CrashPlan::None), model))
    };
    RECORDED.with(|recorded| recorded[which as usize].get_or_init(record).clone())
}

/// Seeds that give the first stream the lower identity, and the higher one.
const SEEDS: [u64; 2] = [1, 2];

/// A recorder on that volume.
pub(super) fn recorder(seed: u64) -> Verdict<Driver> {
    let (image, model) = recorded_on(seed)?;
    let driver = Driver::on(image, SMALLEST, model, seed, Cuts::NONE)?;
    // After all that the cameras' clocks say.
    driver.clock.advance(std::time::Duration::from_secs(5 * 3600));
    Ok(driver)
}
