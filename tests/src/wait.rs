//! Bounded waiting for a condition. Must not live here: waiting for a length of time to pass.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Asks `ready` every 20 ms until it has an answer; an error naming `what` once `limit` is over.
pub fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ready()? {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
