//! A server with real footage, a real hold and a real export of two cameras, and what somebody may bring who asks it.

use super::super::tests::{Answer, Server, basic_of};
use super::rows::Row;
use crate::app::App;
use crate::auth::{Accounts, Cameras, Grant, Role, Sealed};
use crate::control::{CameraSettings, Control};
use crate::exports::Export;
use crate::gate::SEALED;
use crate::testing::{FakeControl, NOON, app, footage, pictured};
use axum::http::Method;
use jiff::{SignedDuration, Timestamp};
use keha_fs::{Hold, HoldRequest, StreamName, Writer, WriterOptions};
use keha_player::library::Library;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// `root` administers all, `dora` the door and the gate, `anna` sees those. None but root may know of the yard.
pub(super) const WHO: [&str; 3] = ["anna", "dora", "root"];
/// A handshake of a WebSocket. In these tests there is no connection that could become one: 426 is what a right one brings.
pub(super) const HANDSHAKE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// What somebody brings.
#[derive(Clone)]
pub(super) enum Brought {
    Fields(Vec<(&'static str, String)>),
    /// A URL that is signed for the path, or for another one.
    Url(Sealed, Option<&'static str>),
}

impl Brought {
    fn bearer(token: &str) -> Brought {
        Brought::Fields(vec![("authorization", format!("Bearer {token}"))])
    }

    fn session((cookie, forgery_token): (&str, &str)) -> Brought {
        Brought::Fields(vec![
            ("cookie", cookie.to_owned()),
            ("x-keha-forgery-token", forgery_token.to_owned()),
        ])
    }
}

/// A server with footage, a hold and an export of the door and of the yard.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) app: App,
    control: Arc<FakeControl>,
    holds: BTreeMap<&'static str, Hold>,
    exports: BTreeMap<&'static str, (String, Export)>,
    segment: String,
    /// Of each who asks, what seals are made of.
    sealed: BTreeMap<&'static str, Sealed>,
}

impl World {
    pub(super) async fn new() -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let attic = footage(directory.path(), &["door", "yard"]);
        pictured(&attic.1, &["door/sub", "yard/sub"]);
        let holds = held(&attic.1, &["door", "yard"]);
        let control = Arc::new(FakeControl::default());
        let app = app((directory.path(), ""), false, Arc::clone(&control), Library::new([attic]));
        let server = Server::with(directory, app.clone(), true);
        let cameras = || Cameras::Only(["door".to_owned(), "gate".to_owned()].into());
        for (name, role) in [("anna", Role::Viewer), ("dora", Role::Admin)] {
            let grant = Grant { role, cameras: cameras() };
            app.gate.change_accounts(|accounts| accounts.set_grant(name, grant)).expect("set");
        }
        let (exports, segment, sealed) = (BTreeMap::new(), String::new(), BTreeMap::new());
        let mut world = World { server, app, control, holds, exports, segment, sealed };
        world.complete().await;
        world
    }

    /// What is asked for over HTTP: exports, a segment's name, who is who.
    async fn complete(&mut self) {
        let root = basic_of("root");
        let root = [("authorization", root.as_str())];
        for camera in ["door", "yard"] {
            let range = ("2026-03-01T12:00:00Z", "2026-03-01T12:00:05Z");
            let body = json!({"streams": [camera], "from": range.0, "to": range.1});
            let made = self.server.ask(Method::POST, "/api/v1/exports", &root, Some(body)).await;
            let id = made.body["id"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
            let export = self.app.exports.get(&id, Timestamp::now()).expect("an export");
            self.exports.insert(camera, (id, export));
        }
        let playlist = self.server.get("/api/v1/cameras/door/streams/main/hls/vod.m3u8", &root).await;
        let mut lines = playlist.body.as_str().expect("a playlist").lines();
        self.segment = lines.find(|line| line.ends_with(".m4s")).expect("a segment").to_owned();
        for who in WHO {
            let (cookie, _) = self.server.log_in(who).await;
            let (_, text) = cookie.split_once('=').expect("a value");
            let sealed = self.app.gate.sealer().open_session(text, Timestamp::now());
            self.sealed.insert(who, sealed.expect("a session"));
        }
    }

    /// What was changed or removed by those who asked before is there again.
    fn restore(&self, row: &Row) {
        for hold in self.holds.values() {
            if !self.control.held().contains(&hold.id) {
                self.control.holds().push(hold.clone());
            }
        }
        for (id, export) in self.exports.values() {
            let export = export.clone();
            let restored = self.app.exports.change(id, Timestamp::now(), |kept| *kept = Some(export));
            restored.expect("written");
        }
        let gate = CameraSettings {
            url: "rtsp://gate.example/".to_owned(),
            streams: Vec::new(),
            login: None,
            volume: None,
        };
        // Where it is there or not already, nothing is to be done.
        let _there = self.control.add_camera("gate", &gate);
        let _gone = self.control.remove_camera("shed");
        let change = |change: &dyn Fn(&mut Accounts) -> crate::Result<()>| {
            let _there_or_gone = self.app.gate.change_accounts(|accounts| change(accounts));
        };
        let grant = Grant { role: Role::Viewer, cameras: Cameras::All };
        let is_there = self.app.gate.accounts().users().any(|(name, _)| name == "bert");
        if row.path == "/api/v1/users" && is_there {
            change(&|accounts| accounts.remove_user("bert"));
        }
        if row.path.contains("{user}") && !is_there {
            change(&|accounts| accounts.add_user("bert", "correct horse", grant.clone()));
        }
    }

    /// The path of a row for a camera and a stream, with what is there of them.
    fn filled(&self, row: &Row, (camera, stream): (&str, &str)) -> String {
        let known = if self.holds.contains_key(camera) { camera } else { "door" };
        let mut path = row.path.replace("{camera}", camera).replace("{stream}", stream);
        path = path.replace("{user}", "bert").replace("{file}", &self.segment);
        path = path.replace("{export}", &self.exports[known].0);
        path = path.replace("{hold}", &self.holds[known].id.to_string());
        match path.contains("{token}") {
            true => path.replace("{token}", &self.token("victim", "anna", None).1),
            false => path,
        }
    }

    /// A token that may what somebody may, and its identifier.
    fn token(&self, label: &str, who: &str, expires: Option<Timestamp>) -> (String, String) {
        let grant =
            self.app.gate.accounts().users().find(|(name, _)| *name == who).map(|(_, grant)| grant.clone());
        let grant = grant.expect("a user");
        let now = Timestamp::now();
        let made = self.app.gate.change_accounts(|accounts| accounts.add_token(label, grant, expires, now));
        let made = made.expect("made");
        (made.text, made.id)
    }

    fn session(&self, sealed: &Sealed) -> Brought {
        let sealer = self.app.gate.sealer();
        let text = sealer.session(sealed);
        Brought::session((&format!("keha_session={text}"), &sealer.forgery_token(&text)))
    }

    /// All that somebody may bring.
    pub(super) fn rights(&self, who: &str) -> [(&'static str, Brought); 4] {
        let sealed = &self.sealed[who];
        [
            ("a password", Brought::Fields(vec![("authorization", basic_of(who))])),
            ("a token", Brought::bearer(&self.token("script", who, None).0)),
            ("a session", self.session(sealed)),
            ("a signed URL", Brought::Url(sealed.clone(), None)),
        ]
    }

    /// What opens nothing: somebody's who may all, but ended, for something else, or made up.
    pub(super) fn dead(&self) -> Vec<(&'static str, Brought)> {
        let ended = Timestamp::now() - SignedDuration::from_secs(1);
        let root = &self.sealed["root"];
        let before = Sealed { expires: ended, ..root.clone() };
        let (removed, id) = self.token("removed", "root", None);
        self.app.gate.change_accounts(|accounts| accounts.remove_token(&id)).expect("removed");
        let basic = |text: &str| Brought::Fields(vec![("authorization", text.to_owned())]);
        let stranger = Sealed { generation: root.generation + 1, ..root.clone() };
        vec![
            ("nothing", Brought::Fields(Vec::new())),
            ("an unknown token", Brought::bearer("keha_0000_AAAA")),
            ("a token that has ended", Brought::bearer(&self.token("old", "root", Some(ended)).0)),
            ("a token that was removed", Brought::bearer(&removed)),
            ("no base64", basic("Basic ???")),
            ("a session that has ended", self.session(&before)),
            ("a session of before another password", self.session(&stranger)),
            ("a session that was made up", Brought::session(("keha_session=e30.AAAA", "AAAA"))),
            ("a URL that has ended", Brought::Url(before, None)),
            ("a URL of before another password", Brought::Url(stranger, None)),
            ("a URL for something else", Brought::Url(root.clone(), Some("/api/v1/cameras/gate/"))),
        ]
    }

    pub(super) async fn ask(&self, row: &Row, of: (&str, &str), brought: &Brought) -> Answer {
        self.restore(row);
        let (path, fields) = self.asked(self.filled(row, of), brought);
        let mut fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if row.status == 426 {
            fields.extend(HANDSHAKE);
        }
        let method: Method = row.method.to_uppercase().parse().expect("a method");
        self.server.ask(method, &path, &fields, row.body(of.0)).await
    }

    /// The path and the fields of a request with what somebody brings.
    pub(super) fn asked(&self, path: String, brought: &Brought) -> (String, Vec<(&'static str, String)>) {
        match brought {
            Brought::Fields(fields) => (path, fields.clone()),
            Brought::Url(sealed, elsewhere) => {
                let plain = path.split('?').next().unwrap_or_default();
                let signed = Some(elsewhere.unwrap_or(plain).to_owned());
                let seal = self.app.gate.sealer().url(&Sealed { path: signed, ..sealed.clone() });
                let and = if path.contains('?') { "&" } else { "?" };
                (format!("{path}{and}{SEALED}={seal}"), Vec::new())
            }
        }
    }
}

/// Holds the footage of these streams in a volume.
fn held(volume: &Path, streams: &[&'static str]) -> BTreeMap<&'static str, Hold> {
    let writer = Writer::open(volume, WriterOptions::default(), Box::new(|_| {})).expect("a writer");
    let hold = |name: &'static str| {
        let request = HoldRequest {
            stream: StreamName::new(name).expect("a name"),
            from: NOON,
            to: NOON.plus_ns(5_000_000_000),
            label: "theft".to_owned(),
            expires: None,
        };
        (name, writer.add_hold(request).expect("held"))
    };
    let holds = streams.iter().map(|name| hold(name)).collect();
    writer.close().expect("closed");
    holds
}
