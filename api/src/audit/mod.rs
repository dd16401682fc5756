//! The audit log: who watched, exported and changed what, and who logged in or failed to.
//!
//! A line of JSON each, in `audit.YYYY-MM-DD.jsonl` of the state directory, a file a day (UTC), kept for 400 days. Noted are all
//! requests that change something, whatever came of them; all files of footage that were given; whom the gate refused who tried
//! something; and watching: once for each user, stream, way of watching and footage in ten minutes ([`watching`]). Where the path does not
//! say what it is about, `what` does ([`Subject`]). Neither bodies nor what signs a URL nor any password stand in it.
//!
//! It cannot fill the disk, and nobody pushes out what others did: what clients write is cut; who is refused or fetches files again and
//! again is noted once in 2 s, and who makes changes without end (more than 2000) twice a second, each with how often he was not (`more`);
//! and a day has 256 MiB, one half for what was done and one for what was refused.
//!
//! A log that cannot be written stops nobody from watching: it is told in the server's own log.

mod bounds;
mod file;
mod subject;
mod watching;

pub(crate) use subject::{Subject, in_words};

use crate::app::App;
use crate::auth::Identity;
use crate::error::Result;
use crate::gate::{Refused, SEALED, address_key};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, MatchedPath, OriginalUri, RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use bounds::{Bounds, CHANGES, LINES};
use file::{AuditFile, Kind};
use jiff::Timestamp;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use watching::{Watching, Which};

/// The most bytes of a day: half of them for each [`Kind`].
const DAY_BYTES_MAX: u64 = 256 << 20;
/// The most bytes of a name, and of a path, a query or what it is about, that are noted.
const NAME_BYTES_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 300;
/// What is noted as the status of a change whose client did not wait for the answer. It may have been made.
const HUNG_UP: u16 = 499;
/// Watching is noted again after this time.
const AGAIN: Duration = Duration::from_secs(600);

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
    /// What it is about, where the path does not say it.
    #[serde(skip_serializing_if = "str::is_empty")]
    what: &'a str,
    /// So many before it, of the same user or address, were left out.
    #[serde(skip_serializing_if = "is_zero")]
    more: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where lines go.
pub(crate) struct Audit {
    file: AuditFile,
    bounds: Bounds,
    changes: Bounds,
    watching: Watching,
}

impl Audit {
    /// The log in a state directory.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn open(directory: &Path) -> Result<Audit> {
        let file = AuditFile::open(directory, DAY_BYTES_MAX)?;
        let (bounds, changes) = (Bounds::new(LINES), Bounds::new(CHANGES));
        Ok(Audit { file, bounds, changes, watching: Watching::default() })
    }

    /// Notes a request, what came of it, and what it is about, unless too much is noted of who asked. Whether it was.
    pub(crate) fn note(
        &self,
        user: &str,
        address: IpAddr,
        (method, uri): (&Method, &Uri),
        status: StatusCode,
        what: &str,
    ) -> bool {
        let changed = !is_reading(method) && status.is_success();
        // A name that was only claimed is anybody's.
        let claimed = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS);
        let who = if user.is_empty() || claimed { address_key(address) } else { user.to_owned() };
        let bounds = if changed { &self.changes } else { &self.bounds };
        let Some(more) = bounds.admit(&who) else { return false };
        let query = without_seal(uri.query().unwrap_or_default());
        let line = Line {
            time: Timestamp::now(),
            user: &cut(user, NAME_BYTES_MAX),
            address,
            method: method.as_str(),
            path: &cut(uri.path(), PATH_BYTES_MAX),
            query: &cut(&query, PATH_BYTES_MAX),
            status: status.as_u16(),
            what: &cut(what, PATH_BYTES_MAX),
            more,
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        self.file.append(Kind::of(status.as_u16()), text);
        true
    }
}

/// What a route is to this log.
#[derive(Debug, PartialEq, Eq)]
enum Noted {
    /// Each time.
    Always,
    /// As watching in this way.
    Watching(Way),
    /// Not at all: it tells nothing that was filmed.
    Never,
}

/// How footage is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Live, in a WebSocket.
    Live,
    /// Live, by a playlist.
    LivePlaylist,
    /// By the playlist of a range.
    Playlist,
    /// By a segment that a playlist lists.
    Segment,
    /// As a picture.
    Snapshot,
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// `route` has the names of its parameters in braces: what a camera is called makes no difference.
fn noted(method: &Method, route: &str) -> Noted {
    if !is_reading(method) || route.ends_with("/footage") || route.ends_with("/exports/{export}/file") {
        return Noted::Always;
    }
    let ways = [
        ("/hls/live.m3u8", Way::LivePlaylist),
        ("/hls/vod.m3u8", Way::Playlist),
        ("/hls/master.m3u8", Way::Playlist),
        ("/hls/{file}", Way::Segment),
        ("/streams/{stream}/live", Way::Live),
        ("/snapshot.jpg", Way::Snapshot),
    ];
    let way = ways.iter().find(|(end, _)| route.ends_with(end));
    way.map_or(Noted::Never, |(_, way)| Noted::Watching(*way))
}

impl Way {
    /// Which footage an answer gave; `None` if it gave none.
    fn which(self, uri: &Uri, params: &[(&str, &str)], answer: &HeaderMap) -> Option<Which> {
        match self {
            Way::Live | Way::LivePlaylist => Some(Which::default()),
            Way::Playlist => Some(Which::asked(uri)),
            Way::Segment => Which::segment(value(params, "file")),
            Way::Snapshot => Some(Which::picture(answer)),
        }
    }
}

fn value<'a>(params: &[(&str, &'a str)], wanted: &str) -> &'a str {
    params.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
}

/// The camera and the stream of a path, decoded: however it is spelled, it is one.
fn watched(params: &[(&str, &str)]) -> String {
    format!("{}/{}", value(params, "camera"), value(params, "stream"))
}

/// Notes a request, once it was answered.
pub(crate) async fn layer(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    OriginalUri(uri): OriginalUri,
    params: std::result::Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let identity = request.extensions().get::<Arc<Identity>>().cloned();
    let route = request.extensions().get::<MatchedPath>().map_or("", |route| route.as_str());
    let noted = noted(&method, route);
    let subject = Subject::default();
    request.extensions_mut().insert(subject.clone());
    let user = identity.as_ref().map_or("", |identity| identity.name.as_str());
    let note = |status, what: &str| app.audit.note(user, peer.ip(), (&method, &uri), status, what);
    let unanswered = Unanswered(!is_reading(&method), || {
        note(StatusCode::from_u16(HUNG_UP).unwrap_or_default(), &subject.told());
    });
    let response = next.run(request).await;
    unanswered.was_answered();
    let status = response.status();
    let note = |what: &str| note(status, what);
    match noted {
        Noted::Always => {
            note(&subject.told());
        }
        Noted::Watching(way) if !status.is_client_error() && !status.is_server_error() => {
            let params: Vec<(&str, &str)> = params.iter().flatten().collect();
            let Some(which) = way.which(&uri, &params, response.headers()) else { return response };
            let what = format!("{} {way:?} {}", watched(&params), which.key);
            let is_news = app.audit.watching.is_news(user, &what, Instant::now());
            if is_news && !note(&which.moment.unwrap_or_default()) {
                app.audit.watching.was_not_noted(user, &what);
            }
        }
        Noted::Watching(_) | Noted::Never => {}
    }
    response
}

/// Notes a change of which nobody awaits the answer: this is dropped then, while what was begun may go on.
struct Unanswered<F: Fn()>(bool, F);

impl<F: Fn()> Unanswered<F> {
    fn was_answered(mut self) {
        self.0 = false;
    }
}

impl<F: Fn()> Drop for Unanswered<F> {
    fn drop(&mut self) {
        if self.0 {
            self.1();
        }
    }
}

/// Notes whom the gate refused.
pub(crate) async fn refusals(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    OriginalUri(uri): OriginalUri,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    if let Some(Refused { name }) = response.extensions().get() {
        app.audit.note(name, peer.ip(), (&method, &uri), response.status(), "");
    }
    response
}

/// At most so many bytes of a text; that there was more is shown.
fn cut(text: &str, bytes_max: usize) -> String {
    match text.len() <= bytes_max {
        true => text.to_owned(),
        false => format!("{}...", text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()),
    }
}

fn without_seal(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| pair.split('=').next() != Some(SEALED));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::{Audit, Noted, Way, noted, watched, without_seal};
    use crate::routes::tests::{Server, basic, basic_of};
    use axum::http::{Method, StatusCode, Uri};
    use std::net::Ipv4Addr;

    /// All that was noted in a directory.
    pub(super) fn lines(directory: &std::path::Path) -> Vec<serde_json::Value> {
        let files = std::fs::read_dir(directory).expect("files").map(|file| file.expect("a file").path());
        let logs = files.filter(|path| path.extension().is_some_and(|suffix| suffix == "jsonl"));
        let texts = logs.map(|path| std::fs::read_to_string(path).expect("text"));
        texts
            .flat_map(|text| {
                text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn what_is_noted() {
        let stream = "/keha/api/v1/cameras/{camera}/streams/{stream}";
        for (method, path, expected) in [
            (Method::DELETE, "/api/v1/holds/{hold}".to_owned(), Noted::Always),
            (Method::GET, format!("{stream}/footage"), Noted::Always),
            (Method::GET, "/api/v1/exports/{export}/file".to_owned(), Noted::Always),
            (Method::GET, format!("{stream}/hls/live.m3u8"), Noted::Watching(Way::LivePlaylist)),
            (Method::GET, format!("{stream}/hls/vod.m3u8"), Noted::Watching(Way::Playlist)),
            (Method::GET, format!("{stream}/hls/{{file}}"), Noted::Watching(Way::Segment)),
            (Method::GET, "/cameras/{camera}/hls/master.m3u8".to_owned(), Noted::Watching(Way::Playlist)),
            (Method::GET, format!("{stream}/live"), Noted::Watching(Way::Live)),
            (Method::GET, format!("{stream}/snapshot.jpg"), Noted::Watching(Way::Snapshot)),
            (Method::GET, format!("{stream}/timeline"), Noted::Never),
            (Method::GET, "/api/v1/events/live".to_owned(), Noted::Never),
            (Method::GET, "/api/v1/cameras".to_owned(), Noted::Never),
        ] {
            assert_eq!(noted(&method, &path), expected, "{method} {path}");
        }
        assert_eq!(watched(&[("camera", "live-yard"), ("stream", "main")]), "live-yard/main");
    }

    #[tokio::test]
    async fn whom_the_gate_refuses_is_noted_without_any_secret_and_cannot_fill_the_disk() {
        let server = Server::new(true, false);
        server.get("/api/v1/users", &[]).await;
        let viewer = basic_of("anna");
        server.ask(Method::DELETE, "/api/v1/users/root", &[("authorization", &viewer)], None).await;
        server.ask(Method::DELETE, "/api/v1/users/root", &[], None).await;
        let long = format!("/api/v1/cameras?x={}", "x".repeat(30_000));
        let wrong = basic(&"a".repeat(5000), "hunter22");
        for _ in 0..2000 {
            server.get(&long, &[("authorization", &wrong)]).await;
        }
        let Server { directory, router } = server;
        drop(router);
        let lines = lines(directory.path());
        let text = format!("{lines:?}");
        assert!(!text.contains("hunter22") && text.len() < 100_000, "{}", text.len());
        let of = |status: u16| lines.iter().filter(|line| line["status"] == status).count();
        assert!(of(401) >= 10 && of(401) <= 70 && of(429) <= 70, "{} {}", of(401), of(429));
        let refused = lines.iter().find(|line| line["user"] == "anna").expect("a change that was refused");
        assert_eq!((&refused["status"], &refused["method"]), (&403.into(), &"DELETE".into()));
        assert!(lines.iter().any(|line| line["user"] == "" && line["method"] == "DELETE"));
        let looked = |line: &serde_json::Value| line["path"] == "/api/v1/users";
        assert!(!lines.iter().any(looked), "who only looked without a name tried nothing");
    }

    /// Changes that were made had no bound of their own: a script could fill the day, and nothing that others did was noted any more.
    #[test]
    fn one_who_changes_something_without_end_does_not_fill_the_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let audit = Audit::open(directory.path()).expect("a log");
        let uri: Uri = "/api/v1/holds".parse().expect("a URI");
        let note = |user: &str| {
            audit.note(user, Ipv4Addr::LOCALHOST.into(), (&Method::POST, &uri), StatusCode::CREATED, "");
            // Few wait for the disk.
            std::thread::yield_now();
        };
        (0..20_000).for_each(|_| note("anna"));
        (0..10).for_each(|_| note("bert"));
        drop(audit);
        let lines = lines(directory.path());
        let of = |user: &str| lines.iter().filter(|line| line["user"] == user).count();
        assert!(of("anna") >= 1000 && of("anna") < 4000 && of("bert") == 10, "{} {}", of("anna"), of("bert"));
    }

    #[test]
    fn a_line_tells_who_did_what_and_no_secret() {
        let directory = tempfile::tempdir().expect("a directory");
        let audit = Audit::open(directory.path()).expect("a log");
        let uri: Uri = "/api/v1/footage?from=-5m&sealed=abc.def&to=now".parse().expect("a URI");
        audit.note("anna", Ipv4Addr::LOCALHOST.into(), (&Method::GET, &uri), StatusCode::OK, "");
        drop(audit);
        let line = lines(directory.path()).pop().expect("a line");
        assert_eq!((&line["user"], &line["status"]), (&"anna".into(), &200.into()));
        assert_eq!(line["query"], "from=-5m&to=now");
        assert_eq!(without_seal("sealed=x"), "");
    }
}

#[cfg(test)]
mod told_tests;
