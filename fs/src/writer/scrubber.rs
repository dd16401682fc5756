//! The scrub's thread: reads and verifies what the writer's thread hands out, with rests. It reads as any reader does; nothing
//! waits for it, and it ends when the volume is closed. What it must not do: judge what it found.

use super::thread::Shared;
use crate::clock::Clock;
use crate::disk::ReadAt;
use crate::format::geometry::Geometry;
use crate::format::superblock::Superblock;
use crate::scan::Scanner;
use crate::scrub::{Order, Outcome, Task, Verification, rest_after};
use crate::types::VolumeId;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The longest rest: after it the writer is asked again.
const REST_MAX: Duration = Duration::from_secs(30);
/// How long it stands back while recording needs all of the disk.
const STAND_BACK: Duration = Duration::from_secs(1);

/// What the thread needs.
pub(super) struct Scrubber {
    shared: Arc<Shared>,
    reader: Arc<dyn ReadAt>,
    clock: Arc<dyn Clock>,
    geometry: Option<Geometry>,
    volume: VolumeId,
}

impl Scrubber {
    /// A thread that is not started yet.
    pub(super) fn new(
        shared: Arc<Shared>,
        reader: Arc<dyn ReadAt>,
        clock: Arc<dyn Clock>,
        superblock: &Superblock,
    ) -> Scrubber {
        let geometry = Geometry::of(superblock);
        Scrubber { shared, reader, clock, geometry, volume: superblock.volume }
    }

    /// Starts it. Nobody waits for its end: a disk that does not answer must not keep the writer from ending.
    pub(super) fn start(self) -> io::Result<()> {
        std::thread::Builder::new().name("keha-scrub".to_owned()).spawn(move || self.run()).map(drop)
    }

    fn run(self) {
        let Some(geometry) = &self.geometry else { return };
        let scanner = Scanner { disk: &*self.reader, geometry, volume: self.volume };
        let mut outcome = None;
        while let Some(order) = self.shared.scrub(outcome.take()) {
            match order {
                Order::Rest(rest) if !self.shared.rest(rest.min(REST_MAX)) => return,
                Order::Rest(_) => {}
                Order::Verify(task) => match self.verify(&scanner, *task) {
                    Some(verified) => outcome = Some(verified),
                    None => return,
                },
            }
        }
    }

    /// What came of a block; `None` if the volume is being closed.
    fn verify(&self, scanner: &Scanner<'_>, task: Task) -> Option<Outcome> {
        let pace = task.pace;
        let mut verification = Verification::new(scanner, task);
        loop {
            while self.shared.is_hurried() {
                self.shared.rest(STAND_BACK).then_some(())?;
            }
            let (before, bytes) = (self.clock.monotonic(), verification.bytes());
            let more = verification.step(scanner);
            let took = self.clock.monotonic().saturating_sub(before);
            let rest = rest_after(took, verification.bytes().saturating_sub(bytes), pace);
            self.shared.rest(rest).then_some(())?;
            if !more {
                return Some(verification.outcome());
            }
        }
    }
}
