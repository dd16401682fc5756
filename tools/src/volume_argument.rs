//! The `VOLUME` argument, everywhere the same: a path, or what `KEHA_VOLUME` says where it is left out.

use crate::failure::Failure;
use std::path::PathBuf;

/// How a volume is named on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct VolumeArgument {
    /// The volume's path
    #[arg(value_name = "VOLUME", env = "KEHA_VOLUME")]
    volume: Option<String>,
}

impl VolumeArgument {
    /// The path of the volume that is meant.
    ///
    /// # Errors
    /// None is named, or in a way that this version does not know.
    pub(crate) fn path(&self) -> anyhow::Result<PathBuf> {
        match self.volume.as_deref() {
            None | Some("") => Err(Failure::usage("no volume is named: give its path, or set KEHA_VOLUME")),
            Some(text) => path_of(text),
        }
    }
}

/// The path that `text` stands for.
///
/// # Errors
/// A way of naming volumes that this version does not know.
pub(crate) fn path_of(text: &str) -> anyhow::Result<PathBuf> {
    if text.starts_with("partuuid:") {
        return Err(Failure::usage(format!(
            "{text}: this version has volumes in files only: give the path of one"
        )));
    }
    Ok(PathBuf::from(text))
}
