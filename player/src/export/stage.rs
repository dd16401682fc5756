//! Files that appear under their names only when they are complete: written beside their target, renamed at the end.

use crate::error::{Error, Result};
use keha_fs::Uuid;
use nix::fcntl::OFlag;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file under a temporary name; removed when dropped unpublished.
pub(crate) struct Staged {
    temporary: PathBuf,
    target: PathBuf,
    force: bool,
    published: bool,
}

impl Staged {
    /// Creates the temporary file in the target's directory.
    pub(crate) fn create(target: &Path, force: bool) -> Result<(Staged, File)> {
        refuse_existing(target, force)?;
        let name = target
            .file_name()
            .ok_or_else(|| Error::Invalid(format!("{}: not a file name to write to", target.display())))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.partial", Uuid::new_v4().simple()));
        let temporary = target.with_file_name(hidden);
        let file = OpenOptions::new().write(true).read(true).create_new(true).open(&temporary);
        let file = file.map_err(|source| Error::Io {
            operation: "create a file beside it",
            path: target.to_owned(),
            source,
        })?;
        Ok((Staged { temporary, target: target.to_owned(), force, published: false }, file))
    }

    /// The temporary file once more, for writes past the page cache; `None` where the file system has none.
    pub(crate) fn open_direct(&self) -> Option<File> {
        OpenOptions::new().write(true).custom_flags(OFlag::O_DIRECT.bits()).open(&self.temporary).ok()
    }

    /// Where it will be.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the file its name. Its content must be on the disk already.
    pub(crate) fn publish(mut self) -> Result<()> {
        self.rename()?;
        self.published = true;
        Ok(())
    }

    fn rename(&self) -> Result<()> {
        let failed = |source| Error::Io {
            operation: "rename the finished file to it",
            path: self.target.clone(),
            source,
        };
        refuse_existing(&self.target, self.force)?;
        if !self.force {
            // A link fails where the name is taken, so nothing that appeared meanwhile is overwritten. File systems
            // without links (FAT) are left with the check above.
            match fs::hard_link(&self.temporary, &self.target) {
                Ok(()) => {
                    fs::remove_file(&self.temporary).map_err(failed)?;
                    return sync_directory(&self.target).map_err(failed);
                }
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Error::Exists { path: self.target.clone() });
                }
                Err(_) => {}
            }
        }
        fs::rename(&self.temporary, &self.target).map_err(failed)?;
        sync_directory(&self.target).map_err(failed)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// An error if the target must not be written: it is there without `force`, is no regular file, or is a volume.
pub(crate) fn refuse_existing(target: &Path, force: bool) -> Result<()> {
    match fs::symlink_metadata(target) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Io { operation: "look at it", path: target.to_owned(), source }),
        Ok(_) if !force => Err(Error::Exists { path: target.to_owned() }),
        // Whatever the file says of itself, footage is not replaced by an export of it.
        Ok(metadata) if metadata.is_file() => match keha_fs::Volume::open(target) {
            Err(keha_fs::Error::NotAVolume { .. } | keha_fs::Error::Io { .. }) => Ok(()),
            _ => Err(Error::Invalid(format!(
                "{}: a Keha volume, so it is not replaced; choose another name",
                target.display()
            ))),
        },
        Ok(_) => Err(Error::Invalid(format!(
            "{}: not a regular file, so it is not replaced; choose another name",
            target.display()
        ))),
    }
}

/// The manifest's name: the file's and `.json`.
pub(crate) fn manifest_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}

/// The name of the n-th file: `out.mkv`, `out-2.mkv`, `out-3.mkv` ...
pub(crate) fn part_path(path: &Path, part: usize) -> PathBuf {
    if part <= 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{part}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn sync_directory(target: &Path) -> io::Result<()> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_parts_are_numbered_before_the_extension() {
        assert_eq!(part_path(Path::new("a/out.mkv"), 1), Path::new("a/out.mkv"));
        assert_eq!(part_path(Path::new("a/out.mkv"), 2), Path::new("a/out-2.mkv"));
        assert_eq!(part_path(Path::new("out"), 3), Path::new("out-3"));
        assert_eq!(manifest_path(Path::new("out-2.mkv")), Path::new("out-2.mkv.json"));
    }

    #[test]
    fn an_abandoned_file_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out.mkv");
        drop(Staged::create(&target, false).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out.mkv");
        let (staged, _file) = Staged::create(&target, false).unwrap();
        fs::write(&target, "someone else's").unwrap();
        assert!(matches!(staged.publish(), Err(Error::Exists { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"someone else's");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn force_replaces_regular_files_only() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out.mkv");
        fs::write(&target, "old").unwrap();
        Staged::create(&target, true).unwrap().0.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"");
        let link = directory.path().join("link.mkv");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(Staged::create(&link, true), Err(Error::Invalid(_))));
    }
}
