//! `keha status`: what a running recorder is doing, asked over its control socket.

use crate::control::client::{self, Found};
use crate::control::{FileIdentity, Request, path};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::output::table::{Align, Table};
use crate::units::time;
use crate::volume_argument::ReportArguments;
use jiff::tz::TimeZone;
use keha_fs::Volume;
use serde::Deserialize;
use serde_json::Value;
use std::io;
use std::path::Path;

pub(crate) fn run(args: &ReportArguments, output: Output) -> anyhow::Result<Exit> {
    let volume_path = args.volume.path()?;
    // The recorder must be found where the disk does not answer, too: nothing is read from it before there is no other way.
    if let Some((answer, document)) = recorder_of(&volume_path) {
        show(answer, &document, args.json, output)?;
        return Ok(Exit::Done);
    }
    let volume = Volume::open(&volume_path)?;
    let shown = volume_path.display();
    let (socket, answer) = match client::find(volume.info().id) {
        Found::Recorder { socket, status } => (socket, status),
        Found::Silent(why) => {
            return Err(Failure::failed(format!("{shown}: the recorder does not answer on {why}")));
        }
        Found::Nobody => {
            return Err(Failure::failed(format!(
                "{shown}: nobody records into it; start with: keha record {shown} --camera NAME=URL"
            )));
        }
    };
    let document: Value = serde_json::from_str(&answer).map_err(|_| {
        Failure::failed(format!(
            "{}: the recorder answers in another language; is it of this version?",
            socket.display()
        ))
    })?;
    show(answer, &document, args.json, output)?;
    Ok(Exit::Done)
}

/// The answer of the recorder that says that it writes this very file, or a partition of this identity.
fn recorder_of(volume: &Path) -> Option<(String, Value)> {
    let (file, partition) = (FileIdentity::of(volume).ok(), partition_of(volume));
    let is_meant = |document: &Value| {
        let told = document.get("file").and_then(|file| FileIdentity::deserialize(file).ok());
        let path = document.pointer("/volume/path").and_then(Value::as_str).map(Path::new);
        (file.is_some() && told == file) || (partition.is_some() && path.and_then(partition_of) == partition)
    };
    path::all(&path::Environment::of_process()).into_iter().find_map(|socket| {
        let answer = client::ask(&socket, &Request::Status).ok()?;
        let document: Value = serde_json::from_str(&answer).ok()?;
        is_meant(&document).then_some((answer, document))
    })
}

/// The identity by which a partition is named.
fn partition_of(volume: &Path) -> Option<keha_fs::Uuid> {
    keha_fs::partition::id_of(volume).ok().flatten()
}

fn show(answer: String, document: &Value, json: bool, output: Output) -> io::Result<()> {
    output.print(&if json { answer + "\n" } else { text(document, &TimeZone::system()) })
}

/// The answer for people. It comes from another process, maybe of another version: whatever is missing is shown as missing.
fn text(document: &Value, zone: &TimeZone) -> String {
    let at = |pointer: &str| document.pointer(pointer).map(plain).unwrap_or_else(|| "-".into());
    let moment = |pointer: &str| {
        document
            .pointer(pointer)
            .and_then(Value::as_str)
            .and_then(|text| local(text, zone))
            .unwrap_or_else(|| at(pointer))
    };
    let health = match at("/round/health/state").as_str() {
        "failing" => format!("the disk fails: {}", at("/round/health/error")),
        "silent" => format!("the disk has not answered since {}", moment("/round/health/since")),
        _ => "the disk is well".into(),
    };
    let mut text = format!(
        "{}: recorded by process {} since {}; {health}; round {} ended {}\n",
        at("/volume/path"),
        at("/pid"),
        moment("/started"),
        at("/round/round"),
        moment("/round/at"),
    );
    text.push_str(&io_text(document));
    text.push_str(&scrub_text(document, zone));
    let mut table = Table::new(&[
        ("stream", Align::Left),
        ("state", Align::Left),
        ("Mbit/s", Align::Right),
        ("samples", Align::Right),
        ("left out", Align::Right),
        ("lost packets", Align::Right),
        ("safe to", Align::Left),
        ("why", Align::Left),
    ]);
    for stream in document.pointer("/streams").and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| stream.get(name).map(plain).unwrap_or_else(|| "-".into());
        let bits = stream.get("bits_per_second").and_then(Value::as_f64).unwrap_or_default();
        let why: Vec<String> = match field("state").as_str() {
            "recording" => Vec::new(),
            _ => [field("reason"), field("last_error")].into_iter().filter(|text| text != "-").collect(),
        };
        table.row(vec![
            field("name"),
            field("state"),
            format!("{:.2}", bits / 1e6),
            field("samples"),
            field("dropped_samples"),
            field("lost_packets"),
            safe_to(document, &field("name")).and_then(|to| local(&to, zone)).unwrap_or_else(|| "-".into()),
            why.join(": "),
        ]);
    }
    text.push_str(&table.render());
    text.push_str(&moved_text(document, zone));
    text
}

/// Cameras that are recorded elsewhere than they are configured: nothing is said while there are none.
fn moved_text(document: &Value, zone: &TimeZone) -> String {
    let moved = document.pointer("/moved").and_then(Value::as_array);
    let lines = moved.into_iter().flatten().map(|moved| {
        let field = |name: &str| moved.get(name).map(plain).unwrap_or_else(|| "-".into());
        format!(
            "moved: camera {} is recorded on {} since {} because {} failed: {}; once that works: keha stream return {} {}\n",
            field("camera"),
            field("volume"),
            local(&field("since"), zone).unwrap_or_else(|| field("since")),
            field("home"),
            field("why"),
            field("home_path"),
            field("camera"),
        )
    });
    let text: String = lines.collect();
    if text.is_empty() { text } else { "\n".to_owned() + &text }
}

/// What does the I/O; an older recorder does not tell.
fn io_text(document: &Value) -> String {
    let Some(io) = document.get("io") else { return "\n".into() };
    let field = |name: &str| io.get(name).map(plain).unwrap_or_else(|| "-".into());
    let why = if io.get("why").is_some_and(Value::is_string) {
        ": ".to_owned() + &field("why")
    } else {
        String::new()
    };
    format!("I/O by {}, {} at once{why}\n\n", field("engine"), field("depth"))
}

/// What the background verification found: nothing is said while there is nothing.
fn scrub_text(document: &Value, zone: &TimeZone) -> String {
    let damaged = document.pointer("/round/scrub/damaged").and_then(Value::as_array);
    let lines = damaged.into_iter().flatten().map(|damage| {
        let field = |name: &str| damage.get(name).map(plain).unwrap_or_else(|| "-".into());
        let moment = |name: &str| local(&field(name), zone).unwrap_or_else(|| field(name));
        format!(
            "damaged: stream {}, {} to {}, block {}, {} places, {} of which cost footage; found {}\n",
            field("stream"),
            moment("from"),
            moment("to"),
            field("block"),
            field("places"),
            field("footage_lost"),
            moment("found"),
        )
    });
    let text: String = lines.collect();
    if text.is_empty() { text } else { text + "\n" }
}

fn safe_to(document: &Value, stream: &str) -> Option<String> {
    let durable = document.pointer("/round/streams")?.as_array()?;
    let durable =
        durable.iter().find(|durable| durable.get("name").and_then(Value::as_str) == Some(stream))?;
    let tracks = durable.pointer("/durable/tracks")?.as_array()?;
    tracks.iter().filter_map(|track| track.get("to")?.as_str()).max().map(str::to_owned)
}

/// A moment of a document for people; `None` if it is none.
fn local(text: &str, zone: &TimeZone) -> Option<String> {
    text.parse().ok().and_then(time::wall).map(|wall| time::local(wall, zone))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        // Control characters of another process have no business on this terminal.
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::document::tests;

    #[test]
    fn the_status_is_shown_as_published() {
        let document: Value = serde_json::from_str(&tests::status().render()).expect("a document");
        insta::assert_json_snapshot!("the_document", document);
        insta::assert_snapshot!("the_text", text(&document, &TimeZone::UTC));
    }

    #[test]
    fn an_answer_of_another_version_is_shown_as_far_as_it_goes() {
        for answer in [
            serde_json::json!({}),
            serde_json::json!({ "streams": [{ "name": "\u{1b}[31mfront", "new": [1] }] }),
            serde_json::json!([]),
        ] {
            let shown = text(&answer, &TimeZone::UTC);
            assert!(!shown.contains('\u{1b}'), "{shown}");
        }
    }
}
