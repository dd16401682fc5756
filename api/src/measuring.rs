//! Measuring named exports: each is made once and thrown away, which tells its length and its hash.
//!
//! ```text
//! asked --(its turn comes)--> prepared --(made to its end)--> noted, and no longer failed
//!                               |  \------(cannot be made)--> noted as failed; whoever asks for it next has it tried again
//!                               |---------(removed meanwhile)--> given up at the next piece
//!                               \-----(too much to do just now)--> asked, after AGAIN: that says nothing of the export
//! ```
//! Whoever waits for a turn waits by identifier alone: what a file is made from may take much memory, and is found when its turn comes.
//! Measuring reads like all else, within the budget that its user has for that ([`crate::budget`]), and waits for it: nobody is waiting here.

use crate::app::App;
use crate::exports::{Export, Measured, Measuring};
use crate::filed::{Filed, filed_again, in_bulk};
use crate::problem::Problem;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How many bytes marks are apart: some hundredths of a second to make.
const MARKS_APART: u64 = 4 << 20;

/// After what time it is tried again where there was too much to do.
const AGAIN: Duration = Duration::from_secs(10);

/// What came of trying.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// It is noted, or nobody wants to know.
    Over,
    /// Others take what it needs.
    TooBusy,
}

/// Has an export measured, if it is not just being.
pub(crate) fn measure(app: &App, id: &str) {
    let Some(measuring) = app.exports.begin_measuring(id).map(Arc::new) else { return };
    let app = app.clone();
    tokio::spawn(async move {
        while attempt(&app, &measuring).await == Tried::TooBusy {
            tokio::time::sleep(AGAIN).await;
        }
    });
}

/// Waits for its turn and tries once.
async fn attempt(app: &App, measuring: &Arc<Measuring>) -> Tried {
    let Some(turn) = measuring.turn().await else { return Tried::Over };
    let Some(export) = app.exports.get(measuring.id(), Timestamp::now()) else { return Tried::Over };
    let Some(permit) = app.reading.turn(&export.user).await else { return Tried::Over };
    let (app, measuring) = (app.clone(), Arc::clone(measuring));
    let measured = tokio::task::spawn_blocking(move || {
        let tried = measure_now(&app, measuring.id());
        drop((measuring, turn, permit));
        tried
    });
    measured.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an export could not be measured");
        Tried::Over
    })
}

fn measure_now(app: &App, id: &str) -> Tried {
    let is_there = || app.exports.get(id, Timestamp::now());
    let Some(export) = is_there().filter(|export| export.measured.is_none()) else { return Tried::Over };
    let result = make(app, (id, &export), &|| is_there().is_some());
    let (measured, failed) = match result {
        Ok(None) => return Tried::Over,
        Ok(Some(measured)) => (Some(measured), None),
        Err(problem) if problem.is_for_now() => return Tried::TooBusy,
        Err(problem) => (None, Some(problem.detail().to_owned())),
    };
    if measured.is_some() || failed != export.failed {
        note(app, id, measured, failed);
    }
    Tried::Over
}

/// Notes what an export came to, if it is still there; else its marks go, which may have been kept after it was removed.
fn note(app: &App, id: &str, measured: Option<Measured>, failed: Option<String>) {
    let noted = app.exports.change(id, Timestamp::now(), |known| {
        if let Some(export) = known {
            (export.measured, export.failed) = (measured, failed);
        }
    });
    if let Err(error) = noted {
        tracing::error!(%error, "what an export came to could not be noted");
    }
    if app.exports.get(id, Timestamp::now()).is_none() {
        app.exports.marks.forget(id);
    }
}

/// Makes all of it and keeps nothing but marks; `None` if it is not wanted any more.
fn make(
    app: &App,
    (id, export): (&str, &Export),
    is_wanted: &dyn Fn() -> bool,
) -> Result<Option<Measured>, Problem> {
    let Filed { volumes, prepared, .. } = filed_again(app, export, is_wanted)?;
    match prepared.measure_while(&in_bulk(&volumes), MARKS_APART, is_wanted) {
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
    use super::{AGAIN, Measured, measure, note};
    use crate::app::App;
    use crate::budget::READING_MAX;
    use crate::exports::Export;
    use crate::filed::filed;
    use crate::routes::Container;
    use crate::testing::{NOON, app, footage};
    use jiff::{SignedDuration, Timestamp};
    use keha_player::library::Library;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    /// A server with a second of footage that is exported as `x`; the tag of its file is that of another one.
    fn exporting(directory: &Path) -> (App, Export) {
        exporting_from(directory, Library::new([footage(directory, &["door"])]))
    }

    fn exporting_from(directory: &Path, library: Library) -> (App, Export) {
        let app = app((directory, ""), false, Arc::default(), library);
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
            volumes: Vec::new(),
            missing: Vec::new(),
            holds: Vec::new(),
            not_held: Vec::new(),
            looked_at: Vec::new(),
            measured: None,
            failed: None,
        };
        app.exports.change("x", now, |new| *new = Some(export.clone())).expect("noted");
        (app, export)
    }

    fn known(app: &App) -> Export {
        app.exports.get("x", Timestamp::now()).expect("known")
    }

    #[tokio::test]
    async fn an_export_of_a_volume_that_cannot_be_read_has_failed() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = ("attic".to_owned(), directory.path().join("missing.ring"));
        let (app, _) = exporting_from(directory.path(), Library::new([missing]));
        measure(&app, "x");
        while known(&app).failed.is_none() {
            tokio::task::yield_now().await;
        }
        assert!(known(&app).failed.is_some_and(|why| why.contains("cannot be read")));
    }

    /// Measuring was outside of the budget: it read beside all for whom there was one.
    #[tokio::test]
    async fn an_export_is_measured_once_there_is_leave_to_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let (app, _) = exporting(directory.path());
        let mut permits = Vec::new();
        for other in 0..READING_MAX {
            permits.push(app.reading.permit(&format!("user {other}")).await.expect("a permit"));
        }
        measure(&app, "x");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(known(&app).failed, None, "it waits");
        permits.clear();
        while known(&app).failed.is_none() {
            tokio::task::yield_now().await;
        }
        while app.reading.free() < READING_MAX {
            tokio::task::yield_now().await;
        }
    }

    /// Others who prepared files for five seconds made it a failed one, for good.
    #[tokio::test(start_paused = true)]
    async fn an_export_for_which_there_is_no_room_just_now_is_measured_later_and_has_not_failed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (app, mut export) = exporting(directory.path());
        let request = export.request().expect("a request");
        export.tag = filed(&app, &request, &|| true).expect("a file").prepared.entity_tag();
        app.exports.change("x", export.created, |known| *known = Some(export.clone())).expect("noted");
        let others = app.desk.fill();
        measure(&app, "x");
        tokio::time::sleep(10 * AGAIN).await;
        assert_eq!(known(&app), export);
        drop(others);
        tokio::time::sleep(2 * AGAIN).await;
        let measured = known(&app);
        assert!(measured.measured.is_some() && measured.failed.is_none(), "{measured:?}");
    }

    /// It was removed after the last piece was made and before its marks were kept, and they stayed until the next start.
    #[tokio::test]
    async fn no_marks_stay_of_an_export_that_is_removed_while_it_is_measured() {
        let directory = tempfile::tempdir().expect("a directory");
        let (app, export) = exporting(directory.path());
        let marks = directory.path().join("exports/x.marks");
        std::fs::create_dir_all(marks.parent().expect("a directory")).expect("made");
        let come_to = || Some(Measured { bytes: 1, blake3: String::new() });
        for (known, are_kept) in [(Some(export), true), (None, false)] {
            app.exports.change("x", Timestamp::now(), |export| *export = known).expect("changed");
            std::fs::write(&marks, b"some").expect("written");
            note(&app, "x", come_to(), None);
            assert_eq!(marks.exists(), are_kept);
        }
    }
}
