//! Where the control sockets lie.
//!
//! `$KEHA_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/keha`, else `/run/keha` for root, else `/tmp/keha-UID`. A recorder creates
//! the directory for its user alone and uses none that others could have planted; a client looks into each that may be
//! meant and believes the same ones only.

use keha_fs::VolumeId;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest path that a socket can have (`sun_path` of unix(7), without the final zero).
const PATH_BYTES_MAX: usize = 107;

/// Of the names of sockets.
const EXTENSION: &str = "sock";

/// The environment that decides.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    keha_runtime_dir: Option<OsString>,
    xdg_runtime_dir: Option<OsString>,
    uid: u32,
}

impl Environment {
    /// That of this process.
    pub(crate) fn of_process() -> Environment {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Environment {
            keha_runtime_dir: set("KEHA_RUNTIME_DIR"),
            xdg_runtime_dir: set("XDG_RUNTIME_DIR"),
            uid: nix::unistd::Uid::effective().as_raw(),
        }
    }

    /// The directories in which a socket may lie; the first is where this process puts its own.
    fn directories(&self) -> Vec<PathBuf> {
        if let Some(dir) = &self.keha_runtime_dir {
            return vec![PathBuf::from(dir)];
        }
        let own = match &self.xdg_runtime_dir {
            Some(dir) => Path::new(dir).join("keha"),
            None if self.uid == 0 => PathBuf::from("/run/keha"),
            None => PathBuf::from(format!("/tmp/keha-{}", self.uid)),
        };
        // A service of the system may record while a user asks.
        let system = PathBuf::from("/run/keha");
        if own == system { vec![own] } else { vec![own, system] }
    }
}

/// The directory for this process' socket, created if need be.
///
/// # Errors
/// It cannot be created, or others could write into it.
pub(crate) fn own_directory(environment: &Environment) -> io::Result<PathBuf> {
    let dir = environment.directories().swap_remove(0);
    match fs::DirBuilder::new().mode(0o700).recursive(false).create(&dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    match distrust(&dir, environment.uid)? {
        None => Ok(dir),
        Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
    }
}

/// Where sockets of `volume` may lie for a client of this environment.
pub(crate) fn candidates(environment: &Environment, volume: VolumeId) -> Vec<PathBuf> {
    let trusted = |dir: &PathBuf| matches!(distrust(dir, environment.uid), Ok(None));
    environment.directories().into_iter().filter(trusted).map(|dir| dir.join(file_name(volume))).collect()
}

/// All sockets that may be those of recorders, for a client of this environment.
pub(crate) fn all(environment: &Environment) -> Vec<PathBuf> {
    let trusted = |dir: &PathBuf| matches!(distrust(dir, environment.uid), Ok(None));
    let entries = environment.directories().into_iter().filter(trusted).filter_map(|dir| dir.read_dir().ok());
    let sockets = entries.flatten().flatten().map(|entry| entry.path());
    sockets.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)).collect()
}

/// The socket of `volume` in `dir`.
///
/// # Errors
/// The path is longer than a socket's can be.
pub(crate) fn socket(dir: &Path, volume: VolumeId) -> io::Result<PathBuf> {
    let path = dir.join(file_name(volume));
    if path.as_os_str().len() > PATH_BYTES_MAX {
        let why = format!(
            "longer than the {PATH_BYTES_MAX} bytes that a socket's path can have; set KEHA_RUNTIME_DIR"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(path)
}

fn file_name(volume: VolumeId) -> String {
    format!("{volume}.{EXTENSION}")
}

/// Why `dir` is not to be trusted: no directory of its own, not the user's or the system's, or others may write into it.
fn distrust(dir: &Path, uid: u32) -> io::Result<Option<String>> {
    let metadata = fs::symlink_metadata(dir)?;
    let mode = metadata.permissions().mode() & 0o777;
    let in_system = dir.starts_with("/run");
    Ok(if !metadata.is_dir() {
        Some("is no directory, or reached through a link".into())
    } else if metadata.uid() != uid && metadata.uid() != 0 && !in_system {
        Some(format!("belongs to user {}", metadata.uid()))
    } else if mode & 0o022 != 0 {
        Some(format!("may be written by others (mode {mode:03o}); chmod 700"))
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::Uuid;

    fn environment(keha: Option<&Path>, xdg: Option<&Path>, uid: u32) -> Environment {
        let text = |path: Option<&Path>| path.map(|path| path.as_os_str().to_owned());
        Environment { keha_runtime_dir: text(keha), xdg_runtime_dir: text(xdg), uid }
    }

    #[test]
    fn the_directory_is_that_of_the_first_rule_that_applies() {
        let (keha, xdg) = (Path::new("/k"), Path::new("/x"));
        for (environment, first) in [
            (environment(Some(keha), Some(xdg), 7), "/k"),
            (environment(None, Some(xdg), 7), "/x/keha"),
            (environment(None, None, 0), "/run/keha"),
            (environment(None, None, 7), "/tmp/keha-7"),
        ] {
            assert_eq!(environment.directories().first(), Some(&PathBuf::from(first)));
        }
    }

    #[test]
    fn the_directory_is_created_for_its_user_alone() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let here = environment(Some(&base.path().join("run")), None, nix::unistd::Uid::effective().as_raw());
        let dir = own_directory(&here).expect("created");
        assert_eq!(fs::metadata(&dir).expect("there").permissions().mode() & 0o777, 0o700);
        assert_eq!(own_directory(&here).expect("used again"), dir);
    }

    #[test]
    fn a_link_and_a_directory_that_others_write_into_are_refused() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let uid = nix::unistd::Uid::effective().as_raw();
        let open = base.path().join("open");
        fs::create_dir(&open).expect("created");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("changed");
        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path(), &link).expect("linked");
        for dir in [&open, &link] {
            let here = environment(Some(dir), None, uid);
            assert!(own_directory(&here).is_err(), "{}", dir.display());
            assert!(candidates(&here, VolumeId(Uuid::nil())).is_empty());
        }
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_the_way_out() {
        let error =
            socket(Path::new(&format!("/{}", "x".repeat(100))), VolumeId(Uuid::nil())).expect_err("too long");
        assert!(error.to_string().contains("KEHA_RUNTIME_DIR"));
    }
}
