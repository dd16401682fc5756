//! Random one-byte corruptions: each is found and named, and costs at most the sample it hit.

use super::figure;
use crate::footage;
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::media::nal::NalHash;
use crate::process::{keha, keha_ok};
use crate::rig::{self, COMMAND_LIMIT, Camera, Rig, named, text};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Corrupts `count` bytes of live data, one at a time.
pub fn whole(ground: Ground, count: usize, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let kinds = [ClipKind::WithAac, ClipKind::WithG711, ClipKind::Small];
    let rig = Rig::new(ground, &named(3, &kinds), "64MiB")?;
    ensure!(rig.record(&["--duration", "20s"])?.wait(Duration::from_secs(80))?.success(), "record");
    rig::assert_check_clean(&rig.volume)?;
    let ranges = live_ranges(&rig.volume)?;
    let live: u64 = ranges.iter().map(|(from, to)| to - from).sum();
    let whole: Vec<_> = rig.cameras.iter().map(|camera| samples(&rig, camera)).collect::<Result<_>>()?;
    let file = OpenOptions::new().read(true).write(true).open(&rig.laid.raw)?;
    let mut lost = 0;
    for number in 0..count {
        let at = loop {
            let at = place(&ranges, random.random_range(0..live));
            if !is_padding(&file, at)? {
                break at;
            }
        };
        let mut old = [0];
        file.read_exact_at(&mut old, at)?;
        let new = [old[0] ^ random.random_range(1..=255_u8)];
        file.write_all_at(&new, at)?;
        let case =
            || format!("corruption {number} (seed {seed}): byte {at}, {:#04x} to {:#04x}", old[0], new[0]);
        let report = rig::check(&rig.volume).with_context(case)?;
        let findings = report["findings"].as_array().context("findings")?;
        ensure!(!findings.is_empty(), "{}: not found", case());
        for (camera, whole) in rig.cameras.iter().zip(&whole) {
            // Every camera each time would cost hours; the one that was hit, and another in turn.
            let hit = findings.iter().any(|finding| finding["stream"] == camera.name.as_str());
            if hit || number % 50 == 0 {
                lost += export_damaged(&rig, camera, whole).with_context(case)?;
            }
        }
        file.write_all_at(&old, at)?;
    }
    rig::assert_check_clean(&rig.volume)?;
    figure(
        "corrupt",
        &format!(
            "{count} corruptions in {live} live bytes (seed {seed}): all found, {lost} samples lost, none wrong"
        ),
    );
    Ok(())
}

/// All samples of a camera in the undamaged volume, track by track.
fn samples(rig: &Rig, camera: &Camera) -> Result<Vec<Vec<NalHash>>> {
    let export = rig.export(&camera.name)?;
    footage::video_run(&export.only()?.mkv, &camera.clip)?;
    let of_track = |track: &crate::probe::MkvTrack| track.hashes();
    Ok(export.only()?.mkv.tracks.iter().map(of_track).collect())
}

/// Exports from the damaged volume; answers how many samples are missing, at most one.
fn export_damaged(rig: &Rig, camera: &Camera, whole: &[Vec<NalHash>]) -> Result<usize> {
    let out = rig.dir.path().join("damaged.mkv");
    let arguments = ["export", text(&rig.volume)?, "--stream", &camera.name, "-o", text(&out)?, "--force"];
    let output = keha(&arguments, COMMAND_LIMIT)?;
    ensure!(
        matches!(output.status.code(), Some(0 | 3)),
        "export ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let export = rig::read_export(&out)?;
    let mut missing = 0;
    for (k, original) in whole.iter().enumerate() {
        let known: HashSet<_> = original.iter().copied().collect();
        let left: Vec<_> =
            export.parts.iter().filter_map(|part| part.mkv.tracks.get(k)).flat_map(|t| t.hashes()).collect();
        ensure!(left.iter().all(|hash| known.contains(hash)), "a sample that was never recorded");
        missing += original.len() - left.len().min(original.len());
    }
    ensure!(missing <= 1, "{missing} samples lost by one byte");
    ensure!((missing > 0) == (output.status.code() == Some(3)), "{missing} missing, exit {}", output.status);
    for part in &export.parts {
        std::fs::remove_file(&part.path)?;
    }
    Ok(missing)
}

/// Byte ranges of blocks with footage: where `keha volume dump` says a block begins, as far as `blocks` says it is used.
fn live_ranges(volume: &Path) -> Result<Vec<(u64, u64)>> {
    let blocks = rig::volume_json("blocks", volume)?;
    let mut ranges = Vec::new();
    for row in blocks["blocks"].as_array().context("blocks")? {
        if row["stream"].is_null() {
            continue;
        }
        let at = block_at(volume, row["block"].as_u64().context("block")?)?;
        ranges.push((at, at + row["used_bytes"].as_u64().context("used_bytes")?));
    }
    ensure!(!ranges.is_empty(), "no live block");
    Ok(ranges)
}

/// Where a block begins.
pub(super) fn block_at(volume: &Path, block: u64) -> Result<u64> {
    let block = block.to_string();
    let dump = keha_ok(&["volume", "dump", text(volume)?, "--block", &block], COMMAND_LIMIT)?;
    let at = dump.split_whitespace().skip_while(|word| *word != "at").nth(1);
    at.and_then(|word| word.trim_end_matches(':').parse().ok()).context("no place in the dump")
}

/// Padding between chunks is not live: a stretch of zeros on both sides of the byte.
fn is_padding(file: &File, at: u64) -> Result<bool> {
    let mut around = [0; 48];
    file.read_exact_at(&mut around, at - 24)?;
    Ok(around.iter().all(|byte| *byte == 0))
}

fn place(ranges: &[(u64, u64)], mut offset: u64) -> u64 {
    for (from, to) in ranges {
        if offset < to - from {
            return from + offset;
        }
        offset -= to - from;
    }
    unreachable!("an offset beyond all live bytes")
}
