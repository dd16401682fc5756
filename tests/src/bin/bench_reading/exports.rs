//! A long range to Matroska, over `cp` of the same bytes to the same place. An export is on the disk when it is done; `cp` is where `sync` is
//! called behind it.

use crate::made::{self, BEGIN, forget};
use crate::show;
use anyhow::{Result, ensure};
use keha_bench::Median;
use keha_fs::{StreamName, TimeRange, Volume, Writer};
use keha_player::{ExportRequest, Output};
use keha_tests::rig::text;
use keha_tests::usage::own_cpu_s;
use keha_tests::written::{Recorded, push};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

pub(crate) fn measure(dir: &Path, recorded: &Recorded, bytes: u64, turns: usize) -> Result<()> {
    let (ring, file, out) = (dir.join("one.ring"), dir.join("one.mkv"), dir.join("out.mkv"));
    made::create(&ring, bytes + bytes / 50 + (320 << 20), 2)?;
    let writer = Writer::open(&ring, made::options(recorded), Box::new(|_| {}))?;
    let mut stream = recorded.begin(&writer, "one", BEGIN)?;
    let samples = (bytes / recorded.bytes() + 1) as usize * recorded.samples.len();
    for number in 0..samples {
        push(&mut stream, &recorded.sample(number)?)?;
    }
    drop(stream);
    writer.close()?;
    export(&ring, &file)?;
    let bytes = std::fs::metadata(&file)?.len();
    println!("a range of {:.2} GB into a file on the same disk:", bytes as f64 / 1e9);
    let mb_s = |begun: Instant| bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    for cold in [true, false] {
        let (mut ours, mut copied, mut synced, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..turns {
            let timed = |what: &mut dyn FnMut(Instant) -> Result<()>| -> Result<f64> {
                let _absent = std::fs::remove_file(&out);
                let _absent = std::fs::remove_file(out.with_extension("mkv.json"));
                settle()?;
                if cold {
                    forget(&ring)?;
                    forget(&file)?;
                }
                let begun = Instant::now();
                what(begun)?;
                Ok(mb_s(begun))
            };
            let cpu_s = own_cpu_s()?;
            ours.push(timed(&mut |_| export(&ring, &out))?);
            cpu.push((own_cpu_s()? - cpu_s) / (bytes as f64 / 1e9));
            if !cold {
                // As far as it fits.
                copy(&file, Path::new("/dev/null"))?;
            }
            let mut alone = 0.0;
            synced.push(timed(&mut |begun| {
                copy(&file, &out)?;
                alone = mb_s(begun);
                run(Command::new("sync").arg(&out))
            })?);
            copied.push(alone);
        }
        let how = if cold { "cold" } else { "warm" };
        show(&format!("  export, {how}, MB/s"), Median::of(ours.iter().copied()))?;
        show(&format!("  cp, {how}, MB/s"), Median::of(copied.iter().copied()))?;
        show(&format!("  cp and sync, {how}, MB/s"), Median::of(synced.iter().copied()))?;
        show(&format!("  export, {how}, CPU s/GB"), Median::of(cpu))?;
        let over = |theirs: Vec<f64>| Median::of_ratios(ours.iter().copied().zip(theirs));
        show(&format!("  export over cp, {how}"), over(copied))?;
        show(&format!("  export over cp and sync, {how} (goal 0.7)"), over(synced))?;
    }
    for path in [&ring, &file, &out] {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// What was written before is on the disk: it is to take nothing from what is measured now.
fn settle() -> Result<()> {
    run(&mut Command::new("sync"))
}

fn run(command: &mut Command) -> Result<()> {
    ensure!(command.status()?.success(), "{command:?} failed");
    Ok(())
}

fn export(ring: &Path, out: &Path) -> Result<()> {
    let request =
        ExportRequest { streams: vec![StreamName::new("one")?], range: TimeRange::default(), run: None };
    let output = Output::File { path: out.to_owned(), force: true };
    let report =
        keha_player::export(&Volume::open(ring)?, &request, output, &mut |_| ControlFlow::Continue(()))?;
    ensure!(report.is_complete(), "the export is not complete");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["--reflink=never", "--sparse=never", text(from)?, text(to)?]))
}
