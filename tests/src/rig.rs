//! A recording set up in one go: cameras, a volume, the recorder on it, and exports taken apart for judging.
//!
//! Must not live here: what a good recording is ([`crate::points`]).

use crate::ground::{Ground, Hangs, Laid};
use crate::media::nal::NalHash;
use crate::media::{Clip, ClipKind, Codec};
use crate::probe::{self, Mkv};
use crate::process::{self, Running, keha_ok};
use crate::server::{CameraServer, Options};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The longest a command may take that is not a recording.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// A camera of the rig.
#[derive(Clone, Debug)]
pub struct Camera {
    /// Its name, which is its stream's.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What it serves.
    pub clip: Clip,
}

/// Cameras and a volume. Everything is gone when it is dropped.
pub struct Rig {
    /// The cameras' server.
    pub server: CameraServer,
    /// The cameras.
    pub cameras: Vec<Camera>,
    /// The volume, with all that is below it: gone before the directory.
    pub laid: Laid,
    /// How the volume is named.
    pub volume: PathBuf,
    /// Where the volume and the exports lie: on the disk of the build, not on a tmpfs.
    pub dir: tempfile::TempDir,
}

/// A directory for a test's files on the disk of the build, not on a tmpfs.
pub fn scratch() -> Result<tempfile::TempDir> {
    Ground::File.scratch()
}

/// Names for `count` cameras: `cam01` and on, each with one of the kinds in turn.
pub fn named(count: usize, kinds: &[ClipKind]) -> Vec<(String, ClipKind)> {
    (0..count).map(|i| (format!("cam{:02}", i + 1), kinds[i % kinds.len()])).collect()
}

impl Rig {
    /// Starts the cameras and creates the volume on that ground.
    pub fn new(ground: Ground, cameras: &[(String, ClipKind)], size: &str) -> Result<Self> {
        Self::with(ground, cameras, |dir| ground.lay(dir, size, cameras.len()))
    }

    /// The same on a disk that fails, which is well for now.
    pub fn on_faulty(
        ground: Ground,
        cameras: &[(String, ClipKind)],
        size: &str,
        hangs: Hangs,
    ) -> Result<Self> {
        Self::with(ground, cameras, |dir| ground.lay_on_faulty(dir, size, cameras.len(), hangs))
    }

    /// The same with a volume that is laid so.
    pub fn with(
        ground: Ground,
        cameras: &[(String, ClipKind)],
        lay: impl FnOnce(&Path) -> Result<Laid>,
    ) -> Result<Self> {
        ground.possible()?;
        let dir = ground.scratch()?;
        let laid = lay(dir.path())?;
        let volume = laid.volume.clone();
        let mut server = CameraServer::start(&Options::default())?;
        let mut list = Vec::new();
        for (name, kind) in cameras {
            let clip = kind.clip()?;
            server.add(name, &clip)?;
            list.push(Camera { name: name.clone(), url: server.url(name), clip });
        }
        Ok(Self { server, cameras: list, laid, volume, dir })
    }

    /// `keha record` of all cameras, with these further arguments.
    pub fn record(&self, more: &[&str]) -> Result<Running> {
        record(
            &self.volume,
            self.cameras.iter().map(|camera| (camera.name.as_str(), camera.url.as_str())),
            more,
        )
    }

    /// Exports all of a stream.
    pub fn export(&self, stream: &str) -> Result<Export> {
        export(&self.volume, stream, &self.dir.path().join(format!("{stream}.mkv")), &["--force"])
    }

    /// Waits until nobody watches any camera any more.
    pub fn await_quiet(&mut self) -> Result<()> {
        for camera in &self.cameras {
            self.server.await_clients(&camera.name, 0, Duration::from_secs(20))?;
        }
        Ok(())
    }
}

/// `keha volume create`.
pub fn create_volume(volume: &Path, size: &str, streams: usize) -> Result<()> {
    let streams = streams.to_string();
    let path = text(volume)?;
    keha_ok(&["volume", "create", path, "--size", size, "--streams", &streams], COMMAND_LIMIT).map(drop)
}

/// `keha record --json` of these cameras into a volume.
pub fn record<'a>(
    volume: &Path,
    cameras: impl Iterator<Item = (&'a str, &'a str)>,
    more: &[&str],
) -> Result<Running> {
    record_with(volume, cameras, more, |_| Ok(()))
}

/// The same, in an environment of its own.
pub fn record_with<'a>(
    volume: &Path,
    cameras: impl Iterator<Item = (&'a str, &'a str)>,
    more: &[&str],
    prepare: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<Running> {
    let mut arguments = vec!["record".to_owned(), text(volume)?.to_owned(), "--json".to_owned()];
    for (name, url) in cameras {
        arguments.extend(["--camera".to_owned(), format!("{name}={url}")]);
    }
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    Running::keha_with(&arguments, prepare)
}

/// `keha volume check --json` finds nothing; answers its report.
pub fn assert_check_clean(volume: &Path) -> Result<Value> {
    let report = check(volume)?;
    if report["findings"].as_array().is_none_or(|findings| !findings.is_empty()) {
        bail!("volume check: {report:#}");
    }
    Ok(report)
}

/// That keha refuses these arguments with this exit status, and says so.
pub fn assert_refused(arguments: &[&str], status: i32, says: &str) -> Result<()> {
    let output = process::keha(arguments, COMMAND_LIMIT)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(status) || !said.contains(says) {
        bail!("{arguments:?}: {}: {said}", output.status);
    }
    Ok(())
}

/// `keha volume check --json`, whatever it finds: its report.
pub fn check(volume: &Path) -> Result<Value> {
    let output = process::keha(&["volume", "check", text(volume)?, "--json"], COMMAND_LIMIT)?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("volume check: {}", String::from_utf8_lossy(&output.stderr)))?;
    let findings = report["findings"].as_array().context("no findings in the report")?.len();
    let expected = if findings == 0 { 0 } else { 3 };
    if output.status.code() != Some(expected) {
        bail!("volume check with {findings} findings ended with {}", output.status);
    }
    Ok(report)
}

/// `keha volume info --json` or `keha volume blocks --json`.
pub fn volume_json(what: &str, volume: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&keha_ok(&["volume", what, text(volume)?, "--json"], COMMAND_LIMIT)?)?)
}

/// A path as text.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}

/// One exported file.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub mkv: Mkv,
    /// The manifest beside it.
    pub manifest: Value,
}

/// All files of one export.
#[derive(Clone, Debug)]
pub struct Export {
    /// In order; more than one where configurations change or runs overlap.
    pub parts: Vec<Part>,
}

impl Export {
    /// The one file that this export must consist of.
    pub fn only(&self) -> Result<&Part> {
        match self.parts.as_slice() {
            [part] => Ok(part),
            parts => bail!(
                "{} files instead of one; the second began because {}",
                parts.len(),
                parts[1].manifest["file"]
            ),
        }
    }

    /// The samples of a codec's track over all files: their NAL hashes, or one hash each for audio.
    pub fn samples(&self, codec: Codec) -> Result<Vec<Vec<NalHash>>> {
        let mut all = Vec::new();
        for part in &self.parts {
            let Ok(track) = part.mkv.track(codec) else { continue };
            if codec.is_video() {
                all.extend(track.nal_hashes()?);
            } else {
                all.extend(track.hashes().into_iter().map(|hash| vec![hash]));
            }
        }
        Ok(all)
    }

    /// Gap records in the manifests: reason, from, to.
    pub fn gaps(&self) -> Vec<(String, String, Option<String>)> {
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let streams = self.parts.iter().filter_map(|part| part.manifest["streams"].as_array()).flatten();
        let mut gaps: Vec<_> = streams
            .filter_map(|stream| stream["gaps"].as_array())
            .flatten()
            .map(|gap| {
                (
                    word(&gap["reason"]).unwrap_or_default(),
                    word(&gap["from"]).unwrap_or_default(),
                    word(&gap["to"]),
                )
            })
            .collect();
        // A gap at a file's edge stands in both files' manifests.
        gaps.dedup();
        gaps
    }
}

/// `keha export` of one stream, and what came out, read back.
pub fn export(volume: &Path, stream: &str, to: &Path, more: &[&str]) -> Result<Export> {
    let mut arguments = vec!["export", text(volume)?, "--stream", stream, "-o", text(to)?];
    arguments.extend(more);
    keha_ok(&arguments, COMMAND_LIMIT)?;
    read_export(to)
}

/// The files of an export: `out.mkv`, `out-2.mkv` and so on.
pub fn read_export(to: &Path) -> Result<Export> {
    let stem = to.file_stem().and_then(|stem| stem.to_str()).context("a name for the export")?;
    let mut parts = Vec::new();
    for number in 1.. {
        let path =
            if number == 1 { to.to_owned() } else { to.with_file_name(format!("{stem}-{number}.mkv")) };
        if !path.exists() {
            break;
        }
        let manifest = ["json", "mkv.json"]
            .iter()
            .map(|extension| path.with_extension(extension))
            .find(|path| path.exists())
            .with_context(|| format!("no manifest beside {}", path.display()))?;
        let manifest = serde_json::from_slice(&std::fs::read(manifest)?)?;
        parts.push(Part { mkv: probe::read_mkv(&path)?, path, manifest });
    }
    if parts.is_empty() {
        bail!("the export wrote no file");
    }
    Ok(Export { parts })
}
