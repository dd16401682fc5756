//! Tells the log of what has no segment, so that a camera whose footage cannot be played is noticed: once a stream and hour, however
//! many ask for playlists.

use keha_fs::{StreamId, WallTime};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(3600);
/// Of how many streams it is known when it was told of them.
const STREAMS_MAX: usize = 4096;

static TOLD: LazyLock<Mutex<Told>> = LazyLock::new(Mutex::default);

/// Warns of groups of pictures that a playlist leaves out, unless that was told of the stream within the hour.
pub(crate) fn tell_left_out(stream: StreamId, left_out: &[(WallTime, WallTime)]) {
    let Some((from, to)) = left_out.first() else { return };
    if !TOLD.lock().unwrap_or_else(PoisonError::into_inner).is_due(stream, Instant::now()) {
        return;
    }
    tracing::warn!(
        ?stream,
        from = %crate::time::rfc3339(*from),
        to = %crate::time::rfc3339(*to),
        groups = left_out.len(),
        "groups of pictures are too long or too large for a segment, and left out of playlists; lower the camera's keyframe interval"
    );
}

/// Of which streams it was told, and when.
#[derive(Debug, Default)]
struct Told(HashMap<StreamId, Instant>);

impl Told {
    /// Whether to tell of a stream now; it counts as told then.
    fn is_due(&mut self, stream: StreamId, now: Instant) -> bool {
        if self.0.get(&stream).is_some_and(|told| now.saturating_duration_since(*told) < PAUSE) {
            return false;
        }
        if self.0.len() >= STREAMS_MAX {
            self.0.clear();
        }
        self.0.insert(stream, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::Uuid;

    #[test]
    fn each_stream_is_told_of_once_an_hour() {
        let (mut told, now) = (Told::default(), Instant::now());
        let [one, other] = [1, 2].map(|number| StreamId(Uuid::from_u128(number)));
        assert!(told.is_due(one, now) && told.is_due(other, now));
        assert!(!told.is_due(one, now + PAUSE / 2));
        assert!(told.is_due(one, now + PAUSE) && !told.is_due(one, now + PAUSE));
    }
}
