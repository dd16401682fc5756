//! How long footage stays, as people write it: `--quota 100GiB`, `--min-age 7d`, `none`.

use super::{duration, size};
use keha_fs::Retention;
use std::time::Duration;

/// Settings as given; what is not given stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) minimum_age_s: Option<u64>,
    pub(crate) maximum_age_s: Option<u64>,
}

impl Wanted {
    /// Whether anything is given.
    pub(crate) fn is_any(&self) -> bool {
        *self != Wanted::default()
    }

    /// What comes of settings when these are given.
    pub(crate) fn over(&self, now: Retention) -> Retention {
        Retention {
            quota_bytes: self.quota_bytes.unwrap_or(now.quota_bytes),
            minimum_age_s: self.minimum_age_s.unwrap_or(now.minimum_age_s),
            maximum_age_s: self.maximum_age_s.unwrap_or(now.maximum_age_s),
        }
    }
}

/// Reads a quota in bytes; `none` is 0.
///
/// # Errors
/// A sentence that says what is wrong and how to write it.
pub(crate) fn parse_quota(text: &str) -> Result<u64, String> {
    if text == "none" { Ok(0) } else { size::parse(text).map_err(|why| format!("{why}, or none")) }
}

/// Reads an age in whole seconds; `none` is 0.
///
/// # Errors
/// A sentence that says what is wrong and how to write it.
pub(crate) fn parse_age(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let age = duration::parse_positive(text).map_err(|why| format!("{why}, or none"))?;
    if age.subsec_nanos() > 0 { Err("an age is whole seconds".into()) } else { Ok(age.as_secs()) }
}

/// A quota for people.
pub(crate) fn show_quota(quota_bytes: u64) -> String {
    if quota_bytes == 0 { "-".into() } else { size::show(quota_bytes) }
}

/// An age for people.
pub(crate) fn show_age(age_s: u64) -> String {
    if age_s == 0 { "-".into() } else { duration::show(Duration::from_secs(age_s)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_sizes_and_durations_and_none() {
        assert_eq!(parse_quota("100GiB"), Ok(100 << 30));
        assert_eq!((parse_quota("none"), parse_age("none")), (Ok(0), Ok(0)));
        assert_eq!((parse_age("7d"), parse_age("45s")), (Ok(604_800), Ok(45)));
        for wrong in ["", "7", "0s", "1500ms", "soon"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
        assert!(parse_quota("much").is_err_and(|why| why.ends_with("or none")));
    }

    #[test]
    fn what_is_not_given_stays() {
        let now = Retention { quota_bytes: 1, minimum_age_s: 2, maximum_age_s: 3 };
        assert_eq!(Wanted::default().over(now), now);
        assert!(!Wanted::default().is_any());
        let wanted = Wanted { minimum_age_s: Some(0), ..Wanted::default() };
        assert_eq!(wanted.over(now), Retention { minimum_age_s: 0, ..now });
    }
}
