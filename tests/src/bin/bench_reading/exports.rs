//! A long range to Matroska, over `cp` of the same bytes to the same place.

use crate::made::{self, BEGIN, forget};
use crate::show;
use anyhow::{Result, ensure};
use keha_fs::{StreamName, TimeRange, Volume, Writer};
use keha_player::{ExportRequest, Output};
use keha_tests::ratio::Median;
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
    for cold in [true, false] {
        let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..turns {
            let timed = |what: &dyn Fn() -> Result<()>| -> Result<f64> {
                let _absent = std::fs::remove_file(&out);
                let _absent = std::fs::remove_file(out.with_extension("mkv.json"));
                settle()?;
                if cold {
                    forget(&ring)?;
                    forget(&file)?;
                }
                let begun = Instant::now();
                what()?;
                Ok(bytes as f64 / 1e6 / begun.elapsed().as_secs_f64())
            };
            let cpu_s = own_cpu_s()?;
            ours.push(timed(&|| export(&ring, &out))?);
            cpu.push((own_cpu_s()? - cpu_s) / (bytes as f64 / 1e9));
            if !cold {
                // As far as it fits.
                copy(&file, Path::new("/dev/null"))?;
            }
            theirs.push(timed(&|| copy(&file, &out))?);
        }
        let how = if cold { "cold" } else { "warm" };
        show(&format!("  export, {how}, MB/s"), Median::of(ours.iter().copied()))?;
        show(&format!("  cp, {how}, MB/s"), Median::of(theirs.iter().copied()))?;
        show(&format!("  export, {how}, CPU s/GB"), Median::of(cpu))?;
        show(
            &format!("  export over cp, {how} (goal 0.7)"),
            Median::of_ratios(ours.into_iter().zip(theirs)),
        )?;
    }
    for path in [&ring, &file, &out] {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// What was written before is on the disk: it is to take nothing from what is measured now.
fn settle() -> Result<()> {
    ensure!(Command::new("sync").status()?.success(), "sync failed");
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
    let mut cp = Command::new("cp");
    cp.args(["--reflink=never", "--sparse=never", text(from)?, text(to)?]);
    ensure!(cp.status()?.success(), "{cp:?} failed");
    Ok(())
}
