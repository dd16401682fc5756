//! Who gets what from which path: every path that is described, with every kind of right that somebody may bring, over real footage, a
//! real hold and a real export of a camera that is his and of one that is not.

mod missing;
mod rows;
mod world;

use super::tests::{Server, basic_of};
use crate::events::EventKind;
use axum::http::StatusCode;
use futures_util::future::join_all;
use rows::{May, Row, rows};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite;
use world::{Brought, HANDSHAKE, WHO, World};

#[tokio::test]
async fn every_path_that_is_described_is_known_here() {
    let server = Server::new(true, false);
    let document = server.get("/api/openapi.json", &[]).await.body;
    let described = document["paths"].as_object().expect("paths").iter();
    let described: BTreeSet<(String, String)> = described
        .flat_map(|(path, item)| {
            item.as_object().expect("methods").keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    let path = |row: &Row| row.path.split('?').next().unwrap_or_default().to_owned();
    let known = rows().iter().map(|row| (path(row), row.method.to_owned())).collect();
    assert_eq!(described, known);
}

/// How long a handshake is waited for.
const BOUND: Duration = Duration::from_secs(60);

/// All that is wrong is told at once.
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn who_brings_nothing_that_opens_is_told_so_by_every_path() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    for row in rows() {
        let expected = if row.may == May::Anybody { row.status } else { 401 };
        for (what, brought) in world.dead() {
            let answer = world.ask(&row, row.own, &brought).await;
            if answer.status != expected || expected == 401 && answer.body["status"] != 401 {
                wrong.push(format!(
                    "{} {} by {what}: {} {}",
                    row.method, row.path, answer.status, answer.body
                ));
            }
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn every_path_gives_those_who_may_what_they_ask_for_and_others_nothing() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    for row in rows() {
        for who in WHO {
            for (what, brought) in world.rights(who) {
                let answer = world.ask(&row, row.own, &brought).await;
                let expected = match (&brought, row.may) {
                    (_, May::Anybody) => row.status,
                    // It only reads.
                    (Brought::Url(..), _) if row.method != "get" => 401,
                    (_, may) if !may.allows(who) => 403,
                    // A token can be sent itself.
                    _ if row.path.ends_with("/signed-urls") && what == "a token" => 422,
                    _ => row.status,
                };
                if answer.status != expected {
                    let told = answer.body["detail"].as_str().unwrap_or_default();
                    wrong.push(format!(
                        "{} {} by {who} with {what}: {}, not {expected}: {told}",
                        row.method, row.path, answer.status
                    ));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn of_another_camera_nobody_gets_anything_wherever_it_is_named() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    for row in rows() {
        let odd = ["nowhere", "..%2fdoor", "door%2f..%2fyard", "%00"].map(|name| (name, row.nowhere(name)));
        let others = [("yard", row.elsewhere())].into_iter().chain(odd);
        for (camera, expected) in others {
            for who in ["anna", "dora"] {
                let Some(expected) = expected else { continue };
                for (what, brought) in world.rights(who) {
                    if matches!(brought, Brought::Url(..)) && (row.method != "get" || camera.contains('%')) {
                        continue;
                    }
                    let answer = world.ask(&row, (camera, row.own.1), &brought).await;
                    let told = answer.body.to_string();
                    if answer.status != expected || told.contains("ring") {
                        let Row { method, path, .. } = row;
                        let status = answer.status;
                        wrong.push(format!(
                            "{method} {path} of {camera} by {who} with {what}: {status} {told}"
                        ));
                    }
                }
            }
        }
        if row.elsewhere().is_some() && row.own.1 == "main" && row.own.0 == "door" && row.may != May::Anybody
        {
            let root = &world.rights("root")[0].1;
            let answer = world.ask(&row, ("yard", "main"), root).await;
            // The name of a segment of the door says nothing of the yard.
            let expected = if row.path.ends_with("{file}") { 404 } else { row.status };
            if answer.status != expected {
                wrong.push(format!(
                    "{} {} of the yard by root: {} {}",
                    row.method, row.path, answer.status, answer.body
                ));
            }
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn lists_tell_everybody_of_his_own_cameras_alone() {
    let world = World::new().await;
    for camera in ["door", "yard"] {
        world.app.note(EventKind::HoldAdded, Some(camera), "root", "for a while".to_owned());
    }
    let fields = ["name", "camera", "streams"];
    let mut wrong = Vec::new();
    for path in [
        "/api/v1/cameras",
        "/api/v1/holds",
        "/api/v1/forecast",
        "/api/v1/timeline",
        "/api/v1/timeline?cameras=door,yard",
        "/api/v1/exports",
        "/api/v1/events?kinds=hold_added",
        "/api/v1/events?kinds=hold_added&cameras=door,yard",
    ] {
        for who in WHO {
            let told = world.server.get(path, &[("authorization", &basic_of(who))]).await;
            assert_eq!(told.status, StatusCode::OK, "{path}: {}", told.body);
            let list = if told.body.is_array() { &told.body } else { &told.body["events"] };
            let entries = list.as_array().cloned().unwrap_or_default();
            let named = |entry: &Value| {
                let named = fields.iter().map(|field| &entry[*field]).find(|named| !named.is_null());
                let named = named.map(|named| if named.is_array() { &named[0] } else { named });
                named.and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let named: BTreeSet<String> = entries.iter().map(named).collect();
            let expected = if who == "root" { &["door", "yard"][..] } else { &["door"] };
            if !named.iter().map(String::as_str).eq(expected.iter().copied()) {
                wrong.push(format!("{path} tells {who} of {named:?}"));
            }
        }
    }
    assert_none(&wrong);
}

/// The status of the answer to a handshake over a real connection.
async fn shaken(address: SocketAddr, path: &str, fields: &[(&str, String)]) -> u16 {
    let mut request = tungstenite::http::Request::builder().uri(format!("ws://{address}{path}"));
    request = request.header("host", address.to_string());
    for (name, value) in fields.iter().cloned().chain(HANDSHAKE.map(|(name, value)| (name, value.to_owned())))
    {
        request = request.header(name, value);
    }
    let request = request.body(()).expect("a request");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let answered = tokio::time::timeout(BOUND, tokio_tungstenite::client_async(request, stream));
    match answered.await.expect("in time") {
        Ok((_, answer)) => answer.status().as_u16(),
        Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_socket_is_opened_for_those_who_may_and_for_nobody_else() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let address = listener.local_addr().expect("an address");
    let service = world.server.router.clone().into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });
    let live = |camera: &str| format!("/api/v1/cameras/{camera}/streams/main/live");
    let mut asked = Vec::new();
    for who in WHO {
        let yard = if who == "root" { 101 } else { 403 };
        for (what, brought) in world.rights(who) {
            for (path, expected) in
                [(live("door"), 101), (live("yard"), yard), ("/api/v1/events/live".to_owned(), 101)]
            {
                asked.push((path, brought.clone(), format!("{who} with {what}"), expected));
            }
        }
    }
    for (what, brought) in world.dead() {
        for path in [live("door"), "/api/v1/events/live".to_owned()] {
            asked.push((path, brought.clone(), what.to_owned(), 401));
        }
    }
    let asked = asked.into_iter().map(async |(path, brought, who, expected)| {
        let (sealed, fields) = world.asked(path.clone(), &brought);
        let status = shaken(address, &sealed, &fields).await;
        (status != expected).then(|| format!("{path} by {who}: {status}, not {expected}"))
    });
    let wrong: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
    serving.abort();
    assert_none(&wrong);
}
