//! What was written is what is read, over many laps: whatever cameras do, a stream holds its newest footage without a hole,
//! and the ring is used whole.

use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::{Verdict, demand, number, scale};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// One thing that a recorder does.
#[derive(Clone, Debug)]
enum Deed {
    Push { stream: usize, bytes: usize },
    Burst { stream: usize, samples: usize },
    Gap(usize),
    Run(usize),
    Configure(usize, u64),
    Anchor(usize),
    Park(usize),
    Admit(usize),
    Work,
    Round,
    Lap,
    Reopen,
    PowerCut,
    Hold,
    Lift,
}

fn deed() -> impl Strategy<Value = Deed> {
    let stream = || 0..4_usize;
    prop_oneof![
        10 => (stream(), 1..6000_usize).prop_map(|(stream, bytes)| Deed::Push { stream, bytes }),
        10 => (stream(), 1..20_usize).prop_map(|(stream, samples)| Deed::Burst { stream, samples }),
        1 => (stream(), 10_000..50_000_usize).prop_map(|(stream, bytes)| Deed::Push { stream, bytes }),
        1 => stream().prop_map(Deed::Gap),
        1 => stream().prop_map(Deed::Run),
        1 => (stream(), 0..5_u64).prop_map(|(stream, variant)| Deed::Configure(stream, variant)),
        1 => stream().prop_map(Deed::Anchor),
        2 => stream().prop_map(Deed::Park),
        1 => stream().prop_map(Deed::Admit),
        2 => Just(Deed::Work),
        12 => Just(Deed::Round),
        2 => Just(Deed::Lap),
        1 => Just(Deed::Reopen),
        1 => Just(Deed::PowerCut),
        1 => Just(Deed::Hold),
        1 => Just(Deed::Lift),
    ]
}

fn does(driver: &mut Driver, deed: &Deed) -> Verdict {
    match *deed {
        Deed::Push { stream, bytes } => driver.push(stream, bytes),
        Deed::Burst { stream, samples } => (0..samples).try_for_each(|_| driver.push_any(stream)),
        Deed::Gap(stream) => driver.gap(stream),
        Deed::Run(stream) => driver.push(stream, 10).and_then(|()| driver.begin_run(stream)),
        Deed::Configure(stream, variant) => {
            driver.push(stream, 10).and_then(|()| driver.configure(stream, variant))
        }
        Deed::Anchor(stream) => driver.anchor(stream),
        Deed::Park(stream) => driver.park(stream),
        Deed::Admit(stream) if (stream as u32) < driver.shape.streams => {
            driver.admit(&format!("cam{stream}"))
        }
        Deed::Admit(_) => Ok(()),
        Deed::Work => driver.work(),
        Deed::Round => driver.round(),
        Deed::Lap => driver.lap(),
        Deed::Reopen => driver.reopen(),
        Deed::PowerCut => driver.power_cut(),
        Deed::Hold => driver.hold_any().map(|_| ()),
        Deed::Lift => driver.lift_any(),
    }
}

/// Nearly every block holds footage; the rest is set aside.
fn is_used_whole(driver: &Driver) -> Verdict {
    let view = driver.view();
    let blocks = view.takes.len();
    let idle = blocks - view.live.len();
    demand!(
        idle <= 2 * (view.active + 2),
        "{idle} of {blocks} blocks hold nothing, {} are set aside",
        view.granted.len()
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12 * scale() as u32,
        max_shrink_iters: 60,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(number("KEHA_SEED").unwrap_or(5000)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_stream_holds_its_newest_footage_without_a_hole(
        seed in 0..1000_u64,
        small in any::<bool>(),
        deeds in proptest::collection::vec(deed(), 20..120),
    ) {
        let (size_bytes, streams) = if small { (384 << 10, 1) } else { (704 << 10, 4) };
        let shape = Shape { size_bytes, streams, ..Shape::SMALL };
        let outcome = Driver::new(shape, seed, Cuts::NONE).and_then(|mut driver| {
            driver.clock.advance(std::time::Duration::from_secs(5 * 3600));
            driver.admit("cam0")?;
            deeds.iter().try_for_each(|deed| does(&mut driver, deed))?;
            driver.lap()?;
            driver.lap()?;
            is_used_whole(&driver)?;
            driver.reopen()
        });
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

/// Two laps with all that changes in between, and the order of overwriting watched.
pub(super) fn laps(seed: u64) -> Verdict<u64> {
    laps_on(Shape::SMALL, seed)
}

/// [`laps`] on a volume of this shape.
pub(super) fn laps_on(shape: Shape, seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    for turn in 0..4 {
        driver.lap()?;
        driver.gap(0)?;
        driver.configure(1, turn)?;
        driver.park(turn as usize % 2)?;
        driver.push(0, 9000)?;
        driver.round()?;
        // A stream of few bits writes to its block long after that was taken.
        for _ in 0..20 {
            driver.push(1, 100)?;
            (0..3).try_for_each(|_| driver.push(0, 3000))?;
            driver.round()?;
        }
        driver.reopen()?;
    }
    is_used_whole(&driver)?;
    Ok(driver.judged)
}

#[test]
fn a_stream_of_few_bits_keeps_its_newest_footage_over_laps_of_another() {
    super::for_seeds("laps", 5100, 4, laps);
}

/// Cameras alike fill their blocks at the same moments. Once each has found out, all of them find a block then, whether their blocks
/// are taken as samples come in (`at_once`) or in the round, and whether each second brings as much or every fourth brings most.
/// What is past its age would be overwritten as fast as they record all the time, not only at these moments.
fn alike(seed: u64, bytes: [usize; 4], at_once: bool) -> Verdict<u64> {
    let shape = Shape { size_bytes: 1024 << 10, streams: 6, ..Shape::SMALL };
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    (0..6).try_for_each(|stream| driver.admit(&format!("cam{stream}")))?;
    for second in 0..200 {
        (0..6).try_for_each(|stream| driver.push(stream, bytes[second % bytes.len()]))?;
        if at_once {
            driver.work()?;
        }
        driver.round()?;
        let starved = driver.engine()?.is_starved();
        demand!(second < 40 || !starved, "in second {second} of {bytes:?} a stream finds no block");
        let (jobs, _) = driver.engine()?.erasing_pace();
        demand!(
            second < 4 || jobs > 2,
            "in second {second} of {bytes:?} {jobs} blocks are overwritten at a time"
        );
    }
    Ok(driver.judged)
}

#[test]
fn streams_that_fill_their_blocks_at_the_same_moments_find_blocks_for_all_of_them() {
    for (bytes, at_once) in [[1500; 4], [300; 4], [3000; 4], [2400, 300, 300, 300]]
        .into_iter()
        .flat_map(|bytes| [(bytes, false), (bytes, true)])
    {
        assert_eq!(alike(5300, bytes, at_once).map(|_| ()), Ok(()), "at once: {at_once}");
    }
}
