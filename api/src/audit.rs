//! The audit log: who watched, exported and changed what, and who logged in or failed to.
//!
//! A line of JSON each, in `audit.YYYY-MM-DD.jsonl` of the state directory, a file a day (UTC), kept for 400 days. Noted are all
//! requests that change something, whatever came of them; all files of footage that were given; and watching: once for each user,
//! stream and way of watching in ten minutes. Neither bodies nor what signs a URL stand in it.
//!
//! A log that cannot be written stops nobody from watching: it is told in the server's own log.

use crate::app::App;
use crate::auth::Identity;
use crate::error::{Error, Result};
use crate::gate::SEALED;
use axum::extract::{ConnectInfo, OriginalUri, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing_appender::rolling::{RollingFileAppender, Rotation};

/// How many days are kept.
const DAYS: usize = 400;
/// Watching is noted again after this time.
const AGAIN: Duration = Duration::from_secs(600);
/// Of how many who watch that is known.
const WATCHED_MAX: usize = 100_000;

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    user: &'a str,
    address: IpAddr,
    method: &'a str,
    path: &'a str,
    query: &'a str,
    status: u16,
}

/// Where lines go.
pub(crate) struct Audit {
    file: Mutex<RollingFileAppender>,
    watched: Mutex<HashMap<(String, String), Instant>>,
}

impl Audit {
    /// The log in a state directory.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn open(directory: &Path) -> Result<Audit> {
        let file = RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix("audit")
            .filename_suffix("jsonl")
            .max_log_files(DAYS)
            .build(directory);
        let failed = |error: tracing_appender::rolling::InitError| Error::Io {
            op: "write the audit log in",
            path: directory.to_owned(),
            source: std::io::Error::other(error.to_string()),
        };
        Ok(Audit { file: Mutex::new(file.map_err(failed)?), watched: Mutex::default() })
    }

    /// Notes a request and what came of it.
    pub(crate) fn note(&self, user: &str, address: IpAddr, method: &Method, uri: &Uri, status: StatusCode) {
        let query = without_seal(uri.query().unwrap_or_default());
        let line = Line {
            time: Timestamp::now(),
            user,
            address,
            method: method.as_str(),
            path: uri.path(),
            query: &query,
            status: status.as_u16(),
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&text) {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }

    /// Whether this user's watching this is to be noted: not if it was a short while ago.
    fn is_news(&self, user: &str, what: &str, now: Instant) -> bool {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() >= WATCHED_MAX {
            watched.retain(|_, since| now.duration_since(*since) < AGAIN);
        }
        let key = (user.to_owned(), what.to_owned());
        if watched.get(&key).is_some_and(|since| now.duration_since(*since) < AGAIN) {
            return false;
        }
        if watched.len() < WATCHED_MAX {
            watched.insert(key, now);
        }
        true
    }
}

/// What a path is to this log.
#[derive(Debug, PartialEq, Eq)]
enum Noted<'a> {
    /// Each time.
    Always,
    /// As watching this.
    Watching(&'a str),
    /// Not at all: it tells nothing that was filmed.
    Never,
}

fn noted<'a>(method: &Method, path: &'a str) -> Noted<'a> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Noted::Always;
    }
    if path.ends_with("/footage") || path.ends_with("/file") {
        return Noted::Always;
    }
    let below = ["/hls/", "/live", "/snapshot.jpg"].iter().find_map(|part| Some(path.split_once(part)?.0));
    below.map_or(Noted::Never, Noted::Watching)
}

/// Notes a request, once it was answered.
pub(crate) async fn layer(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let identity = request.extensions().get::<Arc<Identity>>().cloned();
    let response = next.run(request).await;
    let user = identity.as_ref().map_or("", |identity| identity.name.as_str());
    let wanted = match noted(&method, uri.path()) {
        Noted::Always => true,
        Noted::Watching(what) => {
            let seen = !response.status().is_client_error() && !response.status().is_server_error();
            seen && app.audit.is_news(user, what, Instant::now())
        }
        Noted::Never => false,
    };
    if wanted {
        app.audit.note(user, peer.ip(), &method, &uri, response.status());
    }
    response
}

fn without_seal(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| pair.split('=').next() != Some(SEALED));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, Audit, Noted, noted, without_seal};
    use axum::http::{Method, StatusCode, Uri};
    use std::net::Ipv4Addr;
    use std::time::Instant;

    #[test]
    fn what_is_noted() {
        let stream = "/api/v1/cameras/door/streams/main";
        for (method, path, expected) in [
            (Method::DELETE, "/api/v1/holds/x".to_owned(), Noted::Always),
            (Method::GET, format!("{stream}/footage"), Noted::Always),
            (Method::GET, "/api/v1/exports/x/file".to_owned(), Noted::Always),
            (Method::GET, format!("{stream}/hls/live.m3u8"), Noted::Watching(stream)),
            (Method::GET, format!("{stream}/live"), Noted::Watching(stream)),
            (Method::GET, format!("{stream}/snapshot.jpg"), Noted::Watching(stream)),
            (Method::GET, format!("{stream}/timeline"), Noted::Never),
            (Method::GET, "/api/v1/cameras".to_owned(), Noted::Never),
        ] {
            assert_eq!(noted(&method, &path), expected, "{method} {path}");
        }
    }

    #[test]
    fn watching_is_noted_once_in_a_while() {
        let directory = tempfile::tempdir().expect("a directory");
        let audit = Audit::open(directory.path()).expect("a log");
        let now = Instant::now();
        assert!(audit.is_news("anna", "door", now) && !audit.is_news("anna", "door", now));
        assert!(audit.is_news("anna", "yard", now) && audit.is_news("bert", "door", now));
        assert!(audit.is_news("anna", "door", now + AGAIN));
    }

    #[test]
    fn a_line_tells_who_did_what_and_no_secret() {
        let directory = tempfile::tempdir().expect("a directory");
        let audit = Audit::open(directory.path()).expect("a log");
        let uri: Uri = "/api/v1/footage?from=-5m&sealed=abc.def&to=now".parse().expect("a URI");
        audit.note("anna", Ipv4Addr::LOCALHOST.into(), &Method::GET, &uri, StatusCode::OK);
        let file =
            std::fs::read_dir(directory.path()).expect("files").next().expect("one").expect("its name");
        let text = std::fs::read_to_string(file.path()).expect("text");
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("a line");
        assert_eq!((&line["user"], &line["status"]), (&"anna".into(), &200.into()));
        assert_eq!(line["query"], "from=-5m&to=now");
        assert_eq!(without_seal("sealed=x"), "");
    }
}
