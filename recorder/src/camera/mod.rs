//! Cameras: a name, the addresses of its streams, and who may log in.
//!
//! A camera has a main stream, which bears the camera's name, and may have further ones, which are called `camera/sub`.
//! Nothing here connects to anything, and nothing here can print a password.

mod secret;
mod url;

pub use secret::{MASK, Secret};
pub(crate) use url::Source;
pub use url::{BadUrl, CameraUrl, Credentials};

use keha_fs::{BadStreamName, StreamName};
use std::collections::BTreeMap;

/// A camera to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    name: StreamName,
    streams: BTreeMap<StreamName, CameraUrl>,
}

/// Why a camera cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCamera {
    /// Its name, or the name of one of its streams.
    #[error(transparent)]
    Name(#[from] BadStreamName),
    /// One of its addresses.
    #[error("camera {name}: {source}")]
    Url {
        /// The stream.
        name: StreamName,
        /// What is wrong with its address.
        source: BadUrl,
    },
    /// Two streams of one name.
    #[error("stream {0} is given twice")]
    Twice(StreamName),
    /// A password without a user.
    #[error("camera {0}: a password is given but no username")]
    NoUser(StreamName),
}

impl Camera {
    /// A camera with its main stream. The name has one part: `front`, not `front/sub`.
    pub fn new(name: &str, url: &str) -> Result<Camera, BadCamera> {
        let stream = StreamName::new(name)?;
        if stream.camera() != name {
            return Err(BadStreamName(name.to_owned()).into());
        }
        let camera = Camera { name: stream.clone(), streams: BTreeMap::new() };
        camera.with_address(stream, url)
    }

    /// This camera with a further stream, which will be called `camera/sub`.
    pub fn with_stream(self, sub: &str, url: &str) -> Result<Camera, BadCamera> {
        let name = StreamName::new(&format!("{}/{sub}", self.name))?;
        self.with_address(name, url)
    }

    /// This camera with credentials for all its streams; they win over those in its addresses.
    #[must_use]
    pub fn with_credentials(mut self, credentials: &Credentials) -> Camera {
        self.streams = self
            .streams
            .into_iter()
            .map(|(name, url)| (name, url.with_credentials(credentials.clone())))
            .collect();
        self
    }

    /// The camera's name, which is the name of its main stream too.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Its streams, the main one first.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamName, &CameraUrl)> {
        self.streams.iter()
    }

    fn with_address(mut self, name: StreamName, url: &str) -> Result<Camera, BadCamera> {
        let url = CameraUrl::parse(url).map_err(|source| BadCamera::Url { name: name.clone(), source })?;
        match self.streams.insert(name.clone(), url) {
            None => Ok(self),
            Some(_) => Err(BadCamera::Twice(name)),
        }
    }
}

/// A camera as it stands in a configuration file. Unknown keys are errors.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraEntry {
    /// The camera's name.
    pub name: String,
    /// The address of its main stream.
    pub url: String,
    /// The addresses of further streams, by the second part of their names.
    #[serde(default)]
    pub streams: BTreeMap<String, String>,
    /// Who logs in, if not given in the addresses.
    pub username: Option<String>,
    /// The password that goes with it.
    pub password: Option<Secret>,
}

/// Shows the name alone: addresses as they were typed may hold passwords.
impl std::fmt::Debug for CameraEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CameraEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TryFrom<CameraEntry> for Camera {
    type Error = BadCamera;

    fn try_from(entry: CameraEntry) -> Result<Camera, BadCamera> {
        let mut camera = Camera::new(&entry.name, &entry.url)?;
        for (sub, url) in &entry.streams {
            camera = camera.with_stream(sub, url)?;
        }
        match (entry.username, entry.password) {
            (Some(username), password) => {
                let password = password.unwrap_or_else(|| Secret::new(""));
                Ok(camera.with_credentials(&Credentials { username, password }))
            }
            (None, Some(_)) => Err(BadCamera::NoUser(camera.name)),
            (None, None) => Ok(camera),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_has_its_main_stream_first_and_further_ones_below_its_name() {
        let camera =
            Camera::new("front", "rtsp://cam/main").unwrap().with_stream("sub", "rtsp://cam/sub").unwrap();
        let names: Vec<_> = camera.streams().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["front", "front/sub"]);
        assert!(camera.with_stream("sub", "rtsp://cam/other").is_err());
    }

    #[test]
    fn a_camera_name_has_one_part() {
        assert!(Camera::new("front/sub", "rtsp://cam/").is_err());
        assert!(Camera::new("Front", "rtsp://cam/").is_err());
    }

    #[test]
    fn a_camera_is_read_from_a_file_and_its_password_shows_nowhere() {
        let text =
            "name = 'front'\nurl = 'rtsp://old:hunter2@cam/main'\nusername = 'admin'\npassword = 'hunter2'\n";
        let entry: CameraEntry =
            toml::from_str(&format!("{text}[streams]\nsub = 'rtsp://cam/sub'\n")).unwrap();
        assert!(!format!("{entry:?}").contains("hunter2"));
        let camera = Camera::try_from(entry).unwrap();
        assert!(!format!("{camera:?}").contains("hunter2"));
        assert!(camera.streams().all(|(_, url)| {
            matches!(url.source(), Source::Rtsp { credentials: Some(own), .. } if own.password.reveal() == "hunter2")
        }));
        assert!(
            toml::from_str::<CameraEntry>(&format!("{text}colour = 'red'\n")).is_err(),
            "unknown keys are errors"
        );
        let without_user = text.replace("username = 'admin'\n", "");
        assert!(Camera::try_from(toml::from_str::<CameraEntry>(&without_user).unwrap()).is_err());
    }
}
