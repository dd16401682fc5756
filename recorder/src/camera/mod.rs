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
    fn credentials_given_apart_replace_those_in_the_address_and_show_nowhere() {
        let credentials = Credentials { username: "admin".to_owned(), password: Secret::new("hunter2") };
        let camera = Camera::new("front", "rtsp://old:hunter1@cam/main")
            .and_then(|camera| camera.with_stream("sub", "rtsp://cam/sub"))
            .unwrap()
            .with_credentials(&credentials);
        assert!(!format!("{camera:?}").contains("hunter"));
        assert!(camera.streams().all(|(_, url)| {
            matches!(url.source(), Source::Rtsp { credentials: Some(own), .. } if own.password.reveal() == "hunter2")
        }));
    }
}
