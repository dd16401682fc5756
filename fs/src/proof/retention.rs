//! Retention in the proof: what was said of how long footage stays, and the judge of it: a setting that was acknowledged stands
//! in every image, whatever came.

use super::driver::Driver;
use super::oracle::Model;
use super::{Verdict, demand};
use crate::reader::Volume;
use crate::retention::{Retention, RetentionReport, RetentionRequest};
use crate::types::StreamName;

/// Holds an image against the settings that were acknowledged.
pub(super) fn judge(volume: &Volume, model: &Model) -> Verdict {
    let streams = volume.streams();
    for (name, (said, about)) in &model.retention {
        let found = streams.iter().find(|stream| stream.name.as_str() == name);
        let found = found.ok_or_else(|| format!("stream {name} is gone"))?.retention;
        let right = found == *said || Some(found) == *about;
        demand!(right, "{name}: {said:?} was said ({about:?} is about to be), found is {found:?}");
    }
    Ok(())
}

impl Driver {
    /// Says how long the footage of a stream stays.
    pub(super) fn retain(&mut self, name: &str, retention: Retention) -> Verdict {
        let stream = StreamName::new(name).map_err(|error| error.to_string())?;
        self.model.retention.entry(name.to_owned()).or_default().1 = Some(retention);
        let request = RetentionRequest { stream, retention };
        self.watched(|engine| engine.set_retention(&request))?.map_err(|error| error.to_string())?;
        self.model.retention.insert(name.to_owned(), (retention, None));
        let view = self.view();
        self.judge_now(Some(view)).map(drop)
    }

    /// After a crash: what was about to be said was said, or not.
    pub(super) fn settings_found(&mut self) -> Verdict {
        let streams = self.volume()?.streams();
        for (name, settings) in &mut self.model.retention {
            let found = streams.iter().find(|stream| stream.name.as_str() == name);
            if let Some(found) = found.filter(|_| settings.1.is_some()) {
                *settings = (found.retention, None);
            }
        }
        Ok(())
    }

    /// What retention did since the volume was opened.
    pub(super) fn retained(&mut self) -> Verdict<RetentionReport> {
        self.watched(|engine| engine.report().retention)
    }

    /// How many blocks of a stream count for its quota.
    pub(super) fn blocks_of(&self, name: &str) -> usize {
        let stream = self.id_of(name);
        self.view().owners.values().filter(|owner| **owner == stream).count()
    }
}
