//! Waits between two attempts, looking out for the camera if it seemed absent. What to do is [`crate::reconnect`]'s.

use super::Shared;
use crate::camera::{CameraUrl, Source};
use crate::reconnect::{AfterProbe, LookOut, Reconnect, Wait};
use crate::session::probe;
use retina::client::SessionGroup;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long a probe for which there is no spare turn is put off, before jitter.
const PUT_OFF: Duration = Duration::from_millis(250);

/// For a shorter wait a probe is not worth its connection.
const PROBED_MIN: Duration = Duration::from_millis(1_500);

/// Waits for as long as told, or until the camera is back.
pub(super) async fn wait(
    wait: Wait,
    policy: &mut Reconnect,
    url: &CameraUrl,
    shared: &Shared,
    group: &Arc<SessionGroup>,
) {
    let until = Instant::now() + wait.at_most;
    let (Source::Rtsp { url, credentials }, Some(look_out)) = (url.source(), wait.probe) else {
        return sleep_until(until).await;
    };
    if wait.at_most < PROBED_MIN {
        return sleep_until(until).await;
    }
    let watch = async {
        loop {
            if !shared.spare_turn() {
                sleep(PUT_OFF.mul_f64(0.5 + rand::random::<f64>())).await;
                continue;
            }
            let began = Instant::now();
            shared.moderation.attend_briefly();
            let probe = match look_out {
                LookOut::Options => probe::options(url).await,
                LookOut::Describe => {
                    probe::description(url, credentials.as_ref(), group, shared.turn()).await
                }
            };
            match policy.probed(look_out, probe, rand::random()) {
                AfterProbe::Attempt => return,
                AfterProbe::ProbeAfter(pause) => sleep_until(began + pause).await,
                AfterProbe::OnlyWait => sleep_until(until).await,
            }
        }
    };
    // Either way it is time for an attempt.
    let _ = timeout_at(until, watch).await;
}
