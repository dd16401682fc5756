//! Saying how long the footage of cameras stays. What goes wrong with that is said, and tried again; it keeps nobody from being recorded,
//! and a disk that does not answer is waited for only a little.

use super::Slot;
use crate::failure;
use crate::serve::failover::judge::Verdict;
use crate::serve::station::CameraInVolume;
use std::time::{Duration, Instant};

/// How long the volume is waited for, for each stream: whoever changes something waits, too.
const PATIENCE: Duration = Duration::from_secs(5);

impl Slot {
    /// Says how long the footage of a camera that is recorded here stays, where that is given, and was not said yet.
    pub(in crate::serve) fn retain(&self, camera: &CameraInVolume) {
        let name = camera.camera.name().to_string();
        if self.state().retained.get(&name) == Some(&camera.retention) {
            return;
        }
        let outcome = {
            let live = self.live();
            let Some(live) = live.as_ref() else { return };
            let verdict = self.state().judge.verdict(Instant::now());
            if camera.retention.is_any() && verdict != Verdict::Good {
                Err(anyhow::anyhow!("the disk of volume {} does not take it now", self.name))
            } else {
                live.retain(&camera.camera, camera.retention, PATIENCE)
            }
        };
        if self.is_gone() {
            return;
        }
        let trouble = outcome.as_ref().err().map(failure::line_of);
        let mut state = self.state();
        match trouble {
            None => {
                state.unretained.remove(&name);
                state.retained.insert(name, camera.retention);
            }
            Some(why) => {
                if state.unretained.get(&name) != Some(&why) {
                    let volume = &self.name;
                    tracing::error!(
                        volume,
                        camera = name,
                        "it is recorded; how long its footage stays could not be said, and is tried again: {why}"
                    );
                }
                state.unretained.insert(name, why);
            }
        }
    }
}
