//! Recording comes first: whatever answers is nicer than all that records, also than what began to record because somebody asked for it.

use crate::serving::Serving;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use serde_json::{Value, json};
use std::io::ErrorKind;

const URL: &str = "testsrc://?size=320x240&fps=10&gop=10&audio=1";
/// Threads that answer.
const ANSWERING: [&str; 4] = ["keha-http", "keha-live", "keha-ahead", "keha-snapshot"];
/// Those that must be seen, of either sort; others come and go. A disk has threads of its own only where there is no io_uring.
const SEEN: [&str; 4] = ["keha-http", "keha-live", "keha-writer", "keha-testsrc"];
/// So much nicer are threads that answer.
const NICER: i64 = 10;

/// Cameras of the file and such as are added, stopped and started over HTTP, while somebody watches.
pub fn whole() -> Result<()> {
    let serving = Serving::start(&[("fixed", URL)])?;
    serving.await_ready()?;
    let client = serving.client();
    client.change("POST", "/api/v1/cameras", &json!({ "name": "added", "url": URL }))?;
    serving.await_footage("added", 1.0)?;
    for on in [false, true] {
        serving.record("fixed", on)?;
    }
    client.change("DELETE", "/api/v1/cameras/added", &Value::Null)?;
    client.change("POST", "/api/v1/cameras", &json!({ "name": "again", "url": URL }))?;
    serving.await_footage("again", 1.0)?;
    client.get("/api/v1/cameras/again/streams/main/footage?format=mkv")?.with_status(200)?;
    let Ok(mut viewer) = client.socket("/api/v1/cameras/again/streams/main/live")? else {
        bail!("no live video")
    };
    viewer.read().context("live video")?;

    let threads = threads(serving.id())?;
    let (_, first) = threads.iter().find(|(name, _)| name == "keha").context("no first thread")?;
    for (name, nice) in &threads {
        let wanted = if ANSWERING.contains(&name.as_str()) { first + NICER } else { *first };
        if *nice != wanted {
            bail!("{name} has a niceness of {nice}, not of {wanted}: {threads:?}");
        }
    }
    if let Some(name) = SEEN.iter().find(|seen| !threads.iter().any(|(name, _)| name == *seen)) {
        bail!("no {name}: {threads:?}");
    }
    drop(viewer);
    serving.stop()
}

/// The threads of a process and their niceness (proc(5) `comm`, `stat`).
fn threads(pid: u32) -> Result<Vec<(String, i64)>> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = match std::fs::read_to_string(task?.path().join("stat")) {
            // It ended meanwhile.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    || error.raw_os_error() == Some(Errno::ESRCH as i32) =>
            {
                continue;
            }
            stat => stat?,
        };
        let (head, fields) = stat.rsplit_once(") ").context("no name")?;
        let (_, name) = head.split_once('(').context("no name")?;
        let nice = fields.split(' ').nth(16).context("too few fields")?;
        threads.push((name.to_owned(), nice.parse()?));
    }
    Ok(threads)
}
