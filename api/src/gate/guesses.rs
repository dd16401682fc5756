//! Names and passwords that are being verified just now: the same one, asked many times at once from one address, is one guess.
//!
//! What was guessed stands here as a keyed hash under a key of this process, as long as somebody waits for what comes of it.

use crate::auth::Identity;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OnceCell;

/// What comes of a guess.
pub(super) type Guess = OnceCell<Option<Identity>>;

pub(super) struct Guesses {
    key: [u8; 32],
    waited_for: Mutex<HashMap<blake3::Hash, Weak<Guess>>>,
}

impl Default for Guesses {
    fn default() -> Guesses {
        Guesses { key: rand::random(), waited_for: Mutex::default() }
    }
}

impl Guesses {
    /// The guess of an address: the one that somebody waits for already, or a new one.
    pub(super) fn of(&self, address: &str, name: &str, password: &str) -> Arc<Guess> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [address, name, password] {
            // With their lengths: no two guesses are the same text.
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let mut waited_for = self.waited_for.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = hasher.finalize();
        if let Some(guess) = waited_for.get(&hash).and_then(Weak::upgrade) {
            return guess;
        }
        // Those that nobody waits for go whenever there are twice as many as are waited for, at least.
        if waited_for.len() == waited_for.capacity() {
            waited_for.retain(|_, guess| guess.strong_count() > 0);
        }
        let guess = Arc::new(Guess::new());
        waited_for.insert(hash, Arc::downgrade(&guess));
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::Guesses;
    use std::sync::Arc;

    #[test]
    fn the_same_is_one_guess_as_long_as_somebody_waits_for_it() {
        let guesses = Guesses::default();
        let first = guesses.of("a", "anna", "x");
        assert!(Arc::ptr_eq(&first, &guesses.of("a", "anna", "x")));
        for other in [("b", "anna", "x"), ("a", "anna", "y"), ("a", "annax", ""), ("aa", "nna", "x")] {
            assert!(!Arc::ptr_eq(&first, &guesses.of(other.0, other.1, other.2)), "{other:?}");
        }
        assert!(first.set(None).is_ok());
        drop(first);
        assert!(!guesses.of("a", "anna", "x").initialized(), "asked anew, verified anew");
        (0..10_000).for_each(|which| drop(guesses.of("a", "anna", &which.to_string())));
        assert!(guesses.waited_for.lock().expect("no panic").capacity() < 100);
    }
}
