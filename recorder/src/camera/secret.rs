//! A password that cannot be printed by accident.
//!
//! Promise: neither `Debug` nor `Display` of anything that holds a [`Secret`] shows it. Only the code that logs in to a
//! camera asks for it, by name.

use std::fmt;

/// What stands in the place of a secret in every output.
pub const MASK: &str = "***";

/// Secrets shorter than this are not looked for in texts: every second word would be masked.
const SEARCHED_BYTES_MIN: usize = 3;

/// A password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a password.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The password itself, for logging in.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` with every occurrence of this secret masked.
    pub fn mask_in(&self, text: &str) -> String {
        if self.0.len() < SEARCHED_BYTES_MIN { text.to_owned() } else { text.replace(&self.0, MASK) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_only_its_mask() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.mask_in("login admin:hunter2 failed"), "login admin:*** failed");
        assert_eq!(Secret::new("").mask_in("abc"), "abc");
    }
}
