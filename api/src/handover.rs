//! Bytes on their way from a thread that reads them to a client, who may be slow, but not for ever.
//!
//! A piece that is not taken within 30 s, and a client who takes less than 16 KiB/s over a minute in which he was waited for, end the
//! answer: thread, place and lease are free again whatever the connection does. Only waiting counts: a disk that is slow is nobody's fault
//! outside. An answer that did not come to its end breaks off, so that nobody takes a part for the whole.

use axum::body::{Body, Bytes};
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use std::vec;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_stream::{Stream, StreamExt};

/// A piece is taken in this time.
const UNTAKEN: Duration = Duration::from_secs(30);
/// The least that is taken in so much time of waiting.
const LEAST: (u64, Duration) = (60 * (16 << 10), Duration::from_secs(60));

/// So many bytes go over at once, but for the first and the last: going over costs waking somebody.
const BATCH_BYTES: usize = 256 << 10;

/// Pieces that go over at once.
type Batch = Vec<Bytes>;

/// The end at which pieces are put in, on a thread that may wait.
pub(crate) struct Giver {
    batches: Sender<Batch>,
    batch: Batch,
    batch_bytes: usize,
    /// The first piece goes over at once: somebody waits for it.
    begun: bool,
    broken: Arc<AtomicBool>,
    runtime: Handle,
    untaken: Duration,
    pace: Pace,
}

/// A way for pieces, of which so many times 256 KiB wait for the client.
pub(crate) fn handover(waiting_max: usize) -> (Giver, Body) {
    of_patience(waiting_max, UNTAKEN)
}

fn of_patience(waiting_max: usize, untaken: Duration) -> (Giver, Body) {
    let (batches, waiting) = mpsc::channel::<Batch>(waiting_max);
    let broken = Arc::new(AtomicBool::new(false));
    let giver = Giver {
        batches,
        batch: Batch::new(),
        batch_bytes: 0,
        begun: false,
        broken: Arc::clone(&broken),
        runtime: Handle::current(),
        untaken,
        pace: Pace::default(),
    };
    let end = std::iter::from_fn(move || {
        broken.swap(false, Ordering::SeqCst).then(|| Err(io::Error::other("the answer broke off")))
    });
    let given = Pieces { waiting, batch: Batch::new().into_iter() };
    (giver, Body::from_stream(given.map(Ok).chain(tokio_stream::iter(end))))
}

impl Giver {
    /// Takes a piece, and hands over what it has if that is enough; blocks until there is room for it. Breaks if the client is gone, or
    /// too slow.
    pub(crate) fn give(&mut self, mut piece: Bytes) -> ControlFlow<()> {
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(BATCH_BYTES - self.batch_bytes));
            self.batch_bytes += part.len();
            self.batch.push(part);
            let enough = if self.begun { BATCH_BYTES } else { 0 };
            if self.batch_bytes >= enough && self.hand_over().is_break() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Hands over what is left: there is no more, and that is the end. Of who was given up, or is gone, nobody waits for it.
    pub(crate) fn finish(mut self) {
        if !self.batch.is_empty() && !self.broken.load(Ordering::SeqCst) {
            let _who_is_gone_misses_nothing = self.hand_over();
        }
    }

    fn hand_over(&mut self) -> ControlFlow<()> {
        self.begun = true;
        let bytes = std::mem::take(&mut self.batch_bytes) as u64;
        let batch = std::mem::take(&mut self.batch);
        let began = Instant::now();
        let waits = match self.batches.try_send(batch) {
            Ok(()) => false,
            Err(TrySendError::Closed(_)) => return ControlFlow::Break(()),
            Err(TrySendError::Full(batch)) => {
                let sent = async { tokio::time::timeout(self.untaken, self.batches.send(batch)).await };
                match self.runtime.block_on(sent) {
                    Ok(Ok(())) => true,
                    Ok(Err(_)) => return ControlFlow::Break(()),
                    Err(_) => return self.give_up(),
                }
            }
        };
        let waited = if waits { began.elapsed() } else { Duration::ZERO };
        if self.pace.took(bytes, waited) { self.give_up() } else { ControlFlow::Continue(()) }
    }

    /// Tells whether the client is still there, also where nothing is given to it.
    pub(crate) fn is_there(&self) -> impl Fn() -> bool + use<> {
        let batches = self.batches.downgrade();
        move || batches.upgrade().is_some_and(|batches| !batches.is_closed())
    }

    fn give_up(&self) -> ControlFlow<()> {
        tracing::debug!("a client takes what it asked for too slowly: broken off");
        self.broken.store(true, Ordering::SeqCst);
        ControlFlow::Break(())
    }

    /// There is no more, and that is not the end.
    pub(crate) fn break_off(self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

/// The pieces as the client takes them.
struct Pieces {
    waiting: Receiver<Batch>,
    batch: vec::IntoIter<Bytes>,
}

impl Stream for Pieces {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(piece) = self.batch.next() {
                return Poll::Ready(Some(piece));
            }
            match ready!(self.waiting.poll_recv(context)) {
                Some(batch) => self.batch = batch.into_iter(),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// How much is taken in how much waiting.
#[derive(Default)]
struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    /// So much was taken after so much waiting. Whether that is too slow.
    fn took(&mut self, bytes: u64, waited: Duration) -> bool {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < LEAST.1 {
            return false;
        }
        let taken = std::mem::take(self);
        taken.bytes < LEAST.0
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST, Pace, handover, of_patience};
    use axum::body::{Bytes, to_bytes};
    use std::ops::ControlFlow;
    use std::time::Duration;
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn what_is_given_comes_whole_or_breaks_off() {
        for whole in [true, false] {
            let (mut giver, body) = handover(2);
            let given = tokio::task::spawn_blocking(move || {
                let piece = Bytes::from(vec![7; 100_000]);
                let all = (0..10).all(|_| giver.give(piece.clone()) == ControlFlow::Continue(()));
                if whole {
                    giver.finish()
                } else {
                    giver.break_off()
                }
                all
            });
            let taken = to_bytes(body, 1 << 20).await;
            assert!(given.await.expect("given"));
            assert_eq!(taken.ok().map(|bytes| bytes.len()), whole.then_some(1_000_000));
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up_and_gets_no_part_for_the_whole() {
        let (mut giver, body) = of_patience(2, Duration::from_millis(20));
        let given = tokio::task::spawn_blocking(move || {
            let piece = Bytes::from(vec![7; super::BATCH_BYTES / 2]);
            (0..10).take_while(|_| giver.give(piece.clone()).is_continue()).count()
        });
        assert_eq!(
            given.await.expect("it ends"),
            4,
            "one and two of them wait, and a third batch is not taken"
        );
        assert!(to_bytes(body, 1 << 20).await.is_err());
    }

    #[tokio::test]
    async fn a_large_piece_goes_over_part_by_part_to_who_is_slow() {
        let patience = Duration::from_millis(400);
        let (mut giver, body) = of_patience(2, patience);
        let given = tokio::task::spawn_blocking(move || {
            let all = giver.give(Bytes::from(vec![7; 20 * super::BATCH_BYTES]));
            giver.finish();
            all
        });
        let (mut body, mut taken) = (body.into_data_stream(), 0);
        while let Some(part) = body.next().await {
            let part = part.expect("it does not break off");
            assert!(part.len() <= super::BATCH_BYTES);
            taken += part.len();
            // All of it takes longer than a piece may.
            tokio::time::sleep(patience / 10).await;
        }
        assert_eq!(
            (taken, given.await.expect("given")),
            (20 * super::BATCH_BYTES, ControlFlow::Continue(()))
        );
    }

    #[tokio::test]
    async fn who_is_gone_is_given_nothing() {
        let (mut giver, body) = handover(2);
        drop(body);
        assert!(giver.give(Bytes::from(vec![7; super::BATCH_BYTES])).is_break());
    }

    #[test]
    fn who_trickles_is_too_slow_and_who_waits_for_the_disk_is_not() {
        let mut pace = Pace::default();
        let piece = 256 << 10;
        let slow = (0..5).map(|_| pace.took(piece, Duration::from_secs(29))).filter(|slow| *slow).count();
        assert!(slow > 0, "a byte in 29 s is no download");
        let mut pace = Pace::default();
        assert!(!(0..1000).any(|_| pace.took(piece, Duration::from_secs(10))), "26 KiB/s are");
        assert!(!(0..1000).any(|_| pace.took(1, Duration::ZERO)), "nobody was waited for");
        assert!(Pace::default().took(LEAST.0 - 1, LEAST.1) && !Pace::default().took(LEAST.0, LEAST.1));
    }
}
