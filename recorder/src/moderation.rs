//! How often the recorder's threads look at their sockets: seldom, as long as nothing depends on it.
//!
//! | while, and for a second and a half after | a look every |
//! |---|---|
//! | a session is opened, begins, or ends | 10 ms |
//! | somebody follows a stream live | 10 ms |
//! | streams come over from another volume; the recorder is changed, or stops | 10 ms |
//! | a second and a half of every fifty, so that it stays known how late packets are | 10 ms |
//! | an answer may come from a camera that is looked out for: 50 ms each time | 10 ms |
//! | none of that | 100 ms at last: twice as long from look to look |
//!
//! It takes longer by and by, for the kernel lets a camera send twice what was read at a time (`tcp_rcv_space_adjust`), and what a
//! camera sends evenly finds room. What arrives meanwhile, from all cameras, is taken in one go, as network cards moderate their interrupts
//! (docs/decisions/0023-sockets-are-looked-at-less-often-while-nobody-watches.md).
//!
//! Must not live here: what a look finds.

use crate::clock::window::SURELY_KEPT;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread with nothing to do waits before it looks again.
pub(crate) const ATTENTIVE: Duration = Duration::from_millis(10);
const AT_REST: Duration = Duration::from_millis(100);
/// How long attention lasts,
const LASTING: Duration = Duration::from_millis(1_500);
/// and for an answer that comes at once, if it comes.
const BRIEFLY: Duration = Duration::from_millis(50);
/// From one time when it comes by itself to the next.
const REGULARLY: Duration = Duration::from_secs(50);
// The least delay that is known comes from such a time, of a camera that sends a picture a second.
const _: () = assert!(REGULARLY.as_secs() + 2 * LASTING.as_secs() < SURELY_KEPT.as_secs());

/// Attention, as a matter of time alone.
#[derive(Clone, Copy, Debug)]
struct Attention {
    /// How many hold it.
    held: usize,
    since: Instant,
    until: Instant,
    regular: Instant,
}

impl Attention {
    fn new(now: Instant) -> Attention {
        Attention { held: 0, since: now, until: now + LASTING, regular: now + REGULARLY }
    }

    fn is_there(&self, now: Instant) -> bool {
        self.held > 0 || now < self.until
    }

    /// How long a thread waits, from when it `looked` on, that rests no longer than `at_rest`.
    fn pause(&self, looked: Instant, now: Instant, at_rest: Duration) -> Duration {
        match self.is_there(now) {
            true => ATTENTIVE,
            false => looked.saturating_duration_since(self.until).clamp(ATTENTIVE, at_rest),
        }
    }

    /// Something depends on it for so long; whether nothing did before.
    fn attend(&mut self, now: Instant, lasting: Duration) -> bool {
        let rested = !self.is_there(now);
        if rested {
            self.since = now;
        }
        self.until = self.until.max(now + lasting);
        rested
    }

    /// Its time has come by itself; whether nothing depended on it before.
    fn comes_regularly(&mut self, now: Instant) -> bool {
        if now < self.regular {
            return false;
        }
        self.regular = now + REGULARLY;
        self.attend(now, LASTING)
    }

    /// Whether what arrives is noted promptly, and will be for a little while.
    fn is_prompt(&self, now: Instant) -> bool {
        self.since + AT_REST <= now && self.is_there(now + 2 * AT_REST)
    }
}

/// What the threads of a recorder, and all that is done on them, share of it.
#[derive(Debug)]
pub(crate) struct Moderation {
    attention: Mutex<Attention>,
    begins: Condvar,
    at_rest: Duration,
}

impl Moderation {
    /// Attentive at first.
    pub(crate) fn new() -> Moderation {
        Moderation::with_rest(AT_REST)
    }

    fn with_rest(at_rest: Duration) -> Moderation {
        Moderation { attention: Mutex::new(Attention::new(Instant::now())), begins: Condvar::new(), at_rest }
    }

    fn lock(&self) -> MutexGuard<'_, Attention> {
        self.attention.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Attention, Instant) -> bool) {
        if change(&mut self.lock(), Instant::now()) {
            self.begins.notify_all();
        }
    }

    /// Something depends on it for the next second and a half: threads that rest look at once.
    pub(crate) fn attend(&self) {
        self.change(|attention, now| attention.attend(now, LASTING));
    }

    /// The same for 50 ms: somebody was asked who answers at once, or is not there.
    pub(crate) fn attend_briefly(&self) {
        self.change(|attention, now| attention.attend(now, BRIEFLY));
    }

    /// Something depends on it until the answer is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        self.change(|attention, now| {
            let rested = attention.attend(now, LASTING);
            attention.held += 1;
            rested
        });
        Held(Arc::clone(self))
    }

    /// Whether what arrives is noted within 10 ms, and will be for the next 200 ms.
    pub(crate) fn is_prompt(&self) -> bool {
        self.lock().is_prompt(Instant::now())
    }

    /// A thread has nothing to do: waits until it is to look again.
    pub(crate) fn wait(&self) {
        let began = Instant::now();
        let mut attention = self.lock();
        loop {
            let now = Instant::now();
            if attention.comes_regularly(now) {
                self.begins.notify_all();
            }
            let pause = attention.pause(began, now, self.at_rest);
            let left = (began + pause).saturating_duration_since(now);
            if left.is_zero() {
                return;
            }
            let waited = self.begins.wait_timeout(attention, left);
            attention = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Attention that is held.
#[derive(Debug)]
pub(crate) struct Held(Arc<Moderation>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.change(|attention, now| {
            let rested = attention.attend(now, LASTING);
            attention.held -= 1;
            rested
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn attention_lasts_as_long_as_something_depends_on_it_and_comes_back_by_itself() {
        let zero = Instant::now();
        let mut attention = Attention::new(zero);
        let at = |ms| zero + Duration::from_millis(ms);
        for ms in (0..10_000).step_by(100) {
            assert!(!attention.attend(at(ms), LASTING), "it was there");
            assert_eq!(attention.is_prompt(at(ms)), ms >= 100, "after {ms} ms");
        }
        assert!(attention.is_there(at(11_399)) && !attention.is_there(at(11_400)));
        assert!(!attention.is_prompt(at(11_300)), "what comes next is looked at later");
        assert!(attention.attend(at(20_000), BRIEFLY) && !attention.attend(at(20_010), BRIEFLY));
        // What is read now may have come a while ago.
        assert!(attention.is_there(at(20_050)) && !attention.is_prompt(at(20_050)));
        assert!(!attention.is_there(at(20_060)));
        let is_there = |ms: &u64| {
            attention.comes_regularly(at(*ms));
            attention.is_there(at(*ms))
        };
        let there: Vec<u64> = (30_000..199_000).filter(is_there).collect();
        assert_eq!(there.first().zip(there.last()), Some((&50_000, &151_499)));
        assert_eq!(there.len(), 3 * LASTING.as_millis() as usize);
    }

    #[test]
    fn looks_come_less_often_by_and_by() {
        let mut now = Instant::now();
        let mut attention = Attention::new(now);
        attention.regular += Duration::from_secs(3_600);
        let mut pauses = Vec::new();
        while pauses.len() < 160 {
            let pause = attention.pause(now, now + Duration::from_millis(1), AT_REST);
            pauses.push(pause.as_millis());
            now += pause;
        }
        let begin = pauses.iter().position(|ms| *ms > 10).unwrap();
        assert_eq!((pauses[..begin].len(), &pauses[begin..begin + 5]), (152, &[20, 40, 80, 100, 100][..]));
    }

    /// At rest for a minute, where nothing wakes them.
    #[test]
    fn threads_that_rest_look_at_once_when_something_depends_on_it() {
        for hold in [false, true] {
            let moderation = Arc::new(Moderation::with_rest(Duration::from_secs(3_600)));
            let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
            moderation.lock().until = long_ago;
            let rests = Arc::clone(&moderation);
            let (looking, looked) = std::sync::mpsc::channel();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (rests, looking) = (Arc::clone(&rests), looking.clone());
                    thread::spawn(move || {
                        looking.send(()).unwrap();
                        rests.wait();
                    })
                })
                .collect();
            looked.iter().take(3).for_each(drop);
            let held = hold.then(|| moderation.hold());
            // Who comes late finds that attention is there; who sleeps is woken by the first of these alone.
            let all_looked = (0..3_000).any(|_| {
                moderation.attend();
                thread::sleep(ATTENTIVE);
                threads.iter().all(thread::JoinHandle::is_finished)
            });
            assert!(all_looked, "held: {hold}");
            drop(held);
            assert_eq!(moderation.lock().held, 0);
        }
    }

    #[test]
    fn what_is_held_lasts_until_all_let_go_of_it_and_a_while_after() {
        let moderation = Arc::new(Moderation::new());
        let (first, second) = (moderation.hold(), moderation.hold());
        let far = Instant::now() + 2 * REGULARLY;
        drop(first);
        assert!(moderation.lock().is_there(far) && moderation.lock().is_prompt(far));
        drop(second);
        assert!(!moderation.lock().is_there(far));
        assert!(moderation.lock().is_there(Instant::now()));
    }
}
