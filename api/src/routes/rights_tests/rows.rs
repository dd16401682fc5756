//! Every path that is described, what a right request brings, and who may ask.

use serde_json::{Value, json};

/// Who may ask for a path.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum May {
    /// Whoever is known.
    Known,
    /// Whoever may see the camera.
    See,
    /// Whoever may change the camera.
    Change,
    /// Whoever may change all.
    Administer,
    /// Anybody.
    Anybody,
}

impl May {
    pub(super) fn allows(self, who: &str) -> bool {
        match self {
            May::Anybody | May::Known | May::See => true,
            May::Change => who != "anna",
            May::Administer => who == "root",
        }
    }
}

/// A path that is described, what a right request brings, and who may ask.
pub(super) struct Row {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What whoever may is answered.
    pub(super) status: u16,
    pub(super) may: May,
    /// What is sent, of a camera.
    body: Option<fn(&str) -> Value>,
    /// The camera and the stream that those may ask for who may ask for something.
    pub(super) own: (&'static str, &'static str),
}

fn row(method: &'static str, path: &'static str, status: u16, may: May) -> Row {
    Row { method, path, status, may, body: None, own: ("door", "main") }
}

impl Row {
    fn with(self, body: fn(&str) -> Value) -> Row {
        Row { body: Some(body), ..self }
    }

    fn of(self, camera: &'static str, stream: &'static str) -> Row {
        Row { own: (camera, stream), ..self }
    }

    pub(super) fn body(&self, camera: &str) -> Option<Value> {
        self.body.map(|body| body(camera))
    }

    fn names_camera_in_body(&self) -> bool {
        self.body("door") != self.body("yard")
    }

    /// What those are answered who ask for the yard's and may not know of it; `None` where no camera is named.
    pub(super) fn elsewhere(&self) -> Option<u16> {
        // Of an export that is not his nobody is told that it is there.
        let named =
            self.path.contains("{camera}") || self.path.contains("{hold}") || self.names_camera_in_body();
        if self.path.contains("{export}") { Some(404) } else { named.then_some(403) }
    }

    /// The same of what is no camera at all, or no name.
    pub(super) fn nowhere(&self, name: &str) -> Option<u16> {
        let names_streams =
            self.path.contains('?') || self.names_camera_in_body() && self.path.ends_with("/exports");
        let named = self.path.contains("{camera}") || self.names_camera_in_body();
        let no_name = names_streams && name.contains('%');
        named.then_some(if no_name { 422 } else { 403 })
    }
}

#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    use May::{Administer, Anybody, Change, Known, See};
    let viewer = |_: &str| json!({"role": "viewer", "cameras": {"only": []}});
    vec![
        row("get", "/healthz", 200, Anybody),
        row("get", "/readyz", 200, Anybody),
        row("post", "/api/v1/session", 200, Anybody).with(|_| json!({"name": "anna", "password": "secret of anna"})),
        row("get", "/api/v1/session", 200, Known),
        row("delete", "/api/v1/session", 204, Known),
        row("post", "/api/v1/signed-urls", 200, Known).with(|_| json!({"path": "/api/v1/session", "seconds": 60})),
        row("get", "/api/v1/users", 200, Administer),
        row("post", "/api/v1/users", 201, Administer).with(|_| json!({"name": "bert", "password": "correct horse", "grant": {"role": "viewer", "cameras": {"only": []}}})),
        row("put", "/api/v1/users/{user}/password", 204, Administer).with(|_| json!({"password": "battery staple"})),
        row("put", "/api/v1/users/{user}/grant", 204, Administer).with(viewer),
        row("delete", "/api/v1/users/{user}", 204, Administer),
        row("get", "/api/v1/tokens", 200, Administer),
        row("post", "/api/v1/tokens", 201, Administer).with(|_| json!({"label": "x", "grant": {"role": "viewer", "cameras": "all"}, "expires": null})),
        row("delete", "/api/v1/tokens/{token}", 204, Administer),
        row("get", "/api/v1/cameras", 200, Known),
        row("post", "/api/v1/cameras", 201, Administer).with(|_| json!({"name": "shed", "url": "rtsp://shed.example/"})),
        row("get", "/api/v1/cameras/{camera}", 200, See),
        row("put", "/api/v1/cameras/{camera}", 204, Change).of("gate", "main").with(|_| json!({"url": "rtsp://gate.example/"})),
        row("delete", "/api/v1/cameras/{camera}", 204, Change).of("gate", "main"),
        row("post", "/api/v1/cameras/{camera}/return", 204, Administer),
        row("post", "/api/v1/camera-tests", 200, Administer).with(|_| json!({"url": "rtsp://door.example/main"})),
        row("put", "/api/v1/cameras/{camera}/streams/{stream}/recording", 204, Change).with(|_| json!({"on": false})),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/timeline", 200, See),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/days", 200, See),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/footage", 200, See),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/snapshot.jpg", 200, See).of("door", "sub"),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/pictures", 200, See).of("door", "sub"),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/hls/live.m3u8", 200, See),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/hls/vod.m3u8", 200, See),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/hls/{file}", 200, See),
        row("get", "/api/v1/cameras/{camera}/hls/master.m3u8", 200, See),
        row("get", "/api/v1/footage?streams={camera}", 200, See),
        row("get", "/api/v1/exports", 200, Known),
        row("post", "/api/v1/exports", 201, See).with(|camera| json!({"streams": if camera == "door" { vec!["door"] } else { vec!["door", camera] }, "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:05Z"})),
        row("get", "/api/v1/exports/{export}", 200, See),
        // They are root's own.
        row("delete", "/api/v1/exports/{export}", 204, Administer),
        row("get", "/api/v1/exports/{export}/file", 200, See),
        row("get", "/api/v1/cameras/{camera}/streams/{stream}/live", 426, See),
        row("get", "/api/v1/events", 200, Known),
        row("get", "/api/v1/events/live", 426, Known),
        row("get", "/api/v1/timeline", 200, Known),
        row("get", "/api/v1/forecast", 200, Known),
        row("get", "/api/v1/holds", 200, Known),
        row("post", "/api/v1/holds", 201, Change).with(|camera| json!({"camera": camera, "from": "-10m", "to": "now"})),
        row("delete", "/api/v1/holds/{hold}", 204, Change),
        row("get", "/api/v1/volumes", 200, Administer),
        row("get", "/api/v1/metrics", 200, Administer),
        row("get", "/metrics", 200, Administer),
    ]
}
