//! Measuring named exports: each is made once and thrown away, which tells its length and its hash.
//!
//! ```text
//! asked --(its turn comes)--> prepared --(made to its end)--> noted, and no longer failed
//!                               |  \------(cannot be made)--> noted as failed; whoever asks for it next has it tried again
//!                               \---------(removed meanwhile)--> given up at the next piece
//! ```
//! Whoever waits for a turn waits by identifier alone: what a file is made from may take much memory, and is found when its turn comes.
//! Measuring reads like all else, within the budget that its user has for that ([`crate::budget`]), and waits for it: nobody is waiting here.

use crate::app::App;
use crate::exports::{Export, Measured};
use crate::problem::Problem;
use crate::routes::prepared;
use jiff::Timestamp;

/// How many bytes marks are apart: some hundredths of a second to make.
const MARKS_APART: u64 = 4 << 20;

/// Has an export measured, if it is not just being.
pub(crate) fn measure(app: &App, id: &str) {
    let Some(measuring) = app.exports.begin_measuring(id) else { return };
    let app = app.clone();
    tokio::spawn(async move {
        let Some(turn) = measuring.turn().await else { return };
        let Some(export) = app.exports.get(measuring.id(), Timestamp::now()) else { return };
        let Some(permit) = app.reading.turn(&export.user).await else { return };
        let measured = tokio::task::spawn_blocking(move || {
            measure_now(&app, measuring.id());
            drop((measuring, turn, permit));
        });
        if let Err(error) = measured.await {
            tracing::error!(%error, "an export could not be measured");
        }
    });
}

fn measure_now(app: &App, id: &str) {
    let is_there = || app.exports.get(id, Timestamp::now());
    let Some(export) = is_there().filter(|export| export.measured.is_none()) else { return };
    let result = make(app, (id, &export), &|| is_there().is_some());
    let (measured, failed) = match result {
        Ok(None) => return,
        Ok(Some(measured)) => (Some(measured), None),
        Err(problem) => (None, Some(problem.detail().to_owned())),
    };
    if measured.is_none() && failed == export.failed {
        return;
    }
    let noted = app.exports.change(id, Timestamp::now(), |known| {
        if let Some(export) = known {
            (export.measured, export.failed) = (measured, failed);
        }
    });
    if let Err(error) = noted {
        tracing::error!(%error, "what an export came to could not be noted");
    }
}

/// Makes all of it and keeps nothing but marks; `None` if it is not wanted any more.
fn make(
    app: &App,
    (id, export): (&str, &Export),
    is_wanted: &dyn Fn() -> bool,
) -> Result<Option<Measured>, Problem> {
    let request = export.request().ok_or_else(Problem::changed)?;
    let (snapshot, prepared) = prepared(app, &request, is_wanted)?;
    if prepared.entity_tag() != export.tag {
        return Err(Problem::changed());
    }
    match prepared.measure_while(&snapshot.volume, MARKS_APART, is_wanted) {
        Ok((measured, marks)) => {
            app.exports.marks.keep(id, &marks);
            let blake3 = measured.hash.to_hex().to_string();
            Ok(Some(Measured { bytes: measured.bytes, blake3 }))
        }
        Err(keha_player::Error::Cancelled) => Ok(None),
        Err(error) => {
            prepared.spoil();
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::measure;
    use crate::budget::READING_MAX;
    use crate::exports::Export;
    use crate::routes::Container;
    use crate::testing::{NOON, app, footage};
    use jiff::{SignedDuration, Timestamp};
    use keha_player::library::Library;
    use std::sync::Arc;
    use std::time::Duration;

    /// Measuring was outside of the budget: it read beside all for whom there was one.
    #[tokio::test]
    async fn an_export_is_measured_once_there_is_leave_to_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let library = Library::new([footage(directory.path(), &["door"])]);
        let app = app((directory.path(), ""), false, Arc::default(), library);
        let now = Timestamp::now();
        let export = Export {
            user: "anna".to_owned(),
            streams: vec!["door".to_owned()],
            from_ns: NOON.0,
            to_ns: NOON.0 + 1_000_000_000,
            format: Container::default(),
            part: None,
            created: now,
            expires: now + SignedDuration::from_hours(1),
            tag: "that of another file".to_owned(),
            file_name: String::new(),
            holds: Vec::new(),
            measured: None,
            failed: None,
        };
        app.exports.change("x", now, |new| *new = Some(export)).expect("noted");
        let mut permits = Vec::new();
        for other in 0..READING_MAX {
            permits.push(app.reading.permit(&format!("user {other}")).await.expect("a permit"));
        }
        let failed = || app.exports.get("x", now).expect("known").failed;
        measure(&app, "x");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(failed(), None, "it waits");
        permits.clear();
        while failed().is_none() {
            tokio::task::yield_now().await;
        }
        while app.reading.free() < READING_MAX {
            tokio::task::yield_now().await;
        }
    }
}
