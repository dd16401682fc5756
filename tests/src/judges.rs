//! Judges that no Debian package holds: hls.js by npm, programs for OpenAPI by pip, each of one version, kept below the build
//! directory from the first time on.
//!
//! Must not live here: what they judge.

use crate::process::build_dir;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

const HLS_JS: &str = "hls.js@1.7.4";
/// Of the package as the registry has it (SHA-512).
const HLS_JS_INTEGRITY: &str =
    "sha512-3GlxGdPvT2YHvQYOt+yOzT/DEior/qJVNIylHA77kgeoBTdQQqi70GwefNEUmHQeNGyjC8U62+bruqW/Tpm+tg==";

const OPENAPI: [&str; 2] = ["openapi-spec-validator==0.9.0", "schemathesis==4.32.5"];

/// One at a time: tests of one process ask at once.
static MAKING: Mutex<()> = Mutex::new(());

/// hls.js as one script.
pub fn hls_js() -> Result<PathBuf> {
    let dir = kept(HLS_JS)?;
    let script = dir.join("package/dist/hls.min.js");
    made(&dir, &script, |dir| {
        let packed = run(Command::new("npm").args(["pack", HLS_JS, "--json"]).current_dir(dir))?;
        let packed: Value = serde_json::from_slice(&packed)?;
        let (name, integrity) = (packed[0]["filename"].as_str(), packed[0]["integrity"].as_str());
        if integrity != Some(HLS_JS_INTEGRITY) {
            bail!("{HLS_JS} is not what it was: {integrity:?}");
        }
        run(Command::new("tar").arg("xzf").arg(name.context("no package")?).current_dir(dir)).map(drop)
    })?;
    Ok(script)
}

/// Where `openapi-spec-validator` and `schemathesis` are.
pub fn openapi() -> Result<PathBuf> {
    let dir = kept(&OPENAPI.join("+"))?;
    let programs = dir.join("bin");
    // An environment names its own place in its programs, so it is made where it stays, and marked when it is whole.
    let whole = dir.join("whole");
    let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if !whole.exists() {
        run(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
        let mut pip = Command::new(programs.join("pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(OPENAPI))?;
        std::fs::write(whole, "")?;
    }
    Ok(programs)
}

/// A directory of its own for each version, outside what `cargo clean -p` touches.
fn kept(what: &str) -> Result<PathBuf> {
    Ok(build_dir()?
        .parent()
        .context("a build directory in a target directory")?
        .join("keha-judges")
        .join(what))
}

/// Makes what is not there yet, beside its place, and puts it there whole.
fn made(dir: &Path, result: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if result.exists() {
        return Ok(());
    }
    let parent = dir.parent().context("a directory in a directory")?;
    std::fs::create_dir_all(parent)?;
    let making = tempfile::tempdir_in(parent)?;
    make(making.path()).with_context(|| format!("{}: cannot be had", dir.display()))?;
    // Another process may have been faster.
    if std::fs::rename(making.path(), dir).is_err() && !result.exists() {
        bail!("{} cannot be put into its place", dir.display());
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
