//! Whether the server is there at all.

/// `GET /healthz`: the process answers. Says nothing else, so that anybody may ask.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}
