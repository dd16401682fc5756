//! Passwords: kept as Argon2id (RFC 9106) in PHC strings, at the strength that the crate takes by default (19 MiB, two passes), never
//! as they are.

use crate::error::{Error, Result};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

/// The fewest characters of a password (NIST SP 800-63B asks for eight at least).
const CHARACTERS_MIN: usize = 8;
/// The most bytes of one: what is longer is refused unread, so that nobody keeps the processor busy with it.
const BYTES_MAX: usize = 1024;

/// A password as it is kept.
///
/// # Errors
/// Where it is too short, too long, or the name itself.
pub(super) fn hash(name: &str, password: &str) -> Result<String> {
    let refuse = |why: String| Err(Error::Refused { what: "password", why });
    if password.chars().count() < CHARACTERS_MIN {
        return refuse(format!("it needs {CHARACTERS_MIN} characters at least"));
    }
    if password.len() > BYTES_MAX {
        return refuse(format!("it may have {BYTES_MAX} bytes at most"));
    }
    if password.eq_ignore_ascii_case(name) {
        return refuse("it is the name".to_owned());
    }
    match Argon2::default().hash_password(password.as_bytes()) {
        Ok(hash) => Ok(hash.to_string()),
        Err(error) => refuse(format!("it cannot be kept: {error}")),
    }
}

/// Whether a password is the one that is kept. Takes some tens of milliseconds and 19 MiB, whatever the answer.
pub(super) fn verify(kept: &str, password: &str) -> bool {
    if password.len() > BYTES_MAX {
        return false;
    }
    PasswordHash::new(kept)
        .is_ok_and(|kept| Argon2::default().verify_password(password.as_bytes(), &kept).is_ok())
}

/// What nobody's password is verified against, so that an unknown name takes as long as a known one.
pub(super) fn nobody() -> &'static str {
    use std::sync::LazyLock;
    static NOBODY: LazyLock<String> = LazyLock::new(|| {
        let hash = Argon2::default().hash_password(&rand::random::<[u8; 32]>());
        hash.map(|hash| hash.to_string()).unwrap_or_default()
    });
    &NOBODY
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, hash, nobody, verify};

    #[test]
    fn a_password_is_known_again_and_no_other() {
        let kept = hash("anna", "correct horse").expect("accepted");
        assert!(kept.starts_with("$argon2id$v=19$") && !kept.contains("horse"), "{kept}");
        assert!(verify(&kept, "correct horse"));
        assert!(!verify(&kept, "correct horsf") && !verify(&kept, ""));
        assert_ne!(kept, hash("anna", "correct horse").expect("accepted"), "each has a salt of its own");
    }

    #[test]
    fn what_anybody_would_try_first_is_refused() {
        for password in ["", "short", "annabella"] {
            assert!(hash("annabella", password).is_err(), "{password:?}");
        }
        assert!(hash("anna", &"x".repeat(BYTES_MAX + 1)).is_err());
        assert!(hash("anna", "öäüöäüöä").is_ok(), "characters count, not bytes");
    }

    #[test]
    fn nonsense_that_is_kept_lets_nobody_in() {
        for kept in ["", "plain", "$argon2id$v=19$m=1,t=1,p=1$AAAA", nobody()] {
            assert!(!verify(kept, "plain") && !verify(kept, ""), "{kept}");
        }
    }
}
