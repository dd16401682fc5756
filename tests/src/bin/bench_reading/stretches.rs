//! All of one stream of sixty, one sample after the other.

use crate::made::{Made, S, sealed};
use crate::meter::Reads;
use crate::{fio, show};
use anyhow::{Context, Result, ensure};
use keha_bench::Median;
use keha_fs::{Item, StreamId, TimeRange, Volume};
use keha_tests::usage::own_cpu_s;
use std::time::Instant;

pub(crate) fn measure(made: &Made, turns: usize) -> Result<()> {
    let (mut ours, mut theirs, mut sizes, mut cpu, mut over) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut length_s = 0;
    for (turn, stream) in made.streams.iter().cycle().take(turns).enumerate() {
        let volume = made.open_cold()?;
        let rows = sealed(&volume, *stream);
        let walls = rows.first().and_then(|row| row.wall).zip(rows.last().and_then(|row| row.wall));
        let ((from, _), (_, to)) = walls.context("nothing is recorded")?;
        length_s = to.since_ns(from) / S;
        let (before, cpu_s, begun) = (Reads::of_process()?, own_cpu_s()?, Instant::now());
        let bytes = read(&volume, *stream, TimeRange { from: Some(from), to: Some(to) })?;
        let took = begun.elapsed().as_secs_f64();
        cpu.push((own_cpu_s()? - cpu_s) / (bytes as f64 / 1e9));
        let reads = Reads::of_process()?.since(before);
        ensure!(bytes > 0, "nothing came");
        let one = (reads.bytes / reads.calls.max(1)).next_multiple_of(4096);
        let room = (made.size_bytes - (256 << 20)).saturating_sub(bytes).max(1);
        let offset = (128 << 20) + (turn as u64 * 997 * (1 << 20)) % room;
        let fio = fio::sequential(&made.node, one, bytes / one * one, offset / 4096 * 4096)?;
        ours.push(bytes as f64 / 1e6 / took);
        theirs.push(fio.mb_s);
        sizes.push(one as f64 / 1024.0);
        over.push(reads.bytes as f64 / bytes as f64);
    }
    println!("one stream of sixty, {length_s} s at 4 Mbit/s:");
    show("  read, MB/s", Median::of(ours.iter().copied()))?;
    show("  fio, MB/s", Median::of(theirs.iter().copied()))?;
    show("  KiB a read", Median::of(sizes))?;
    show("  bytes read over needed", Median::of(over))?;
    show("  CPU s/GB", Median::of(cpu))?;
    show("  read over fio (goal 0.9)", Median::of_ratios(ours.into_iter().zip(theirs)))
}

/// Reads all samples of a range; answers their bytes.
fn read(volume: &Volume, stream: StreamId, range: TimeRange) -> Result<u64> {
    let mut cursor = volume.read(stream, range)?.reading_ahead();
    let mut bytes = 0;
    while let Some(item) = cursor.next_item()? {
        if let Item::Sample(sample) = item {
            bytes += sample.data.len() as u64;
        }
    }
    Ok(bytes)
}
