//! Files of the state directory: private to the user who runs Keha, replaced whole or not at all.
//!
//! A change is made under a lock beside the file, so that `keha user add` and a server that runs do not lose each other's changes.
//! What a file means is not known here.

use crate::error::{Error, Result};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most bytes that a file of the state directory may have.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// One file of the state directory.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file `name` in a directory; neither need exist yet.
    pub fn new(directory: &Path, name: &str) -> StateFile {
        StateFile { path: directory.join(name) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; `None` if it does not exist.
    ///
    /// # Errors
    /// Where it cannot be read, or is larger than [`FILE_BYTES_MAX`].
    pub fn read(&self) -> Result<Option<Vec<u8>>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("open")(error)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(self.failed("read"))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let why = format!("it is larger than {FILE_BYTES_MAX} bytes");
            return Err(Error::State { path: self.path.clone(), why });
        }
        Ok(Some(bytes))
    }

    /// What tells one version of the file from the next; `None` if it does not exist.
    pub fn stamp(&self) -> Option<Stamp> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some(Stamp {
            inode: metadata.ino(),
            modified_ns: metadata.mtime_nsec(),
            modified_s: metadata.mtime(),
        })
    }

    /// Changes it: what it holds (`None` if it does not exist) becomes what `change` makes of it. Nobody else changes it meanwhile. When
    /// this returns it is durable; after a crash it is whole, old or new.
    ///
    /// # Errors
    /// Those of `change`, with which nothing is written; where the file or its directory cannot be written.
    pub fn change<T>(&self, change: impl FnOnce(Option<Vec<u8>>) -> Result<(Vec<u8>, T)>) -> Result<T> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let mut made = DirBuilder::new();
        made.recursive(true).mode(0o700).create(directory).map_err(self.failed("make the directory of"))?;
        let lock = private().create(true).open(self.beside("lock")).map_err(self.failed("lock"))?;
        lock.lock().map_err(self.failed("lock"))?;
        let (bytes, outcome) = change(self.read()?)?;
        self.replace(directory, &bytes)?;
        Ok(outcome)
    }

    fn replace(&self, directory: &Path, bytes: &[u8]) -> Result<()> {
        let temporary = self.beside("new");
        let written = || -> io::Result<()> {
            // What an interrupted change left.
            match std::fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = private().create_new(true).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        written().map_err(self.failed("write"))?;
        std::fs::rename(&temporary, &self.path).map_err(self.failed("replace"))?;
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(self.failed("flush the directory of"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        PathBuf::from(name)
    }

    fn failed(&self, op: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::Io { op, path, source }
    }
}

/// Puts a file of the state directory aside that is not what it should be, as the first free one of `NAME.damaged-1`, `-2` and so on, so that
/// it can be looked at while something new is begun in its place. The log says so.
///
/// # Errors
/// Where that cannot be done; the file is where it was.
pub fn put_aside(path: &Path, why: &dyn std::fmt::Display) -> Result<()> {
    let beside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        PathBuf::from(name)
    };
    let mut number = 1;
    while beside(number).symlink_metadata().is_ok() {
        number += 1;
    }
    let aside = beside(number);
    let failed = |source| Error::Io { op: "put aside", path: path.to_owned(), source };
    std::fs::rename(path, &aside).map_err(failed)?;
    tracing::error!(
        "{} is not usable: {why}; it is put aside as {}, and begun anew without what it held",
        path.display(),
        aside.display()
    );
    Ok(())
}

/// Which version of a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
}

/// How files are made that nobody else may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::{FILE_BYTES_MAX, StateFile};
    use crate::error::Error;
    use std::os::unix::fs::PermissionsExt;

    fn file() -> (tempfile::TempDir, StateFile) {
        let directory = tempfile::tempdir().expect("a directory");
        let file = StateFile::new(&directory.path().join("state"), "users.json");
        (directory, file)
    }

    #[test]
    fn a_change_is_there_and_private() {
        let (_directory, file) = file();
        assert_eq!(file.read().expect("readable"), None);
        assert_eq!(file.stamp(), None);
        file.change(|before| Ok((before.unwrap_or_default().into_iter().chain(*b"a").collect(), ())))
            .expect("changed");
        let stamp = file.stamp();
        file.change(|before| Ok((before.unwrap_or_default().into_iter().chain(*b"b").collect(), ())))
            .expect("changed");
        assert_eq!(file.read().expect("readable").as_deref(), Some(&b"ab"[..]));
        assert_ne!(file.stamp(), stamp, "a reader sees that it changed");
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(mode(file.path().parent().expect("a directory")), 0o700);
    }

    #[test]
    fn a_change_that_is_refused_leaves_all_as_it_was() {
        let (_directory, file) = file();
        file.change(|_| Ok((b"kept".to_vec(), ()))).expect("changed");
        let refused = file.change::<()>(|_| Err(Error::Unknown { what: "user", name: "x".to_owned() }));
        assert!(refused.is_err());
        assert_eq!(file.read().expect("readable").as_deref(), Some(&b"kept"[..]));
    }

    #[test]
    fn what_a_crash_left_of_a_change_is_no_obstacle() {
        let (_directory, file) = file();
        file.change(|_| Ok((b"old".to_vec(), ()))).expect("changed");
        std::fs::write(file.beside("new"), b"half").expect("written");
        assert_eq!(file.read().expect("readable").as_deref(), Some(&b"old"[..]));
        file.change(|_| Ok((b"new".to_vec(), ()))).expect("changed");
        assert_eq!(file.read().expect("readable").as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn changes_by_many_at_once_are_all_made() {
        let (_directory, file) = file();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let add = |before: Option<Vec<u8>>| {
                            Ok((before.unwrap_or_default().into_iter().chain([1]).collect(), ()))
                        };
                        file.change(add).expect("changed");
                    }
                });
            }
        });
        assert_eq!(file.read().expect("readable").map(|bytes| bytes.len()), Some(40));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_and_named() {
        let (_directory, file) = file();
        file.change(|_| Ok((vec![0; FILE_BYTES_MAX as usize + 1], ()))).expect("changed");
        let error = file.read().expect_err("too large").to_string();
        assert!(error.contains("users.json") && error.contains("larger than"), "{error}");
    }
}
