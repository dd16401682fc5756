//! The file of `--cameras`: which cameras to record, where they are, and where their passwords come from.
//!
//! `dist/cameras.example.toml` shows every key. A password stands in a file of its own, in the environment, or in an address;
//! whichever file holds one must be readable by its owner alone.

use super::keys::{self, Shape};
use super::protected::{self, Protected};
use crate::failure::Failure;
use crate::secret;
use crate::units::retention::{Wanted, parse_age, parse_quota};
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A camera as configured, on the command line or in a file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// The address of its main stream.
    pub(crate) url: String,
    /// Name and address of its further streams.
    pub(crate) streams: Vec<(String, String)>,
    /// Who logs in, with which password, where they are not in the address.
    pub(crate) credentials: Option<(String, String)>,
    /// How long its footage stays, where that is said; it holds for each of its streams.
    pub(crate) retention: Wanted,
    /// The volume it is recorded into, where that is said.
    pub(crate) volume: Option<String>,
    /// The line of its name in its file.
    pub(crate) line: Option<usize>,
}

impl Entry {
    /// A camera of which nothing else is said.
    pub(crate) fn new(name: &str, url: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            url: url.to_owned(),
            streams: Vec::new(),
            credentials: None,
            retention: Wanted::default(),
            volume: None,
            line: None,
        }
    }
}

/// Shows no secret: the parser of the command line keeps entries in values that it can print.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, secret::mask(&self.url))
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    cameras: Vec<RawEntry>,
}

/// A camera as it stands in a file.
#[derive(Deserialize)]
pub(super) struct RawEntry {
    name: Spanned<String>,
    url: String,
    username: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    volume: Option<String>,
    quota: Option<String>,
    min_age: Option<String>,
    max_age: Option<String>,
    #[serde(default)]
    streams: Vec<RawStream>,
}

#[derive(Deserialize)]
struct RawStream {
    name: String,
    url: String,
}

static FILE: Shape = Shape { keys: &["cameras"], inside: &[("cameras", "camera", &CAMERA)] };
/// The keys of a camera; the last one counts in a file that has several volumes.
const KEYS: &[&str] = &[
    "name",
    "url",
    "username",
    "password_file",
    "password_env",
    "streams",
    "quota",
    "min_age",
    "max_age",
    "volume",
];
static CAMERA: Shape =
    Shape { keys: KEYS.split_at(KEYS.len() - 1).0, inside: &[("streams", "stream", &STREAM)] };
/// A camera in a file that has several volumes.
pub(super) static CAMERA_IN_VOLUME: Shape = Shape { keys: KEYS, inside: &[("streams", "stream", &STREAM)] };
pub(super) static STREAM: Shape = Shape { keys: &["name", "url"], inside: &[] };

/// Reads `NAME=URL` as given with `--camera`.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn from_argument(text: &str) -> Result<Entry, String> {
    let (name, url) = text
        .split_once('=')
        .filter(|(name, _)| !name.contains("://"))
        .ok_or("write NAME=URL, such as front=rtsp://host/path")?;
    remember_password_of(url);
    Ok(Entry::new(name, url))
}

/// Reads a file of cameras, and the passwords that it points at.
///
/// # Errors
/// Whatever is wrong with it, naming the place.
pub(crate) fn from_file(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let file = protected::read(path)?;
    let raw = parse(&file.text).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    entries(raw, path, &file)
}

fn parse(text: &str) -> Result<Vec<RawEntry>, String> {
    let file: File = keys::parse(text, &FILE)?;
    if file.cameras.is_empty() {
        return Err("names no camera: begin each with [[cameras]]".into());
    }
    Ok(file.cameras)
}

/// The cameras as they stand in the file at `path`, with the passwords that they point at.
///
/// # Errors
/// Whatever is wrong with them, naming the place.
pub(super) fn entries(raw: Vec<RawEntry>, path: &Path, file: &Protected) -> anyhow::Result<Vec<Entry>> {
    let shown = path.display();
    let addresses = raw.iter().flat_map(|camera| {
        std::iter::once(&camera.url).chain(camera.streams.iter().map(|stream| &stream.url))
    });
    let mut has_password = false;
    for url in addresses {
        remember_password_of(url);
        has_password |= secret::mask(url) != url.as_str();
    }
    if has_password && file.readable_by_others {
        return Err(Failure::failed(format!(
            "{shown}: holds passwords and others can read it: chmod 600 {shown}"
        )));
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let one = |camera: RawEntry| {
        let line = keys::line(&file.text, camera.name.span().start);
        complete(camera, base, line).map_err(|error| error.context(format!("{shown}: line {line}")))
    };
    raw.into_iter().map(one).collect()
}

fn complete(camera: RawEntry, base: &Path, line: usize) -> anyhow::Result<Entry> {
    let retention = retention(&camera)?;
    let RawEntry { name, url, username, password_file, password_env, streams, volume, .. } = camera;
    let name = name.into_inner();
    let password = match (&password_file, &password_env) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage(format!(
                "camera {name}: give password_file or password_env, not both"
            )));
        }
        (Some(file), None) => Some(
            password_from_file(&base.join(file)).map_err(|error| error.context(format!("camera {name}")))?,
        ),
        (None, Some(variable)) => Some(std::env::var(variable).map_err(|_| {
            Failure::failed(format!(
                "camera {name}: the environment has no {variable}; set it, or use password_file"
            ))
        })?),
        (None, None) => None,
    };
    let credentials = match (username, password) {
        (Some(username), password) => Some((username, password.unwrap_or_default())),
        (None, Some(_)) => {
            return Err(Failure::usage(format!("camera {name}: a password is given but no username")));
        }
        (None, None) => None,
    };
    if let Some((username, password)) = &credentials {
        secret::remember_password(username, password);
    }
    let streams = streams.into_iter().map(|stream| (stream.name, stream.url)).collect();
    Ok(Entry { name, url, streams, credentials, retention, volume, line: Some(line) })
}

/// How long a camera's footage shall stay.
fn retention(camera: &RawEntry) -> anyhow::Result<Wanted> {
    let read = |key: &str, text: &Option<String>, parse: fn(&str) -> Result<u64, String>| {
        let value = text.as_deref().map(parse).transpose();
        value.map_err(|why| Failure::usage(format!("camera {}: {key}: {why}", camera.name.get_ref())))
    };
    Ok(Wanted {
        quota_bytes: read("quota", &camera.quota, parse_quota)?,
        minimum_age_s: read("min_age", &camera.min_age, parse_age)?,
        maximum_age_s: read("max_age", &camera.max_age, parse_age)?,
    })
}

/// The password that a file holds, without the end of its line.
///
/// # Errors
/// It cannot be read, or others can read it.
pub(crate) fn password_from_file(path: &Path) -> anyhow::Result<String> {
    let Protected { text, readable_by_others } = protected::read(path)?;
    // What systemd hands over is protected by its directory, whatever the mode says.
    let handed_over =
        std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|dir| !dir.is_empty() && path.starts_with(dir));
    if readable_by_others && !handed_over {
        let shown = path.display();
        return Err(Failure::failed(format!(
            "{shown}: holds a password and others can read it: chmod 600 {shown}"
        )));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// From here on the password in an address is masked wherever it stands.
pub(crate) fn remember_password_of(url: &str) {
    if let Ok(url) = url::Url::parse(url)
        && let Some(password) = url.password()
    {
        secret::remember_password(url.username(), password);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn write(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
        path
    }

    fn complaint(text: &str, mode: u32) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(dir.path(), "open.password", "hunter2\n", 0o644);
        let path = write(dir.path(), "cameras.toml", text, mode);
        let error = from_file(&path).expect_err("a complaint");
        failure::line_of(&error)
    }

    #[test]
    fn the_example_shows_every_key_and_is_right() {
        let example = include_str!("../../../dist/cameras.example.toml");
        let cameras = parse(example).expect("the example is right");
        assert!(cameras.len() >= 3);
        for key in CAMERA.keys.iter().chain(STREAM.keys) {
            assert!(example.contains(&format!("{key} =")), "{key} is missing");
        }
    }

    #[test]
    fn a_camera_is_read_with_its_streams_and_its_password() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(dir.path(), "front.password", "s3cret pass\n", 0o600);
        let text = "[[cameras]]\nname = \"front\"\nurl = \"rtsp://h/1\"\nusername = \"u\"\npassword_file = \"front.password\"\nstreams = [{ name = \"sub\", url = \"rtsp://h/2\" }]\nquota = \"1GiB\"\nmax_age = \"30d\"\nmin_age = \"none\"\n";
        let path = write(dir.path(), "cameras.toml", text, 0o644);
        let cameras = from_file(&path).expect("right");
        let front = cameras.first().expect("one camera");
        assert_eq!(front.streams, [("sub".to_owned(), "rtsp://h/2".to_owned())]);
        assert_eq!(front.credentials, Some(("u".to_owned(), "s3cret pass".to_owned())));
        let retention =
            Wanted { quota_bytes: Some(1 << 30), minimum_age_s: Some(0), maximum_age_s: Some(30 * 86_400) };
        assert_eq!(front.retention, retention);
        assert_eq!(secret::mask("login with s3cret pass"), "login with ***");
    }

    #[test]
    fn every_mistake_is_one_line_that_names_the_place() {
        let camera = |rest: &str| format!("[[cameras]]\nname = \"front\"\nurl = \"rtsp://h/1\"\n{rest}\n");
        for (text, says) in [
            (String::new(), "names no camera"),
            ("[[camera]]\n".into(), "unknown key \"camera\"; did you mean \"cameras\"?"),
            ("[[cameras]]\nname = \"front\"\n".into(), "missing field `url`"),
            ("[[cameras]]\nname = 5\nurl = \"x\"\n".into(), "line 2: "),
            ("[[cameras\n".into(), "line 1: "),
            (camera("ur1 = \"x\""), "camera front: unknown key \"ur1\"; did you mean \"url\"?"),
            (camera("user = \"x\""), "did you mean \"username\"?"),
            (camera("passwordfile = \"x\""), "did you mean \"password_file\"?"),
            (
                camera("streams = [{ name = \"sub\", address = \"x\", url = \"y\" }]"),
                "stream sub: unknown key \"address\"",
            ),
            (camera("username = \"u\"\npassword_file = \"a\"\npassword_env = \"b\""), "not both"),
            (
                camera("password_env = \"KEHA_TEST_NO_SUCH_VARIABLE\""),
                "the environment has no KEHA_TEST_NO_SUCH_VARIABLE",
            ),
            (camera("username = \"u\"\npassword_file = \"missing\""), "missing: cannot open"),
            (camera("username = \"u\"\npassword_file = \"open.password\""), "chmod 600"),
            (camera("quota = \"much\""), "camera front: quota: "),
            (camera("max_age = \"a month\""), "camera front: max_age: "),
            (camera("minage = \"5d\""), "did you mean \"min_age\"?"),
        ] {
            let line = complaint(&text, 0o600);
            assert!(
                line.contains(says) && line.contains("cameras.toml") && !line.contains('\n'),
                "{says}: {line}"
            );
        }
    }

    #[test]
    fn a_file_with_passwords_that_others_can_read_is_refused_without_showing_them() {
        let text = "[[cameras]]\nname = \"front\"\nurl = \"rtsp://u:hunter2@h/1\"\n";
        let line = complaint(text, 0o644);
        assert!(line.contains("chmod 600") && !line.contains("hunter2"), "{line}");
    }

    #[test]
    fn a_camera_on_the_command_line_is_a_name_and_an_address() {
        let entry = from_argument("front=rtsp://h/?a=b").expect("right");
        assert_eq!((entry.name.as_str(), entry.url.as_str()), ("front", "rtsp://h/?a=b"));
        for wrong in ["front", "rtsp://h/?a=b", ""] {
            assert!(from_argument(wrong).is_err(), "{wrong}");
        }
    }
}
