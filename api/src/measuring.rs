//! Measuring named exports: each is made once and thrown away, which tells its length and its hash.
//!
//! ```text
//! asked --(its turn comes)--> prepared --(made to its end)--> noted, and no longer failed
//!                               |  \------(cannot be made)--> noted as failed; whoever asks for it next has it tried again
//!                               \---------(removed meanwhile)--> given up at the next piece
//! ```
//! Whoever waits for a turn waits by identifier alone: what a file is made from may take much memory, and is found when its turn comes.

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
        let measured = tokio::task::spawn_blocking(move || {
            measure_now(&app, measuring.id());
            drop((measuring, turn));
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
