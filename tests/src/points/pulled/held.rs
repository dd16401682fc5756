//! What of a camera is still to come is held, wherever that is recorded.

use super::{MOVED, World};
use crate::process::now_ns;
use crate::serving::{READY_LIMIT, moment_text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const LABEL: &str = "for an hour";

/// What a camera records from now on is held, in the volume that is about to fail.
pub(super) fn hold_what_is_to_come(world: &World) -> Result<()> {
    let to = moment_text(i64::try_from(now_ns())?.saturating_add(3_600_000_000_000))?;
    let wanted = json!({ "camera": MOVED[0], "from": "-1s", "to": to, "label": LABEL });
    let made = world.serving.client().change("POST", "/api/v1/holds", &wanted)?;
    ensure!(made["holds"].as_array().is_some_and(|holds| holds.len() == 1), "{made:#}");
    ensure!(made["holds"][0]["volume"] == "main", "{made:#}");
    Ok(())
}

/// It is held on the other volume by now, once.
pub(super) fn it_is_held(world: &World) -> Result<()> {
    let holds = || -> Result<Vec<Value>> {
        let all = world.serving.client().json("/api/v1/holds")?;
        let mine = |hold: &&Value| hold["label"] == LABEL && hold["volume"] == "archive";
        Ok(all.as_array().context("no holds")?.iter().filter(mine).cloned().collect())
    };
    wait::until("the hold to go on on archive", READY_LIMIT, || Ok((!holds()?.is_empty()).then_some(())))?;
    let holds = holds()?;
    ensure!(holds.len() == 1 && holds[0]["growing"] == true, "{holds:#?}");
    Ok(())
}
