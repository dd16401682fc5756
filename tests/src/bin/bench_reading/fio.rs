//! fio, as it reads past the page cache by one request after the other.

use anyhow::{Context, Result};
use keha_tests::probe::run_silent;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// What it measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) mb_s: f64,
    /// The slowest hundredth took at least so long, ms.
    pub(crate) p99_ms: f64,
}

/// Reads so many bytes one after the other, `one` at a time, from an offset on.
pub(crate) fn sequential(path: &Path, one: u64, bytes: u64, offset: u64) -> Result<Measured> {
    run(
        path,
        &[
            "--rw=read".to_owned(),
            format!("--bs={one}"),
            format!("--size={bytes}"),
            format!("--offset={offset}"),
        ],
    )
}

/// Reads `one` bytes so often, anywhere in the first `size` bytes, at pages.
pub(crate) fn random(path: &Path, one: u64, size: u64, times: usize, seed: usize) -> Result<Measured> {
    let more = [
        "--rw=randread".to_owned(),
        "--norandommap".to_owned(),
        "--blockalign=4096".to_owned(),
        format!("--bs={one}"),
        format!("--size={size}"),
        format!("--number_ios={times}"),
        format!("--randseed={seed}"),
    ];
    run(path, &more)
}

fn run(path: &Path, more: &[String]) -> Result<Measured> {
    let mut fio = Command::new("fio");
    fio.args([
        "--name=read",
        "--readonly",
        "--direct=1",
        "--ioengine=psync",
        "--thread",
        "--output-format=json",
    ]);
    fio.arg(format!("--filename={}", path.to_str().context("no text")?));
    fio.args(more);
    let told: Value = serde_json::from_str(&run_silent(&mut fio)?)?;
    let read = &told["jobs"][0]["read"];
    let value = |value: &Value| value.as_f64().with_context(|| format!("not told in {told}"));
    // Of all requests what each took is added up: `runtime` tells milliseconds alone.
    let (mean_ns, ios) = (value(&read["lat_ns"]["mean"])?, value(&read["total_ios"])?);
    Ok(Measured {
        mb_s: value(&read["io_bytes"])? / 1e6 / (mean_ns * ios / 1e9),
        p99_ms: value(&read["clat_ns"]["percentile"]["99.000000"])? / 1e6,
    })
}
