//! Who goes where when a volume fails: volumes and cameras in, moves out.
//!
//! ```text
//! camera:  on its own volume --that failed--> on another, which is moved --that failed--> on its own, if that is good, or a third
//!          moved --by order--> on its own                   nowhere to go: it stays where it is, and waits
//! ```
//!
//! Invariants, tested over every input of two and three volumes:
//!
//! - Nobody leaves a volume that has not failed. So nobody returns by himself, and a volume that works again has no effect.
//! - Who leaves goes to a volume that is good, takes others over (or is his own), has room for all of his streams, and did not refuse them.
//! - Who stays on a volume that failed has nowhere to go.
//! - All moves of a plan find room together, and after them there are no more to be made.
//!
//! All streams of a camera go together. His own volume comes first; else where a stream has most of the disk to itself afterwards,
//! the first in the file where that is the same. Pure: no clock, no disk, no thread.

use keha_fs::StreamName;
use std::collections::BTreeSet;

/// What counts of a volume.
#[derive(Clone, Debug)]
pub(in crate::serve) struct VolumeFacts {
    pub(in crate::serve) name: String,
    pub(in crate::serve) condition: Condition,
    /// Cameras of others may be recorded here.
    pub(in crate::serve) takes_over: bool,
    /// How large it is.
    pub(in crate::serve) bytes: u64,
    /// The streams that stand in it, recorded or not: they need no more room.
    pub(in crate::serve) known: BTreeSet<StreamName>,
    /// How many streams that are not in it would be admitted.
    pub(in crate::serve) room: u64,
}

/// What a volume is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Condition {
    Good,
    /// It is being opened or closed, or slow: nobody leaves it, and nobody comes.
    Unclear,
    /// Why.
    Failed(String),
}

/// What counts of a camera.
#[derive(Clone, Debug)]
pub(in crate::serve) struct CameraFacts {
    pub(in crate::serve) name: String,
    /// Its own volume.
    pub(in crate::serve) home: String,
    /// Where it is recorded.
    pub(in crate::serve) at: String,
    pub(in crate::serve) streams: Vec<StreamName>,
}

/// A camera that goes on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) struct Move {
    pub(in crate::serve) camera: String,
    pub(in crate::serve) from: String,
    pub(in crate::serve) to: String,
    /// What is wrong with where it was.
    pub(in crate::serve) why: String,
}

/// A camera and a volume that refused it.
pub(in crate::serve) type Refusal = (String, String);

/// What is to be done. `volumes` are in the order of the file, cameras go in theirs.
pub(in crate::serve) fn plan(
    volumes: &[VolumeFacts],
    cameras: &[CameraFacts],
    refused: &BTreeSet<Refusal>,
) -> Vec<Move> {
    let mut volumes: Vec<Loaded> = volumes.iter().map(|volume| Loaded::new(volume, cameras)).collect();
    let mut moves = Vec::new();
    for camera in cameras {
        let Some(why) = why_leave(&volumes, &camera.at) else { continue };
        let takes = |loaded: &Loaded| {
            let refusal = (camera.name.clone(), loaded.volume.name.clone());
            loaded.takes(camera) && !refused.contains(&refusal)
        };
        // Of several that are the same the last one is taken: the first in the file comes last.
        let able = volumes.iter_mut().rev().filter(|loaded| takes(loaded));
        let best = able.max_by_key(|loaded| (loaded.volume.name == camera.home, loaded.share(camera)));
        let Some(best) = best else { continue };
        best.take(camera);
        let (camera, from, to) = (camera.name.clone(), camera.at.clone(), best.volume.name.clone());
        moves.push(Move { camera, from, to, why });
    }
    moves
}

/// A volume as it is after the moves that were planned.
struct Loaded {
    volume: VolumeFacts,
    /// How many streams are recorded here.
    streams: u64,
}

impl Loaded {
    fn new(volume: &VolumeFacts, cameras: &[CameraFacts]) -> Loaded {
        let here = cameras.iter().filter(|camera| camera.at == volume.name);
        Loaded { volume: volume.clone(), streams: here.map(|camera| camera.streams.len() as u64).sum() }
    }

    /// How many of its streams it would have to admit.
    fn needs(&self, camera: &CameraFacts) -> u64 {
        camera.streams.iter().filter(|stream| !self.volume.known.contains(*stream)).count() as u64
    }

    fn takes(&self, camera: &CameraFacts) -> bool {
        let volume = &self.volume;
        volume.name != camera.at
            && volume.condition == Condition::Good
            && (volume.takes_over || volume.name == camera.home)
            && self.needs(camera) <= volume.room
    }

    /// How much of the disk each stream would have.
    fn share(&self, camera: &CameraFacts) -> u64 {
        self.volume.bytes / (self.streams + camera.streams.len() as u64).max(1)
    }

    fn take(&mut self, camera: &CameraFacts) {
        self.volume.room = self.volume.room.saturating_sub(self.needs(camera));
        self.volume.known.extend(camera.streams.iter().cloned());
        self.streams += camera.streams.len() as u64;
    }
}

/// Why a camera cannot stay where it is, if so.
fn why_leave(volumes: &[Loaded], at: &str) -> Option<String> {
    let found = volumes.iter().find(|loaded| loaded.volume.name == at);
    match found.map(|loaded| &loaded.volume.condition) {
        Some(Condition::Failed(why)) => Some(why.clone()),
        Some(_) => None,
        None => Some("it is no longer configured".to_owned()),
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
