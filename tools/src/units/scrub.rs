//! How fast footage is verified in the background: once in `30d`, or `off`.

use super::duration;
use std::time::Duration;

/// What holds if nothing is said.
pub(crate) const DEFAULT: &str = "30d";

/// In which time all is verified once; `None`: it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Every(pub(crate) Option<Duration>);

impl Default for Every {
    fn default() -> Every {
        Every(Some(Duration::from_secs(30 * 86_400)))
    }
}

/// Reads `30d`, or `off`.
///
/// # Errors
/// A sentence that says what is wrong and how to write it.
pub(crate) fn parse(text: &str) -> Result<Every, String> {
    match text {
        "off" => Ok(Every(None)),
        _ => duration::parse_positive(text)
            .map(|every| Every(Some(every)))
            .map_err(|why| format!("{why}, or off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_duration_or_off() {
        assert_eq!(parse(DEFAULT), Ok(Every::default()));
        assert_eq!(parse("10s"), Ok(Every(Some(Duration::from_secs(10)))));
        assert_eq!(parse("off"), Ok(Every(None)));
        for wrong in ["", "0s", "never", "30"] {
            assert!(parse(wrong).is_err_and(|why| why.contains("off")), "{wrong}");
        }
    }
}
