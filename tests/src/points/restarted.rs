//! What was set over HTTP is there again after a SIGKILL: cameras, users, tokens and holds; and the cameras are recorded again.

use crate::http::Client;
use crate::serving::{READY_LIMIT, Serving};
use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const URL: &str = "testsrc://?size=320x240&fps=10&gop=10";
/// What must be the same before and behind.
const LISTS: [&str; 3] = ["/api/v1/users", "/api/v1/tokens", "/api/v1/holds"];

/// Sets one of each beside cameras that are recorded, kills the server, and starts it again.
pub fn whole() -> Result<()> {
    let mut serving = Serving::start(&[("fixed", URL)])?;
    serving.add_token()?;
    let client = serving.client();
    for name in ["added-1", "added-2"] {
        let streams = json!([{ "name": "sub", "url": URL }]);
        client.change("POST", "/api/v1/cameras", &json!({ "name": name, "url": URL, "streams": streams }))?;
    }
    client.change("DELETE", "/api/v1/cameras/added-2", &Value::Null)?;
    serving.await_ready()?;
    serving.await_footage("added-1", 2.0)?;
    let everything = json!({ "role": "viewer", "cameras": "all" });
    let user = json!({ "name": "guest", "password": "correct horse battery", "grant": everything });
    client.change("POST", "/api/v1/users", &user)?;
    let made =
        client.change("POST", "/api/v1/tokens", &json!({ "label": "program", "grant": everything }))?;
    let hold = json!({ "camera": "added-1", "from": "-1h", "to": "now", "label": "evidence" });
    client.change("POST", "/api/v1/holds", &hold)?;
    let before = told(&client)?;
    let recorded = serving.recorded("added-1")?;

    serving.kill_and_start_again()?;
    serving.await_ready()?;
    let client = serving.client();
    let behind = told(&client)?;
    if behind != before {
        bail!("before the kill {before:#?}, behind it {behind:#?}");
    }
    let program = Client::new(serving.base(), made["token"].as_str().map(str::to_owned));
    program.json("/api/v1/cameras").context("the token that was made over HTTP")?;
    let login = json!({ "name": "guest", "password": "correct horse battery" });
    Client::new(serving.base(), None).change("POST", "/api/v1/session", &login)?;
    let (_, last) = *recorded.last().context("nothing was recorded")?;
    for camera in ["fixed", "added-1"] {
        wait::until(&format!("{camera} to be recorded again"), READY_LIMIT, || {
            let again = serving.recorded(camera)?.last().is_some_and(|(from, to)| *from > last && to > from);
            Ok(again.then_some(()))
        })?;
    }
    serving.stop()
}

/// The lists, and the cameras' names, addresses and streams.
fn told(client: &Client) -> Result<Vec<Value>> {
    let mut all = LISTS.iter().map(|path| client.json(path)).collect::<Result<Vec<_>>>()?;
    let mut cameras = client.json("/api/v1/cameras")?;
    for camera in cameras.as_array_mut().context("no cameras")? {
        for stream in camera["streams"].as_array_mut().context("no streams")? {
            *stream = json!([stream["name"], stream["url"]]);
        }
    }
    all.push(cameras);
    Ok(all)
}
