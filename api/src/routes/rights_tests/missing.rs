//! Which volumes that do not answer somebody is told of: those that may have something of cameras that are his.

use super::super::MISSING;
use super::super::tests::{Server, basic_of};
use crate::auth::{Cameras, Grant, Role};
use crate::testing::{NOON, app, footage, footage_in};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode};
use keha_player::library::Library;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceExt;

/// Everybody who asks, and the volumes that he is told of.
const TOLD: [(&str, &str); 5] = [
    ("root", "cellar, shed, loft"),
    ("vera", "cellar, shed, loft"),
    ("anna", "shed, loft"),
    ("dora", "shed, loft"),
    ("nora", ""),
];

/// The yard is in the cellar, the door in the shed; neither answers any more. The loft never did.
fn server() -> Server {
    let directory = tempfile::tempdir().expect("a directory");
    let attic = footage(directory.path(), &["door", "yard"]);
    let cellar = footage_in("cellar", NOON, directory.path(), &["yard"]);
    let shed = footage_in("shed", NOON, directory.path(), &["door"]);
    let loft = ("loft".to_owned(), directory.path().join("loft.ring"));
    let gone = [cellar.1.clone(), shed.1.clone()];
    let library = Library::new([attic, cellar, shed, loft]);
    let app = app((directory.path(), ""), false, Arc::default(), library);
    assert_eq!(app.snapshots().len(), 3);
    gone.iter().for_each(|path| std::fs::remove_file(path).expect("it was there"));
    app.services.library.outdate();
    let grants = [("vera", Cameras::All), ("nora", Cameras::Only(Default::default()))];
    let server = Server::with(directory, app.clone(), true);
    for (name, cameras) in grants {
        let grant = Grant { role: Role::Viewer, cameras };
        app.gate.accounts().add_user(name, &format!("secret of {name}"), grant).expect("added");
    }
    server
}

/// All of them were named to everybody.
#[tokio::test]
async fn volumes_that_do_not_answer_are_named_to_those_who_may_have_something_there() {
    let server = server();
    for (who, volumes) in TOLD {
        let request = Request::builder().uri("/api/v1/holds").header("host", "127.0.0.1:8080");
        let mut request =
            request.header("authorization", basic_of(who)).body(Body::empty()).expect("a request");
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 5000))));
        let answer = server.router.clone().oneshot(request).await.expect("an answer");
        let told = answer.headers().get(MISSING).map(|told| told.to_str().expect("text").to_owned());
        assert_eq!((answer.status(), told.unwrap_or_default().as_str()), (StatusCode::OK, volumes), "{who}");
        // A hold that is not known may stand there.
        let path = "/api/v1/holds/01234567-89ab-cdef-0123-456789abcdef";
        let lifted = server.ask(Method::DELETE, path, &[("authorization", &basic_of(who))], None).await;
        let detail = lifted.body["detail"].as_str().unwrap_or_default();
        let status = if volumes.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!((lifted.status, detail.contains("cellar")), (status, volumes.contains("cellar")), "{who}");
    }
}
