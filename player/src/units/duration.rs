//! Durations: `30s`, `10m`, `1h30m`, `2d`, `250ms`. A day is 24 hours, a week seven of them; months have no fixed length and
//! are refused.

use jiff::{Span, SpanRelativeTo, fmt::friendly::SpanParser};
use std::time::Duration;

static PARSER: SpanParser = SpanParser::new();

/// Reads a duration, zero included.
///
/// # Errors
/// A sentence that says what is wrong and how to write it.
pub fn parse(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a duration needs a unit: {text}s, {text}m or {text}h"));
    }
    let how = || format!("{text:?} is not a duration: write it as 30s, 10m, 1h30m or 2d");
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(how());
    }
    let span: Span = PARSER.parse_span(text).map_err(|_| how())?;
    let exact = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| format!("{text:?}: months and years have no fixed length: write days"))?;
    Duration::try_from(exact).map_err(|_| how())
}

/// Reads a duration longer than zero.
///
/// # Errors
/// As [`parse`].
pub fn parse_positive(text: &str) -> Result<Duration, String> {
    let duration = parse(text)?;
    if duration.is_zero() { Err("a duration here is longer than zero".into()) } else { Ok(duration) }
}

/// A duration for people: the two largest units, `1h 30m`; below a minute with a fraction where there is one.
pub fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit} {small}{small_unit}"),
    };
    match seconds {
        0 if duration.is_zero() => "0s".into(),
        0..60 if duration.subsec_millis() > 0 => {
            let text = format!("{:.3}", duration.as_secs_f64());
            format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        0..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86400, "d", seconds % 86400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_exactly() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("0s", 0),
            ("250ms", 250),
            ("1.5s", 1500),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("90s", 90_000),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_way_to_write_it() {
        for (text, says) in [
            ("", "30s"),
            ("30", "needs a unit: 30s"),
            ("-30s", "30s"),
            ("+30s", "30s"),
            ("s", "30s"),
            ("abc", "30s"),
            ("10x", "30s"),
            ("1 month", "no fixed length"),
            ("1y", "no fixed length"),
            ("10m ago", "30s"),
            ("99999999999999999999d", "30s"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(parse_positive("0s").is_err());
    }

    #[test]
    fn durations_are_shown_short() {
        for (milliseconds, text) in [
            (0, "0s"),
            (250, "0.25s"),
            (30_000, "30s"),
            (90_000, "1m 30s"),
            (600_000, "10m"),
            (5_400_000, "1h 30m"),
            (90_000_000, "1d 1h"),
        ] {
            assert_eq!(show(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(show(Duration::from_nanos(4_999_999_998)), "5s");
    }
}
