//! Where a stream comes from: `rtsp://` addresses and the built-in camera `testsrc://`.
//!
//! Promise: a password in an address never shows in `Debug`, `Display` or an error, wherever in the address it stands
//! (`user:password@`, or the `password=` some makers put into path or query).

use super::secret::{MASK, Secret};
use crate::testsrc::TestSource;
use std::fmt;
use url::Url;

/// Names of parameters whose values are secrets, as makers spell them in paths and queries.
const SECRET_PARAMETERS: [&str; 10] =
    ["password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "auth", "authbasic", "loginpas"];

/// A user and the password that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadUrl {
    /// It is no URL at all, or has no host.
    #[error("{url}: not a camera address: {detail}; write rtsp://user:password@host:554/path")]
    Malformed {
        /// The address, masked.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// It is of a kind this version cannot record from.
    #[error("{url}: cannot record from {scheme}://; use rtsp:// or testsrc://")]
    Scheme {
        /// The address, masked.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// A parameter of `testsrc://` is wrong.
    #[error("{url}: {detail}")]
    TestSource {
        /// The address, masked.
        url: String,
        /// Which parameter, and what it may be.
        detail: String,
    },
}

/// An address to record from.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    source: Source,
    shown: String,
}

/// What an address leads to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An RTSP server; the URL has no credentials in it any more.
    Rtsp { url: Url, credentials: Option<Credentials> },
    /// The built-in camera.
    TestSource(TestSource),
}

impl CameraUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<CameraUrl, BadUrl> {
        let text = text.trim();
        let mut url = Url::parse(text)
            .map_err(|error| BadUrl::Malformed { url: masked_text(text), detail: error.to_string() })?;
        let shown = masked(&url);
        match url.scheme() {
            "rtsp" => {
                if url.host_str().is_none_or(str::is_empty) {
                    return Err(BadUrl::Malformed { url: shown, detail: "it names no host".to_owned() });
                }
                let credentials = credentials_of(&url);
                let cannot = || BadUrl::Malformed {
                    url: shown.clone(),
                    detail: "it cannot have credentials".to_owned(),
                };
                url.set_username("").map_err(|()| cannot())?;
                url.set_password(None).map_err(|()| cannot())?;
                url.set_fragment(None);
                Ok(CameraUrl { source: Source::Rtsp { url, credentials }, shown })
            }
            "testsrc" => match TestSource::from_url(&url) {
                Ok(source) => Ok(CameraUrl { source: Source::TestSource(source), shown }),
                Err(detail) => Err(BadUrl::TestSource { url: shown, detail }),
            },
            scheme => Err(BadUrl::Scheme { scheme: scheme.to_owned(), url: shown }),
        }
    }

    /// This address with credentials given apart from it. They win over those in the address.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> CameraUrl {
        if let Source::Rtsp { credentials: own, .. } = &mut self.source {
            *own = Some(credentials);
        }
        self
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// `text` with every secret of this address masked.
    pub fn mask_in(&self, text: &str) -> String {
        let text = masked_text(text);
        match &self.source {
            Source::Rtsp { credentials: Some(credentials), .. } => {
                let encoded: String =
                    url::form_urlencoded::byte_serialize(credentials.password.reveal().as_bytes()).collect();
                Secret::new(encoded).mask_in(&credentials.password.mask_in(&text))
            }
            _ => text,
        }
    }
}

impl fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn credentials_of(url: &Url) -> Option<Credentials> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    Some(Credentials {
        username: percent_decoded(url.username()),
        password: Secret::new(percent_decoded(url.password().unwrap_or_default())),
    })
}

/// Percent-decoding of user information (RFC 3986, section 2.1); a `+` stays a plus sign there.
fn percent_decoded(text: &str) -> String {
    let protected = text.replace('+', "%2B");
    url::form_urlencoded::parse(protected.replace('&', "%26").replace('=', "%3D").as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default()
}

fn masked(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.password().is_some() {
        // Fails only for URLs that cannot have a password, and this one has.
        let _ = shown.set_password(Some(MASK));
    }
    masked_parameters(shown.as_str())
}

/// Masks what looks like a secret in a text that need not be a valid URL.
fn masked_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(after.len());
        let (address, tail) = after.split_at(end);
        // An unescaped '/' or '@' in a password is a common mistake: everything up to the last '@' may be secret.
        match address.rfind('@') {
            Some(host) => {
                let user = address.get(..host).unwrap_or_default().split(':').next().unwrap_or_default();
                out.push_str(user);
                if user.len() < host {
                    out.push(':');
                    out.push_str(MASK);
                }
                out.push_str(address.get(host..).unwrap_or_default());
            }
            None => out.push_str(address),
        }
        rest = tail;
    }
    out.push_str(rest);
    masked_parameters(&out)
}

fn masked_parameters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let is_delimiter = |c: char| matches!(c, '?' | '&' | '/' | ';' | '_') || c.is_whitespace();
    // Between parameters, but just as well within a password.
    let may_be_inside = |end: &str| matches!(end, "_" | "/");
    let mut inside = false;
    for piece in text.split_inclusive(is_delimiter) {
        let (body, end) = match piece.char_indices().next_back() {
            Some((at, last)) if is_delimiter(last) => piece.split_at(at),
            _ => (piece, ""),
        };
        match body.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret(name) => {
                out.push_str(name);
                out.push('=');
                out.push_str(MASK);
                inside = may_be_inside(end);
            }
            None if inside => inside = may_be_inside(end),
            _ => {
                inside = false;
                out.push_str(body);
            }
        }
        out.push_str(end);
    }
    out
}

fn is_secret(name: &str) -> bool {
    SECRET_PARAMETERS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtsp(text: &str) -> (Url, Option<Credentials>) {
        match CameraUrl::parse(text).unwrap().source() {
            Source::Rtsp { url, credentials } => (url.clone(), credentials.clone()),
            Source::TestSource(_) => panic!("not an RTSP address"),
        }
    }

    #[test]
    fn credentials_leave_the_address_and_are_decoded() {
        let (url, credentials) = rtsp("rtsp://ad%6Din:p%40ss+w=d@10.0.0.7:8554/live?ch=1");
        assert_eq!(url.as_str(), "rtsp://10.0.0.7:8554/live?ch=1");
        let credentials = credentials.unwrap();
        assert_eq!(credentials.username, "admin");
        assert_eq!(credentials.password.reveal(), "p@ss+w=d");
    }

    #[test]
    fn no_form_of_an_address_shows_its_password() {
        for text in [
            "rtsp://admin:hunter2@cam/live",
            "rtsp://cam/user=admin&password=hunter2&channel=1",
            "rtsp://cam/user=admin_password=hunter2_channel=1",
            "rtsp://cam/live?PWD=hunter2",
            "rtsp://cam/user=admin_password=my_hunter2_channel=1",
            "rtsp://cam/user=admin&password=my/hunter2&channel=1",
        ] {
            let url = CameraUrl::parse(text).unwrap();
            let shown = format!("{url} {url:?} {}", url.mask_in(&format!("cannot open {text}")));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        for text in [
            "http://admin:hunter2@cam/",
            "rtsp://admin:hunter2@",
            "rtsp://admin:hunter2/@[cam/",
            "testsrc://a:hunter2@x?fps=0",
        ] {
            let error = CameraUrl::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn given_credentials_win_over_those_in_the_address() {
        let given = Credentials { username: "viewer".into(), password: Secret::new("other") };
        let url = CameraUrl::parse("rtsp://admin:hunter2@cam/live").unwrap().with_credentials(given.clone());
        assert!(matches!(url.source(), Source::Rtsp { credentials: Some(own), .. } if *own == given));
        assert_eq!(url.mask_in("bad password other"), "bad password ***");
    }
}
