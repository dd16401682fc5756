//! The `VOLUME` argument, everywhere the same: a path, or a partition as `partuuid:UUID`; what `KEHA_VOLUME` says where it
//! is left out.

use crate::failure::Failure;
use keha_fs::partition;
use std::path::PathBuf;

/// How a volume is named on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct VolumeArgument {
    /// The volume: a path, or partuuid:UUID
    #[arg(value_name = "VOLUME", env = "KEHA_VOLUME")]
    volume: Option<String>,
}

/// What a command is told that only reports on a volume.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReportArguments {
    #[command(flatten)]
    pub(crate) volume: VolumeArgument,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

impl VolumeArgument {
    /// The path of the volume that is meant.
    ///
    /// # Errors
    /// None is named, or in a way that this version does not know.
    pub(crate) fn path(&self) -> anyhow::Result<PathBuf> {
        match self.volume.as_deref() {
            None | Some("") => {
                Err(Failure::usage("no volume is named: give its path or partuuid:UUID, or set KEHA_VOLUME"))
            }
            Some(text) => path_of(text),
        }
    }
}

/// The volume and what else is named by one or two words: `[VOLUME] WORD`, the volume being what `KEHA_VOLUME` says where it is
/// left out. `what` is the other word, for the error.
///
/// # Errors
/// No volume is named, or in a way that this version does not know.
pub(crate) fn path_and_word<'w>(words: &'w [String], what: &str) -> anyhow::Result<(PathBuf, &'w str)> {
    let (volume, word) = match words {
        [volume, word] => (volume.clone(), word),
        [word] => (std::env::var("KEHA_VOLUME").unwrap_or_default(), word),
        _ => return Err(Failure::usage(format!("name the volume and the {what}"))),
    };
    if volume.is_empty() {
        let why = format!("no volume is named: give its path before the {what}, or set KEHA_VOLUME");
        return Err(Failure::usage(why));
    }
    Ok((path_of(&volume)?, word))
}

/// The path that `text` stands for: that of a file or device, or `partuuid:` and an identity, which is found at every opening anew.
///
/// # Errors
/// It begins as a partition's identity does, and is none.
pub(crate) fn path_of(text: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(text);
    match partition::id_of(&path) {
        // In one way of writing, so that one partition is never two volumes.
        Ok(Some(id)) => Ok(format!("{}{id}", partition::PREFIX).into()),
        Ok(None) => Ok(path),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}
