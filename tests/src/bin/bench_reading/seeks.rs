//! To the keyframe at or before a random moment.

use crate::made::{Made, S, sealed};
use crate::meter::{Reads, own_calls};
use crate::{fio, quantile, show};
use anyhow::{Context, Result, ensure};
use keha_bench::Median;
use keha_fs::{Item, SampleFlags, StreamId, TimeRange, Volume, WallTime};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::time::Instant;

/// How many seeks a turn has, each into another block.
const SEEKS: usize = 150;
/// Behind a block's first keyframe.
const INSIDE: i64 = 2 * S;

/// What seeks took.
#[derive(Default)]
struct Seeks {
    ms: Vec<f64>,
    calls: Vec<f64>,
    bytes: u64,
}

impl Seeks {
    fn reads(&self) -> f64 {
        self.calls.iter().sum::<f64>() / self.calls.len() as f64
    }
}

pub(crate) fn measure(made: &Made, turns: usize) -> Result<()> {
    let mut chance = StdRng::seed_from_u64(5);
    let (mut cold_reads, mut warm_reads, mut cold_ms, mut warm_ms) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut cold_ratio, mut warm_ratio, mut most) = (Vec::new(), Vec::new(), [0.0_f64; 2]);
    for turn in 0..turns {
        let volume = made.open_cold()?;
        let mut blocks = Vec::new();
        for stream in &made.streams {
            let mut rows = sealed(&volume, *stream);
            // What of the stream holds for all of it is known once anything of it was read.
            let last = rows.pop().context("nothing is recorded")?;
            let (from, _) = last.wall.context("a sealed block without footage")?;
            seek(&volume, *stream, from.plus_ns(INSIDE))?;
            blocks.extend(rows.iter().filter_map(|row| Some((*stream, row.wall?))));
        }
        blocks.shuffle(&mut chance);
        blocks.truncate(SEEKS);
        let mut places = || {
            let place = |(stream, (from, to)): &(StreamId, (WallTime, WallTime))| {
                (*stream, from.plus_ns(chance.random_range(INSIDE..to.since_ns(*from))))
            };
            blocks.iter().map(place).collect::<Vec<_>>()
        };
        let (first, again) = (places(), places());
        let (mut cold, mut warm) = (seeks(&volume, &first)?, seeks(&volume, &again)?);
        let one = |seeks: &Seeks| (seeks.bytes / first.len() as u64).next_multiple_of(4096);
        // What the first seek into a block reads beside the chunk.
        let (chunk, beside) = (one(&warm), one(&cold).saturating_sub(one(&warm)).max(4096));
        let random = |size, seed| fio::random(&made.node, size, made.size_bytes, first.len(), seed);
        let (fio_chunk, fio_beside) = (random(chunk, turn)?, random(beside, turn + 1000)?);
        let (cold_p99, warm_p99) = (quantile(&mut cold.ms, 0.99), quantile(&mut warm.ms, 0.99));
        cold_reads.push(cold.reads());
        warm_reads.push(warm.reads());
        for (most, seeks) in most.iter_mut().zip([&cold, &warm]) {
            *most = seeks.calls.iter().copied().fold(*most, f64::max);
        }
        cold_ms.push(cold_p99);
        warm_ms.push(warm_p99);
        cold_ratio.push((cold_p99, fio_chunk.p99_ms + fio_beside.p99_ms));
        warm_ratio.push((warm_p99, fio_chunk.p99_ms));
        if turn == 0 {
            println!(
                "seeks to random keyframes, {} a turn; chunks of {} KiB, {} KiB beside",
                first.len(),
                chunk >> 10,
                beside >> 10
            );
        }
    }
    show("  reads one after the other, the first into a block (goal 2)", Median::of(cold_reads))?;
    show("  the same into a block whose footer was read (goal 1)", Median::of(warm_reads))?;
    println!("  most of one seek: {}, {}", most[0], most[1]);
    show("  p99 of the first, ms", Median::of(cold_ms))?;
    show("  p99 of the others, ms", Median::of(warm_ms))?;
    show("  p99 of the first over fio, both sizes (goal 1.3)", Median::of_ratios(cold_ratio))?;
    show("  p99 of the others over fio (goal 1.3)", Median::of_ratios(warm_ratio))
}

fn seeks(volume: &Volume, places: &[(StreamId, WallTime)]) -> Result<Seeks> {
    let own = own_calls()?;
    let mut seeks = Seeks::default();
    for (stream, at) in places {
        let (before, begun) = (Reads::of_thread()?, Instant::now());
        seek(volume, *stream, *at)?;
        seeks.ms.push(begun.elapsed().as_secs_f64() * 1e3);
        let reads = Reads::of_thread()?.since(before);
        seeks.calls.push(reads.calls.saturating_sub(own) as f64);
        seeks.bytes += reads.bytes;
    }
    Ok(seeks)
}

fn seek(volume: &Volume, stream: StreamId, at: WallTime) -> Result<()> {
    let mut cursor = volume.read(stream, TimeRange { from: Some(at), to: None })?;
    while let Some(item) = cursor.next_item()? {
        if let Item::Sample(sample) = item {
            ensure!(sample.flags.contains(SampleFlags::SYNC) && sample.wall <= at, "no keyframe at {at:?}");
            return Ok(());
        }
    }
    anyhow::bail!("nothing at {at:?}")
}
