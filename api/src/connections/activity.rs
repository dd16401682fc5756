//! What goes on over a connection, and whether its client has left it lying.
//!
//! A connection waits for this server as long as a request is being answered or an answer's next piece is not there. Else it waits for its
//! client: to ask, or to take what is offered. hyper asks an answer for its next piece only once the client took most of the one before,
//! so large pieces are cut: each that is asked for tells that the client goes on. That holds under flow control of HTTP/2 too, whose pings
//! tell nothing of who takes what.
//!
//! What must not live here: what is done about it.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The most that is handed to hyper at once.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// How often it is looked whether a connection was left lying.
const LOOK: Duration = Duration::from_secs(5);

/// How a connection was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing is asked.
    Idle,
    /// Something is offered and not taken.
    Untaken,
}

/// How long a client may leave it; `None` where something else sees to that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Before the first request.
    pub(super) first: Option<Duration>,
    /// Between requests.
    pub(super) idle: Option<Duration>,
    /// Without taking a piece of any answer.
    pub(super) untaken: Duration,
}

/// What goes on over a connection.
pub(super) struct Activity {
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    begun: bool,
    /// Requests whose answers were not given whole.
    under_way: usize,
    /// Those of them that wait for this server.
    ours: usize,
    last: Instant,
}

impl Activity {
    pub(super) fn new(limits: Limits) -> Arc<Activity> {
        let state = State { begun: false, under_way: 0, ours: 0, last: Instant::now() };
        Arc::new(Activity { limits, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request came.
    pub(super) fn begin(self: &Arc<Self>) -> Request {
        let mut state = self.lock();
        state.begun = true;
        state.under_way += 1;
        state.ours += 1;
        drop(state);
        Request { activity: Arc::clone(self), ours: true }
    }

    /// Waits until the client leaves the connection lying for too long.
    pub(super) async fn left(&self) -> Left {
        loop {
            sleep(LOOK).await;
            if let Some(left) = self.look() {
                return left;
            }
        }
    }

    fn look(&self) -> Option<Left> {
        let state = self.lock();
        if state.ours > 0 {
            return None;
        }
        let (limit, left) = match (state.begun, state.under_way) {
            (false, _) => (self.limits.first?, Left::Idle),
            (true, 0) => (self.limits.idle?, Left::Idle),
            (true, _) => (self.limits.untaken, Left::Untaken),
        };
        (state.last.elapsed() >= limit).then_some(left)
    }
}

/// A request under way; it is over when this is dropped.
pub(super) struct Request {
    activity: Arc<Activity>,
    ours: bool,
}

impl Request {
    /// The answer, which is under way until its body is dropped.
    pub(super) fn answered(mut self, response: Response<Body>) -> Response<Body> {
        self.waits_for_us(false);
        response.map(|body| Body::new(Answer { body, rest: Bytes::new(), request: self }))
    }

    fn waits_for_us(&mut self, ours: bool) {
        let mut state = self.activity.lock();
        state.last = Instant::now();
        match (self.ours, ours) {
            (false, true) => state.ours += 1,
            (true, false) => state.ours = state.ours.saturating_sub(1),
            _ => {}
        }
        self.ours = ours;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.waits_for_us(false);
        let mut state = self.activity.lock();
        state.under_way = state.under_way.saturating_sub(1);
    }
}

/// The body of an answer.
struct Answer {
    body: Body,
    rest: Bytes,
    request: Request,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let polled = Pin::new(&mut this.body).poll_frame(context);
            this.request.waits_for_us(polled.is_pending());
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        } else {
            this.request.waits_for_us(false);
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES_MAX));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
