//! Waits between two attempts, looking out for the camera if it seemed absent. What to do is [`crate::reconnect`]'s.

use super::Shared;
use crate::camera::{CameraUrl, Source};
use crate::reconnect::{AfterProbe, Reconnect, Wait};
use crate::session::probe::probe;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// For a shorter wait a probe is not worth its connection.
const PROBED_MIN: Duration = Duration::from_millis(1_500);

/// Waits for as long as told, or until the camera is back.
pub(super) async fn wait(wait: Wait, policy: &mut Reconnect, url: &CameraUrl, shared: &Shared) {
    let until = Instant::now() + wait.at_most;
    let Source::Rtsp { url, .. } = url.source() else {
        sleep_until(until).await;
        return;
    };
    if !wait.probe || wait.at_most < PROBED_MIN {
        sleep_until(until).await;
        return;
    }
    let watch = async {
        loop {
            shared.turn().await;
            match policy.probed(probe(url).await, rand::random()) {
                AfterProbe::Attempt => return,
                AfterProbe::ProbeAfter(pause) => sleep(pause).await,
                AfterProbe::OnlyWait => sleep_until(until).await,
            }
        }
    };
    // Either way it is time for an attempt.
    let _ = timeout_at(until, watch).await;
}
