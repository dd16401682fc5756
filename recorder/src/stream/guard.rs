//! Keeps a panic where it happened: one camera's bytes must never stop another's recording.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// Runs a future; a panic in it becomes an error with its message.
///
/// What the future had borrowed may be in any state then: the caller begins anew with it.
pub(super) async fn guarded<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            std::task::Poll::Ready(Err(text.unwrap_or_else(|| "a panic without a message".to_owned())))
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_what_was_borrowed_comes_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut counter = 1;
        let result = runtime.block_on(guarded(async {
            counter += 1;
            tokio::task::yield_now().await;
            panic!("bad packet {counter}");
        }));
        assert_eq!(result, Err::<(), _>("bad packet 2".to_owned()));
        assert_eq!(counter, 2);
    }
}
