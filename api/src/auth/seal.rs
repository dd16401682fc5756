//! What only this server can have made: session cookies and signed URLs.
//!
//! A sealed text is `PAYLOAD.MAC`, both base64url; the MAC is keyed BLAKE3 under a key that is derived for its purpose, so that a URL
//! is no cookie. The server keeps nothing of them: they end by their own time, or with the generation of their user.

use crate::error::{Error, Result};
use crate::state::StateFile;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The most characters of a sealed text; what is longer is refused unread.
pub const SEALED_CHARACTERS_MAX: usize = 2048;

const SESSION: &str = "keha 2026-11 session cookie";
const URL: &str = "keha 2026-11 signed url";
const FORGERY: &str = "keha 2026-11 cross-site request forgery";

/// What was sealed, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The user.
    pub user: String,
    /// His generation when it was sealed.
    pub generation: u64,
    /// When it ends.
    pub expires: Timestamp,
    /// Of a URL: the path it is for, or (with a `/` at its end) all below it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
}

/// Seals with the key in `sealing.key` of the state directory; whoever removes that file ends all sessions and signed URLs.
pub struct Sealer {
    session: [u8; 32],
    url: [u8; 32],
    forgery: [u8; 32],
}

impl Sealer {
    /// Reads the key, or makes one.
    ///
    /// # Errors
    /// Where the file cannot be read or made, or is no key.
    pub fn open(directory: &Path) -> Result<Sealer> {
        let file = StateFile::new(directory, "sealing.key");
        let key = match file.read()? {
            Some(key) => key,
            None => file.change(|before| {
                let key = before.unwrap_or_else(|| rand::random::<[u8; 32]>().to_vec());
                Ok((key.clone(), key))
            })?,
        };
        let key: [u8; 32] = key.try_into().map_err(|key: Vec<u8>| Error::State {
            path: file.path().to_owned(),
            why: format!("a key has 32 bytes, and it has {}", key.len()),
        })?;
        let derive = |context| blake3::derive_key(context, &key);
        Ok(Sealer { session: derive(SESSION), url: derive(URL), forgery: derive(FORGERY) })
    }

    /// The value of a session cookie.
    pub fn session(&self, sealed: &Sealed) -> String {
        seal(&self.session, sealed)
    }

    /// What a session cookie says, if this server sealed it and it has not ended.
    pub fn open_session(&self, text: &str, now: Timestamp) -> Option<Sealed> {
        open(&self.session, text, now).filter(|sealed| sealed.path.is_none())
    }

    /// What a signed URL carries in its query.
    pub fn url(&self, sealed: &Sealed) -> String {
        seal(&self.url, sealed)
    }

    /// What the seal of a URL says, if this server sealed it for that path and it has not ended. The path is the raw one of
    /// the request: with `%` and two digits where they were sent, and as the client wrote it, so that one with `.` or `..` in it opens nothing.
    pub fn open_url(&self, text: &str, path: &str, now: Timestamp) -> Option<Sealed> {
        open(&self.url, text, now)
            .filter(|sealed| sealed.path.as_deref().is_some_and(|signed| covers(signed, path)))
    }

    /// What a page of a session sends back with each change that it asks for; another site's page does not know it.
    pub fn forgery_token(&self, session: &str) -> String {
        URL_SAFE_NO_PAD.encode(blake3::keyed_hash(&self.forgery, session.as_bytes()).as_bytes())
    }

    /// Whether a page sent what [`Sealer::forgery_token`] gave it.
    pub fn is_forgery_token(&self, session: &str, text: &str) -> bool {
        decoded_mac(text).is_some_and(|mac| blake3::keyed_hash(&self.forgery, session.as_bytes()) == mac)
    }
}

fn seal(key: &[u8; 32], sealed: &Sealed) -> String {
    // Text, numbers and a time: there is nothing that could fail, and what is empty opens nothing.
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(sealed).unwrap_or_default());
    let mac = blake3::keyed_hash(key, payload.as_bytes());
    format!("{payload}.{}", URL_SAFE_NO_PAD.encode(mac.as_bytes()))
}

fn open(key: &[u8; 32], text: &str, now: Timestamp) -> Option<Sealed> {
    if text.len() > SEALED_CHARACTERS_MAX {
        return None;
    }
    let (payload, mac) = text.split_once('.')?;
    // Nothing of the payload is looked at before it is known to be ours; comparing takes the same time wherever they differ.
    if blake3::keyed_hash(key, payload.as_bytes()) != decoded_mac(mac)? {
        return None;
    }
    let sealed: Sealed = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    (now < sealed.expires).then_some(sealed)
}

fn decoded_mac(text: &str) -> Option<blake3::Hash> {
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(blake3::Hash::from_bytes(bytes))
}

fn covers(signed: &str, path: &str) -> bool {
    let below = signed.ends_with('/') && path.starts_with(signed);
    let plain = path.split('/').all(|part| part != "." && part != "..");
    plain && (path == signed || below)
}

#[cfg(test)]
mod tests {
    use super::{Sealed, Sealer};
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn sealer() -> (tempfile::TempDir, Sealer) {
        let directory = tempfile::tempdir().expect("a directory");
        let sealer = Sealer::open(directory.path()).expect("a key");
        (directory, sealer)
    }

    fn sealed(path: Option<&str>) -> Sealed {
        let expires = NOW + SignedDuration::from_secs(60);
        Sealed { user: "anna".to_owned(), generation: 3, expires, path: path.map(str::to_owned) }
    }

    #[test]
    fn a_session_outlives_a_restart_and_ends_by_its_time() {
        let (directory, first) = sealer();
        let cookie = first.session(&sealed(None));
        let again = Sealer::open(directory.path()).expect("the same key");
        assert_eq!(again.open_session(&cookie, NOW), Some(sealed(None)));
        assert_eq!(again.open_session(&cookie, sealed(None).expires), None);
        let (_other, other) = sealer();
        assert_eq!(other.open_session(&cookie, NOW), None, "another server's");
    }

    #[test]
    fn a_url_opens_its_path_and_what_is_below_and_nothing_else() {
        let (_directory, sealer) = sealer();
        let one = sealer.url(&sealed(Some("/api/v1/cameras/door/snapshot.jpg")));
        let below = sealer.url(&sealed(Some("/api/v1/cameras/door/hls/")));
        assert!(sealer.open_url(&one, "/api/v1/cameras/door/snapshot.jpg", NOW).is_some());
        assert!(sealer.open_url(&below, "/api/v1/cameras/door/hls/7.m4s", NOW).is_some());
        for path in ["/api/v1/cameras/door/snapshot.jpg/x", "/api/v1/cameras/door/hls/7.m4s", "/"] {
            assert_eq!(sealer.open_url(&one, path, NOW), None, "{path}");
        }
        for path in [
            "/api/v1/cameras/door/hls",
            "/api/v1/cameras/door/hls/../../yard",
            "/api/v1/cameras/yard/hls/7.m4s",
        ] {
            assert_eq!(sealer.open_url(&below, path, NOW), None, "{path}");
        }
        assert_eq!(sealer.open_url(&one, "/api/v1/cameras/door/snapshot.jpg", sealed(None).expires), None);
    }

    #[test]
    fn a_url_is_no_cookie_and_a_cookie_no_url() {
        let (_directory, sealer) = sealer();
        assert_eq!(sealer.open_session(&sealer.url(&sealed(None)), NOW), None);
        assert_eq!(sealer.open_session(&sealer.session(&sealed(Some("/"))), NOW), None);
        assert_eq!(sealer.open_url(&sealer.session(&sealed(Some("/"))), "/", NOW), None);
        assert_eq!(sealer.open_url(&sealer.url(&sealed(None)), "/", NOW), None);
    }

    #[test]
    fn a_change_is_believed_of_the_page_of_that_session_alone() {
        let (_directory, sealer) = sealer();
        let token = sealer.forgery_token("one session");
        assert!(sealer.is_forgery_token("one session", &token));
        assert!(!sealer.is_forgery_token("another", &token));
        assert!(
            !sealer.is_forgery_token("one session", "") && !sealer.is_forgery_token("one session", "AAAA")
        );
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("sealing.key"), b"short").expect("written");
        let error = Sealer::open(directory.path()).err().expect("refused").to_string();
        assert!(error.contains("sealing.key") && error.contains("32 bytes"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_but_what_was_sealed_opens(position in 0_usize..200, change in 1_u8..=255, junk in ".{0,300}") {
            let (_directory, sealer) = sealer();
            let mut bytes = sealer.session(&sealed(None)).into_bytes();
            let position = position % bytes.len();
            bytes[position] ^= change;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert_eq!(sealer.open_session(&changed, NOW), None);
            prop_assert_eq!(sealer.open_session(&junk, NOW), None);
        }
    }
}
