//! Damage done to a recorded volume's file by another program: blocks swapped, of an earlier time or of another volume, the
//! first MiB overwritten, the end cut off, all descriptions lost. Named by `check`, never served as something else, the rest
//! served; what describes the volume is rebuilt by `check --repair`.

use super::figure;
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::media::nal::NalHash;
use crate::process::{keha, keha_ok};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Export, Rig, named, text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A recorded volume, what was exported of it before, and where the faults come from.
struct Subject {
    rig: Rig,
    /// The volume a lap before.
    earlier: PathBuf,
    /// Another volume of the same size.
    other: PathBuf,
    /// Each camera's samples as they were exported of the sound volume: how often each comes, for clips repeat.
    whole: Vec<HashMap<NalHash, usize>>,
    /// The rows of blocks with footage.
    blocks: Vec<Value>,
}

/// What an export of a damaged volume came to.
struct Outcome {
    samples: usize,
    missing: usize,
    status: i32,
}

/// Records, then does `pairs` of each kind of fault.
pub fn whole(ground: Ground, pairs: usize, limit: Duration) -> Result<()> {
    let subject = Subject::record(ground, limit)?;
    let mut tried = 0;
    for which in 0..pairs {
        let blocks = subject.blocks.len();
        ensure!(blocks > 8, "only {blocks} blocks of footage");
        let (first, second) = (which * 5 % blocks, (which * 7 + blocks / 2) % blocks);
        if first == second {
            continue;
        }
        subject.swapped(first, second).with_context(|| format!("blocks {first} and {second} swapped"))?;
        let earlier = subject.earlier.clone();
        subject
            .replaced(first, &earlier, "an older take")
            .with_context(|| format!("block {first} of before"))?;
        let other = subject.other.clone();
        subject
            .replaced(second, &other, "another volume")
            .with_context(|| format!("block {second} of another"))?;
        tried += 3;
    }
    subject.front_overwritten().context("the first MiB overwritten")?;
    subject.cut_short().context("the end cut off")?;
    subject.read_only().context("a file that nobody may write")?;
    subject.all_descriptions_lost().context("superblocks, directories, round log and table lost")?;
    let samples: usize = subject.whole.iter().flat_map(HashMap::values).sum();
    figure(
        "damage",
        &format!(
            "{tried} blocks in wrong places, front, end and all descriptions lost, {} blocks with {samples} samples: \
             all named, nothing wrong served, all that stood served",
            subject.blocks.len()
        ),
    );
    Ok(())
}

/// The first superblock's number at a place in it (`docs/format.md`, Superblock).
fn superblock_number(file: &File, at: u64) -> Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Overwrites all that describes a volume: superblocks, directories, holds, round log, table, sessions.
fn lose_descriptions(file: &File) -> Result<()> {
    let number = |at| superblock_number(file, at);
    let (first_block, back, size) = (number(288)?, number(216)?, number(104)?);
    let inner = [number(264)?, number(272)?];
    file.write_all_at(&vec![0xA5; usize::try_from(first_block)?], 0)?;
    file.write_all_at(&vec![0xA5; usize::try_from(size - back)?], back)?;
    for at in inner {
        file.write_all_at(&[0xA5; 4096], at)?;
    }
    Ok(())
}

/// The same, but for the sessions at the end: by them a volume that was never full is known to be whole.
pub(super) fn lose_all_but_sessions(file: &File) -> Result<()> {
    let (at, end) = (superblock_number(file, 232)?, superblock_number(file, 240)?);
    lose_all_but(file, &[(at, end)])
}

/// The same, but for the sessions and one copy of the holds, that at the front.
pub(super) fn lose_all_but_sessions_and_holds(file: &File) -> Result<()> {
    let (sessions, behind) = (superblock_number(file, 232)?, superblock_number(file, 240)?);
    let (holds, next) = (superblock_number(file, 176)?, superblock_number(file, 184)?);
    lose_all_but(file, &[(sessions, behind), (holds, next)])
}

fn lose_all_but(file: &File, kept: &[(u64, u64)]) -> Result<()> {
    let read = |(at, end): &(u64, u64)| -> Result<(u64, Vec<u8>)> {
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(*at))?];
        file.read_exact_at(&mut bytes, *at)?;
        Ok((*at, bytes))
    };
    let kept = kept.iter().map(read).collect::<Result<Vec<_>>>()?;
    lose_descriptions(file)?;
    for (at, bytes) in kept {
        ensure!(!bytes.is_empty(), "nothing to keep at {at}");
        file.write_all_at(&bytes, at)?;
    }
    Ok(())
}

impl Subject {
    fn record(ground: Ground, limit: Duration) -> Result<Subject> {
        let mut rig = Rig::new(ground, &named(2, &[ClipKind::Main, ClipKind::H265Cra]), "64MiB")?;
        for camera in rig.cameras.clone() {
            rig.server.stop(&camera.name)?;
            rig.server.add_with(&camera.name, &camera.clip, 8.0, false)?;
        }
        let blocks = blocks_of(&rig.volume)?;
        fill(&rig, &rig.volume, blocks, limit)?;
        let earlier = rig.dir.path().join("earlier.ring");
        rig.laid.copy_to(&earlier)?;
        // Wherever that ended: a lap further, and some, every block is of another take.
        fill(&rig, &rig.volume, newest(&earlier)? + blocks + 8, limit)?;
        let other = rig.dir.path().join("other.ring");
        rig::create_volume(&other, "64MiB", 2)?;
        fill(&rig, &other, blocks_of(&other)?, limit)?;
        rig::assert_check_clean(&rig.volume)?;
        let whole = rig.cameras.iter().map(|camera| Ok(counted(&rig.export(&camera.name)?)));
        let whole = whole.collect::<Result<Vec<_>>>()?;
        let rows = rig::volume_json("blocks", &rig.volume)?;
        let rows = rows["blocks"].as_array().context("blocks")?;
        let blocks = rows.iter().filter(|row| row["samples"].as_u64() > Some(0)).cloned().collect();
        Ok(Subject { rig, earlier, other, whole, blocks })
    }

    /// A copy of the volume to be damaged.
    fn copy(&self) -> Result<(PathBuf, File)> {
        let path = self.rig.dir.path().join("damaged.ring");
        self.rig.laid.copy_to(&path)?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok((path, file))
    }

    fn place(&self, which: usize) -> Result<u64> {
        self.blocks.get(which).and_then(|row| row["at"].as_u64()).context("where a block begins")
    }

    fn block_bytes(&self) -> Result<usize> {
        let info = rig::volume_json("info", &self.rig.volume)?;
        Ok(usize::try_from(info["volume"]["block_bytes"].as_u64().context("block_bytes")?)?)
    }

    fn read(&self, from: &Path, which: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.block_bytes()?];
        File::open(from)?.read_exact_at(&mut bytes, self.place(which)?)?;
        Ok(bytes)
    }

    fn swapped(&self, first: usize, second: usize) -> Result<()> {
        let (path, file) = self.copy()?;
        file.write_all_at(&self.read(&self.rig.laid.raw, first)?, self.place(second)?)?;
        file.write_all_at(&self.read(&self.rig.laid.raw, second)?, self.place(first)?)?;
        self.judge(&path, &[first, second], "of this volume stands here")
    }

    fn replaced(&self, which: usize, from: &Path, says: &str) -> Result<()> {
        let (path, file) = self.copy()?;
        file.write_all_at(&self.read(from, which)?, self.place(which)?)?;
        self.judge(&path, &[which], says)
    }

    /// `check` names each of these blocks and no other; what is missing stood in them; a repair makes it no worse.
    fn judge(&self, path: &Path, hit: &[usize], says: &str) -> Result<()> {
        let report = rig::check(path)?;
        let findings = report["findings"].as_array().context("findings")?;
        for which in hit {
            let block = &self.blocks[*which]["block"];
            let named = findings.iter().find(|finding| finding["block"] == *block);
            let named = named.with_context(|| format!("block {block} is not named: {report:#}"))?;
            ensure!(
                named["detail"].as_str().is_some_and(|detail| detail.contains(says)),
                "{named} says not: {says}"
            );
        }
        let known =
            |finding: &Value| hit.iter().any(|which| self.blocks[*which]["block"] == finding["block"]);
        ensure!(findings.iter().all(known), "other blocks are named: {report:#}");
        let before = self.export_all(path)?;
        let lost: u64 = hit.iter().filter_map(|which| self.blocks[*which]["samples"].as_u64()).sum();
        let missing: usize = before.iter().map(|outcome| outcome.missing).sum();
        // A sample may be split over a block's edge, on either side; and where a run begins in the block, what is left of it is
        // given from the next keyframe on.
        let most = usize::try_from(lost)? + (2 + self.keyframe_distance()) * hit.len();
        ensure!(missing > 0 && missing <= most, "{missing} samples are missing, in the blocks were {lost}");
        ensure!(before.iter().any(|outcome| outcome.status == 3), "no export says that it is incomplete");
        let output = keha(&["volume", "check", text(path)?, "--repair"], COMMAND_LIMIT)?;
        ensure!(output.status.code() == Some(3), "check --repair: {}", output.status);
        let after = self.export_all(path)?;
        let better = before.iter().zip(&after).all(|(before, after)| after.samples >= before.samples);
        ensure!(better, "less is exported after the repair");
        Ok(())
    }

    /// The most samples from one keyframe to the next.
    fn keyframe_distance(&self) -> usize {
        let tracks = self.rig.cameras.iter().flat_map(|camera| &camera.clip.tracks);
        let longest = tracks.map(|track| {
            track.samples.split(|sample| sample.sync).map(|between| between.len() + 1).max().unwrap_or(0)
        });
        longest.max().unwrap_or(0)
    }

    /// Exports every camera; each sample must be one that was recorded, as often as it was.
    fn export_all(&self, volume: &Path) -> Result<Vec<Outcome>> {
        let cameras = self.rig.cameras.iter().zip(&self.whole);
        cameras.map(|(camera, whole)| self.export(volume, &camera.name, whole)).collect()
    }

    fn export(&self, volume: &Path, stream: &str, whole: &HashMap<NalHash, usize>) -> Result<Outcome> {
        let out = self.rig.dir.path().join("damaged.mkv");
        let arguments = ["export", text(volume)?, "--stream", stream, "-o", text(&out)?, "--force"];
        let output = keha(&arguments, COMMAND_LIMIT)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status.code().context("killed")?;
        ensure!(matches!(status, 0 | 3), "export of {stream} ended with {status}: {said}");
        let export = rig::read_export(&out)?;
        let found = counted(&export);
        let foreign =
            found.iter().filter(|(hash, count)| whole.get(hash).is_none_or(|whole| whole < count)).count();
        ensure!(foreign == 0, "{foreign} samples of {stream} that were never recorded there");
        let samples: usize = found.values().sum();
        let missing = whole.values().sum::<usize>() - samples;
        for part in &export.parts {
            std::fs::remove_file(&part.path)?;
        }
        Ok(Outcome { samples, missing, status })
    }

    fn front_overwritten(&self) -> Result<()> {
        let (path, file) = self.copy()?;
        let junk: Vec<u8> =
            (0..MIB as u32 / 4).flat_map(|i| i.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
        file.write_all_at(&junk, 0)?;
        let volume = text(&path)?;
        self.is_told(volume)?;
        let before = self.only_from(&path, MIB)?;
        let repaired = keha(&["volume", "check", volume, "--repair"], COMMAND_LIMIT)?;
        ensure!(matches!(repaired.status.code(), Some(0 | 3)), "check --repair: {}", repaired.status);
        // What describes the volume stands again; footage that was overwritten does not.
        keha_ok(&["volume", "info", volume], COMMAND_LIMIT)?;
        let after = self.only_from(&path, MIB)?;
        ensure!(after >= before, "{before} samples were there before the repair, {after} after it");
        Ok(())
    }

    /// Exports everything of a volume that was overwritten up to a place: how many samples there are; missing are none but those
    /// of blocks that begin before it.
    fn only_from(&self, path: &Path, place: u64) -> Result<usize> {
        let before = |row: &&Value| row["at"].as_u64().is_some_and(|at| at < place);
        let lost: u64 = self.blocks.iter().filter(before).filter_map(|row| row["samples"].as_u64()).sum();
        let outcomes = self.export_all(path)?;
        let missing: usize = outcomes.iter().map(|outcome| outcome.missing).sum();
        // Behind a block that is lost, reading begins with the next picture that needs no other.
        let most = if lost == 0 { 0 } else { usize::try_from(lost)? + 100 };
        ensure!(missing <= most, "{missing} samples are missing, overwritten were {lost}");
        Ok(outcomes.iter().map(|outcome| outcome.samples).sum())
    }

    /// `info`, `blocks` and `check` say that something is wrong, by their exit status too.
    fn is_told(&self, volume: &str) -> Result<()> {
        for command in ["info", "blocks", "check"] {
            let output = keha(&["volume", command, volume], COMMAND_LIMIT)?;
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            let said = String::from_utf8_lossy(&said);
            ensure!(
                output.status.code() == Some(3) && said.contains("damaged "),
                "volume {command} ended with {}: {said}",
                output.status
            );
        }
        Ok(())
    }

    fn cut_short(&self) -> Result<()> {
        let (path, file) = self.copy()?;
        let length = 41 * MIB + 777;
        file.set_len(length)?;
        let volume = text(&path)?;
        self.is_told(volume)?;
        let outcomes = self.export_all(&path)?;
        ensure!(
            outcomes.iter().all(|outcome| outcome.status == 3),
            "an export of a part says that it is whole"
        );
        let behind = |row: &&Value| row["at"].as_u64().is_some_and(|at| at + 2 * MIB > length);
        let lost: u64 = self.blocks.iter().filter(behind).filter_map(|row| row["samples"].as_u64()).sum();
        let missing: usize = outcomes.iter().map(|outcome| outcome.missing).sum();
        ensure!(
            missing > 0 && missing as u64 <= lost + 64,
            "{missing} samples are missing, behind the end were {lost}"
        );
        let repaired = keha(&["volume", "check", volume, "--repair"], COMMAND_LIMIT)?;
        ensure!(repaired.status.code() == Some(1), "a part of a volume is repaired: {}", repaired.status);
        ensure!(std::fs::metadata(&path)?.len() == length, "something was written to it");
        Ok(())
    }

    fn read_only(&self) -> Result<()> {
        let (path, _) = self.copy()?;
        let mut permissions = std::fs::metadata(&path)?.permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&path, permissions)?;
        rig::assert_check_clean(&path)?;
        for outcome in self.export_all(&path)? {
            ensure!(outcome.missing == 0, "{} samples are missing", outcome.missing);
        }
        std::fs::remove_file(&path)?;
        Ok(())
    }

    /// Everything but the blocks is gone, as `docs/format.md` says where it stands.
    fn all_descriptions_lost(&self) -> Result<()> {
        let (path, file) = self.copy()?;
        lose_descriptions(&file)?;
        let volume = text(&path)?;
        let info = keha(&["volume", "info", volume], COMMAND_LIMIT)?;
        ensure!(info.status.code() == Some(1), "without any superblock it opens: {}", info.status);
        let before = std::fs::read(&path)?;
        let plan = keha(&["volume", "check", volume, "--repair", "--dry-run", "--json"], COMMAND_LIMIT)?;
        ensure!(plan.status.code() == Some(3), "dry run: {}", String::from_utf8_lossy(&plan.stderr));
        ensure!(std::fs::read(&path)? == before, "a dry run writes");
        let plan: Value = serde_json::from_slice(&plan.stdout)?;
        let nameless = plan["nameless"].as_array().context("nameless")?;
        let streams = rig::volume_json("info", &self.rig.volume)?;
        let mut arguments = vec!["volume".to_owned(), "check".into(), volume.into(), "--repair".into()];
        for stream in streams["streams"].as_array().context("streams")? {
            let found = nameless.iter().find(|found| found["id"] == stream["id"]);
            let found = found.with_context(|| format!("{stream} is not found again: {plan:#}"))?;
            let (old, new) =
                (found["name"].as_str().context("name")?, stream["name"].as_str().context("name")?);
            arguments.extend(["--name".to_owned(), format!("{old}={new}")]);
        }
        keha_ok(&arguments, COMMAND_LIMIT)?;
        rig::assert_check_clean(&path)?;
        for outcome in self.export_all(&path)? {
            ensure!(outcome.missing == 0 && outcome.status == 0, "{} samples are missing", outcome.missing);
        }
        let repaired = rig::volume_json("info", &path)?;
        ensure!(
            repaired["streams"] == streams["streams"] || same_footage(&repaired, &streams),
            "{repaired:#}"
        );
        Ok(())
    }
}

/// Whether two volumes have the same streams with the same footage, whenever they were admitted.
fn same_footage(one: &Value, two: &Value) -> bool {
    let of = |info: &Value| -> Vec<Vec<Value>> {
        let fields = ["name", "id", "first", "last", "samples", "blocks"];
        let streams = info["streams"].as_array().cloned().unwrap_or_default();
        streams.iter().map(|stream| fields.iter().map(|field| stream[*field].clone()).collect()).collect()
    };
    of(one) == of(two)
}

/// Every sample of an export, and how often it comes.
fn counted(export: &Export) -> HashMap<NalHash, usize> {
    let mut counts = HashMap::new();
    let tracks = export.parts.iter().flat_map(|part| &part.mkv.tracks);
    for hash in tracks.flat_map(|track| track.hashes()) {
        *counts.entry(hash).or_default() += 1;
    }
    counts
}

fn blocks_of(volume: &Path) -> Result<u64> {
    rig::volume_json("info", volume)?["volume"]["blocks"].as_u64().context("blocks")
}

/// How many blocks of a volume were ever taken.
fn newest(volume: &Path) -> Result<u64> {
    Ok(super::lap::sequences(&rig::volume_json("blocks", volume)?).into_iter().max().unwrap_or(0))
}

/// Records both cameras until so many blocks of a volume were taken.
fn fill(rig: &Rig, volume: &Path, taken: u64, limit: Duration) -> Result<()> {
    let cameras = rig.cameras.iter().map(|camera| (camera.name.as_str(), camera.url.as_str()));
    let mut recorder = rig::record(volume, cameras, &[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    wait::until("the ring to be filled", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        std::thread::sleep(Duration::from_millis(250));
        Ok((newest(volume)? >= taken).then_some(()))
    })?;
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "SIGTERM");
    Ok(())
}
