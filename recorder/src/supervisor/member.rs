//! One stream as the recorder keeps it: its task while it is recorded, its status and its tail also while it is stopped.
//!
//! Must not live here: which streams there are.

use crate::camera::CameraUrl;
use crate::status::StatusCell;
use keha_fs::{StreamId, StreamName, Tail, WallTime};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// A stream that does not end within this time is ended by force. One whose camera neither pauses nor takes leave needs two seconds.
const STOP: Duration = Duration::from_secs(3);
/// And within this time after that it is given up.
const FORCED: Duration = Duration::from_millis(500);

/// A stream of a recorder.
pub(super) struct Member {
    pub(super) camera: StreamName,
    pub(super) name: StreamName,
    pub(super) id: StreamId,
    pub(super) url: CameraUrl,
    pub(super) cell: Arc<Mutex<StatusCell>>,
    pub(super) tail: Tail,
    /// `None` while it is stopped.
    pub(super) task: Option<Task>,
}

impl Member {
    pub(super) fn status(&self) -> MutexGuard<'_, StatusCell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to when there is footage, as far as this recorder knows.
    pub(super) fn footage_end(&self) -> Option<WallTime> {
        self.status().footage_end
    }
}

/// A stream's task.
pub(super) struct Task {
    pub(super) stop: watch::Sender<bool>,
    pub(super) handle: JoinHandle<()>,
}

impl Task {
    /// When a task that is told to stop now is to have ended.
    pub(super) fn deadline() -> Instant {
        Instant::now() + STOP
    }

    /// Ends it. When this returns, its way into the volume is closed and may be had again.
    ///
    /// # Errors
    /// It does not end in time, even by force: here it is again.
    pub(super) async fn end(mut self, deadline: Instant) -> Result<(), Task> {
        self.stop.send_replace(true);
        let mut ended = timeout_at(deadline, &mut self.handle).await;
        if ended.is_err() {
            tracing::warn!("a stream did not stop in time and is ended by force");
            self.handle.abort();
            ended = timeout_at(deadline + FORCED, &mut self.handle).await;
        }
        match ended {
            Ok(Err(error)) if !error.is_cancelled() => {
                tracing::error!(%error, "a stream's task failed");
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(_) => Err(self),
        }
    }
}
