//! The cameras that were added over HTTP: `cameras.json` in the state directory, private and replaced whole.
//!
//! It holds the passwords of cameras, which no command and no answer gives back.

use crate::config::cameras::{Entry, remember_password_of};
use crate::secret;
use keha_api::Error;
use keha_api::control::{CameraSettings, ControlError, KeepLogin, Login};
use keha_api::state::StateFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the file.
const SCHEMA: u32 = 1;

/// A camera as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptCamera {
    url: String,
    streams: Vec<KeptStream>,
    login: Option<KeptLogin>,
    pub(super) volume: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptStream {
    name: String,
    url: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptLogin {
    username: String,
    password: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    cameras: BTreeMap<String, KeptCamera>,
}

impl KeptCamera {
    /// What is kept of these settings, of a camera that is to be recorded into `volume`.
    pub(super) fn new(settings: &CameraSettings, volume: String) -> KeptCamera {
        let stream = |(name, url): &(String, String)| KeptStream { name: name.clone(), url: url.clone() };
        let login =
            |login: &Login| KeptLogin { username: login.username.clone(), password: login.password.clone() };
        KeptCamera {
            url: settings.url.clone(),
            streams: settings.streams.iter().map(stream).collect(),
            login: settings.login.as_ref().map(login),
            volume,
        }
    }

    /// With who logged in `before`, if nobody is named now and that may be kept.
    ///
    /// # Errors
    /// [`ControlError::Refused`] where it may not, and the login has to be given again.
    pub(super) fn or_login_of(mut self, before: &KeptCamera, keep: KeepLogin) -> Result<Self, ControlError> {
        if self.login.is_some() || before.login.is_none() {
            return Ok(self);
        }
        let known: Vec<_> = before.urls().map(host).collect();
        let same_host = self.urls().all(|url| known.contains(&host(url)));
        let same = self.urls().all(|url| before.urls().any(|known| known == url));
        match keep {
            KeepLogin::SameAddresses if !same => {
                let why = "an address is new: give username and password again";
                return Err(ControlError::Refused(why.to_owned()));
            }
            KeepLogin::SameHost if !same_host => {}
            _ => self.login.clone_from(&before.login),
        }
        Ok(self)
    }

    /// As a camera that stands in a file. Its passwords are masked in every output from here on.
    pub(super) fn entry(&self, name: &str) -> Entry {
        self.urls().for_each(remember_password_of);
        let credentials = self.login.as_ref().map(|login| (login.username.clone(), login.password.clone()));
        if let Some((username, password)) = &credentials {
            secret::remember_password(username, password);
        }
        let streams = self.streams.iter().map(|stream| (stream.name.clone(), stream.url.clone()));
        Entry { streams: streams.collect(), credentials, ..Entry::new(name, &self.url) }
    }

    fn urls(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.url.as_str()).chain(self.streams.iter().map(|stream| stream.url.as_str()))
    }
}

/// Scheme, host and port of an address.
fn host(text: &str) -> Option<(String, String, Option<u16>)> {
    let url = url::Url::parse(text.trim()).ok()?;
    Some((url.scheme().to_owned(), url.host_str().unwrap_or_default().to_owned(), url.port()))
}

/// All of them.
pub(super) struct Kept {
    file: StateFile,
}

impl Kept {
    pub(super) fn new(state: &Path) -> Kept {
        Kept { file: StateFile::new(state, "cameras.json") }
    }

    /// What is kept.
    ///
    /// # Errors
    /// Where the file cannot be read, or is not what it should be.
    pub(super) fn read(&self) -> keha_api::Result<BTreeMap<String, KeptCamera>> {
        self.parse(self.file.read()?)
    }

    /// Changes what is kept. When this returns it survives any crash.
    ///
    /// # Errors
    /// As [`Kept::read`], and where the file cannot be written; nothing is changed then.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, KeptCamera>),
    ) -> keha_api::Result<()> {
        self.file.change(|before| {
            let mut cameras = self.parse(before)?;
            change(&mut cameras);
            let file = File { schema: SCHEMA, cameras };
            let bytes = serde_json::to_vec_pretty(&file).map_err(|error| self.unusable(&error))?;
            Ok((bytes, ()))
        })
    }

    fn parse(&self, bytes: Option<Vec<u8>>) -> keha_api::Result<BTreeMap<String, KeptCamera>> {
        let Some(bytes) = bytes else { return Ok(BTreeMap::new()) };
        let file: File = serde_json::from_slice(&bytes).map_err(|error| self.unusable(&error))?;
        if file.schema != SCHEMA {
            let why = format!("it is of version {}, and this program knows {SCHEMA}", file.schema);
            return Err(Error::State { path: self.file.path().to_owned(), why });
        }
        Ok(file.cameras)
    }

    /// Quotes nothing of the file: it holds passwords.
    fn unusable(&self, error: &serde_json::Error) -> Error {
        let why = format!("{:?} at line {}, column {}", error.classify(), error.line(), error.column());
        Error::State { path: self.file.path().to_owned(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn settings(url: &str, login: Option<(&str, &str)>) -> CameraSettings {
        let login =
            login.map(|(username, password)| Login { username: username.into(), password: password.into() });
        let streams = vec![("sub".to_owned(), format!("{url}/sub"))];
        CameraSettings { url: url.to_owned(), streams, login, volume: None }
    }

    #[test]
    fn what_is_kept_is_there_again_and_private() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let kept = Kept::new(dir.path());
        assert!(kept.read().expect("none yet").is_empty());
        let camera = KeptCamera::new(&settings("rtsp://h/1", Some(("u", "hunter2"))), "main".into());
        kept.change(|cameras| drop(cameras.insert("front".into(), camera.clone()))).expect("changed");
        let read = Kept::new(dir.path()).read().expect("readable");
        assert!(read.get("front") == Some(&camera));
        let entry = camera.entry("front");
        assert_eq!(entry.credentials, Some(("u".to_owned(), "hunter2".to_owned())));
        assert_eq!(entry.streams, [("sub".to_owned(), "rtsp://h/1/sub".to_owned())]);
        let mode = std::fs::metadata(kept.file.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_not_understood_is_refused_quoting_nothing_and_never_replaced() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("cameras.json");
        for text in
            ["{\"schema\":1,\"cameras\":{\"a\":\"hunter2\"}}", "{\"schema\":9,\"cameras\":{}}", "hunter2"]
        {
            std::fs::write(&path, text).expect("written");
            let kept = Kept::new(dir.path());
            for error in [kept.read().err(), kept.change(BTreeMap::clear).err()] {
                let said = error.expect("refused").to_string();
                assert!(said.contains("cameras.json") && !said.contains("hunter2"), "{said}");
            }
            assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
        }
    }

    #[test]
    fn a_password_goes_to_no_other_host() {
        let before = KeptCamera::new(&settings("rtsp://h/1", Some(("u", "hunter2"))), "main".into());
        for (url, login, kept) in [
            ("rtsp://h/2", None, Some("hunter2")),
            ("rtsp://h:555/2", None, None),
            ("rtsp://other/1", None, None),
            ("rtsp://h/1", Some(("v", "swordfish")), Some("swordfish")),
        ] {
            let after = KeptCamera::new(&settings(url, login), "main".into());
            let after = after.or_login_of(&before, KeepLogin::SameHost).expect("it may");
            assert_eq!(after.login.as_ref().map(|login| login.password.as_str()), kept, "{url}");
        }
    }
    #[test]
    fn a_password_serves_no_other_address_for_whoever_administers_one_camera() {
        let before = KeptCamera::new(&settings("rtsp://h/1", Some(("u", "hunter2"))), "main".into());
        let change = |settings: &CameraSettings| {
            let after = KeptCamera::new(settings, "main".into());
            let after = after.or_login_of(&before, KeepLogin::SameAddresses);
            after.map(|after| after.login.map(|login| login.password))
        };
        let same = settings("rtsp://h/1", None);
        assert_eq!(change(&same).expect("it may"), Some("hunter2".to_owned()));
        let fewer = CameraSettings { streams: Vec::new(), ..same.clone() };
        assert_eq!(change(&fewer).expect("it may"), Some("hunter2".to_owned()));
        let channel = settings("rtsp://h/2", None);
        let more = CameraSettings { streams: vec![("sub".into(), "rtsp://h/2".into())], ..same };
        for refused in [channel, more] {
            assert!(matches!(change(&refused), Err(ControlError::Refused(_))));
        }
        let named = settings("rtsp://h/2", Some(("v", "swordfish")));
        assert_eq!(change(&named).expect("it may"), Some("swordfish".to_owned()));
        let open = KeptCamera::new(&settings("rtsp://h/1", None), "main".into());
        let elsewhere = KeptCamera::new(&settings("rtsp://other/1", None), "main".into());
        let after = elsewhere.or_login_of(&open, KeepLogin::SameAddresses);
        assert!(after.is_ok_and(|after| after.login.is_none()), "there is nothing to keep");
    }
}
