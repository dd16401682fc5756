//! Passwords that were right a short while ago, so that a player that sends one with every request costs no Argon2 each time.
//!
//! Kept is a keyed hash under a key of this process; what changed a password changes the generation, which is asked again each time.

use std::collections::HashMap;
use std::time::Duration;

/// For how long a password is not verified again.
const LIFE: Duration = Duration::from_secs(300);
/// Of how many names at most.
const NAMES_MAX: usize = 1000;

pub(super) struct Remembered {
    key: [u8; 32],
    entries: HashMap<String, Entry>,
}

struct Entry {
    hash: blake3::Hash,
    generation: u64,
    ends: Duration,
}

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered { key: rand::random(), entries: HashMap::new() }
    }
}

impl Remembered {
    /// The generation of the user whose password this was, if it was verified a short while ago.
    pub(super) fn get(&self, name: &str, password: &str, now: Duration) -> Option<u64> {
        let entry = self.entries.get(name).filter(|entry| now < entry.ends)?;
        (entry.hash == self.hash(password)).then_some(entry.generation)
    }

    /// A password was verified.
    pub(super) fn put(&mut self, name: &str, password: &str, generation: u64, now: Duration) {
        if self.entries.len() >= NAMES_MAX {
            self.entries.retain(|_, entry| now < entry.ends);
        }
        if self.entries.len() < NAMES_MAX {
            let entry = Entry { hash: self.hash(password), generation, ends: now + LIFE };
            self.entries.insert(name.to_owned(), entry);
        }
    }

    fn hash(&self, password: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.key, password.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{LIFE, NAMES_MAX, Remembered};
    use std::time::Duration;

    #[test]
    fn what_was_right_is_known_for_a_while_and_nothing_else() {
        let mut remembered = Remembered::default();
        remembered.put("anna", "right", 7, Duration::ZERO);
        assert_eq!(remembered.get("anna", "right", Duration::ZERO), Some(7));
        assert_eq!(remembered.get("anna", "wrong", Duration::ZERO), None);
        assert_eq!(remembered.get("bert", "right", Duration::ZERO), None);
        assert_eq!(remembered.get("anna", "right", LIFE), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut remembered = Remembered::default();
        (0..2 * NAMES_MAX).for_each(|which| remembered.put(&which.to_string(), "x", 1, Duration::ZERO));
        assert_eq!(remembered.entries.len(), NAMES_MAX);
        remembered.put("anna", "right", 7, LIFE);
        assert_eq!(remembered.get("anna", "right", LIFE), Some(7), "what ended made room");
    }
}
