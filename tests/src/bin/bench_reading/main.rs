//! What reading footage back costs by itself, as ratios within one run: against fio on the same file or partition, and against `cp`.
//!
//! Rows: `stretch` (all of one stream of sixty, over fio's sequential reads of the same size), `seek` (to random keyframes: how many reads
//! wait for each other, and the slowest hundredth over that of fio's random reads of the same sizes), `export` (to Matroska, over `cp` of
//! the same bytes to the same place), `mixed` (sixty streams written while sixteen are played and four exported: what rounds take, and
//! what is dropped). Arguments are `name=value`: `rows=stretch,seek` (all), `turns=15`, `gigabytes=8` (the ring of sixty streams, written
//! whole), `export=4.2` (gigabytes of the stream that is exported), `seconds=300` (of `mixed`), `place=PATH` (a file that does not exist yet, or a partition
//! on which a volume may be made or has been by this program: `partuuid:...`).
//!
//! Both sides read past the page cache, one request after the other, but where it is said: what the system remembers of the ring is
//! dropped before each turn. Use a release build, on a machine that does nothing else.
#![forbid(unsafe_code)]

mod exports;
mod fio;
mod made;
mod meter;
mod mixed;
mod seeks;
mod stretches;

use anyhow::{Context, Result, bail};
use keha_bench::Median;
use keha_tests::ground::Ground;
use keha_tests::media::ClipKind;
use keha_tests::rig::{Rig, named};
use keha_tests::written::Recorded;
use std::path::PathBuf;
use std::time::Duration;

/// What is asked for.
struct Wanted {
    rows: Vec<String>,
    turns: usize,
    gigabytes: f64,
    export: f64,
    seconds: u64,
    place: Option<PathBuf>,
}

impl Wanted {
    fn new() -> Result<Wanted> {
        let rows = ["stretch", "seek", "export", "mixed"].map(str::to_owned).to_vec();
        let mut wanted = Wanted { rows, turns: 15, gigabytes: 8.0, export: 4.2, seconds: 300, place: None };
        for argument in std::env::args().skip(1) {
            let (name, value) =
                argument.split_once('=').with_context(|| format!("{argument}: use name=value"))?;
            match name {
                "rows" => wanted.rows = value.split(',').map(str::to_owned).collect(),
                "turns" => wanted.turns = value.parse()?,
                "gigabytes" => wanted.gigabytes = value.parse()?,
                "export" => wanted.export = value.parse()?,
                "seconds" => wanted.seconds = value.parse()?,
                "place" => wanted.place = Some(value.into()),
                _ => bail!("{name}: no such argument"),
            }
        }
        Ok(wanted)
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.iter().any(|wanted| wanted == row)
    }
}

fn main() -> Result<()> {
    let wanted = Wanted::new()?;
    let rig = Rig::new(Ground::File, &named(1, &[ClipKind::Main]), "64MiB")?;
    rig.record(&["--duration", "12s"])?.wait(Duration::from_secs(60))?;
    let recorded = Recorded::of(&rig.volume)?;
    println!("{} turns; median (95 % interval)", wanted.turns);
    if wanted.wants("stretch") || wanted.wants("seek") {
        let place = wanted.place.clone().unwrap_or_else(|| rig.dir.path().join("sixty.ring"));
        let made = made::sixty(&place, &recorded, (wanted.gigabytes * 1e9) as u64)?;
        if wanted.wants("stretch") {
            stretches::measure(&made, wanted.turns)?;
        }
        if wanted.wants("seek") {
            seeks::measure(&made, wanted.turns)?;
        }
        if wanted.place.is_none() {
            std::fs::remove_file(&place)?;
        }
    }
    if wanted.wants("export") {
        exports::measure(rig.dir.path(), &recorded, (wanted.export * 1e9) as u64, wanted.turns)?;
    }
    if wanted.wants("mixed") {
        mixed::measure(rig.dir.path(), &recorded, wanted.seconds, wanted.turns)?;
    }
    Ok(())
}

fn show(what: &str, median: Option<Median>) -> Result<()> {
    println!("{what}: {}", median.context("nothing was measured")?);
    Ok(())
}

/// The value below which this share of others lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}
