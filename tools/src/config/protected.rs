//! Files that may hold secrets: who else can read them, and a bound on their size.

use anyhow::{Context, bail};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The most bytes that a configuration file may have.
const BYTES_MAX: u64 = 1 << 20;

/// A small text file and who may read it.
pub(super) struct Protected {
    /// What stands in it.
    pub(super) text: String,
    /// Group or others may read it.
    pub(super) readable_by_others: bool,
}

/// Reads a small text file.
///
/// # Errors
/// It cannot be read, is too long, or is no text.
pub(super) fn read(path: &Path) -> anyhow::Result<Protected> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("{shown}: cannot open"))?;
    let metadata = file.metadata().with_context(|| format!("{shown}: cannot read"))?;
    if metadata.is_dir() {
        bail!("{shown}: is a directory; give the path of a file");
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| format!("{shown}: cannot read"))?;
    if bytes.len() as u64 > BYTES_MAX {
        bail!("{shown}: longer than a configuration can be (1 MiB)");
    }
    let text = String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{shown}: is no text in UTF-8"))?;
    Ok(Protected { text, readable_by_others: metadata.permissions().mode() & 0o077 != 0 })
}
