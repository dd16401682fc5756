//! Ranges of time: from, and to or for how long. What was understood is shown back in full.

use super::{duration, time};
use crate::failure::Failure;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_fs::{TimeRange, WallTime};
use std::time::Duration;

/// The options that give a range. A type of its own, for every command has the same.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RangeArguments {
    /// From this moment on
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// Up to before this moment
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
    /// For this long from --from on, such as 30s or 1h30m
    #[arg(long, value_name = "D", conflicts_with = "to", value_parser = duration::parse_positive)]
    duration: Option<Duration>,
}

impl RangeArguments {
    /// The range that is meant, open where nothing is said.
    ///
    /// # Errors
    /// A way of using the command that says which option is wrong.
    pub(crate) fn range(&self, now: Timestamp, zone: &TimeZone) -> anyhow::Result<TimeRange> {
        parse(self.from.as_deref(), self.to.as_deref(), self.duration, now, zone).map_err(Failure::usage)
    }

    /// The same where it must have two ends; `what` needs them.
    ///
    /// # Errors
    /// As [`RangeArguments::range`], or an end is missing.
    pub(crate) fn bounded(
        &self,
        what: &str,
        now: Timestamp,
        zone: &TimeZone,
    ) -> anyhow::Result<(WallTime, WallTime)> {
        let range = self.range(now, zone)?;
        let ends = range.from.zip(range.to);
        ends.ok_or_else(|| Failure::usage(format!("{what} needs --from, and --to or --duration")))
    }
}

/// Reads a range as given by `--from`, `--to` and `--duration`. All moments count from one `now`.
///
/// # Errors
/// A sentence that says which option is wrong and how to write it.
fn parse(
    from: Option<&str>,
    to: Option<&str>,
    duration: Option<Duration>,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<TimeRange, String> {
    let moment = |option: &str, text: Option<&str>| match text {
        Some(text) => time::parse(text, now, zone).map(Some).map_err(|why| format!("{option} {why}")),
        None => Ok(None),
    };
    let from = moment("--from", from)?;
    let to = match (from, duration) {
        (Some(from), Some(duration)) => Some(from.plus(duration)),
        (None, Some(_)) => return Err("--duration counts from --from: give that too".into()),
        (_, None) => moment("--to", to)?,
    };
    match (from, to) {
        (Some(from), Some(to)) if from >= to => {
            let (from, to) = (time::local(from, zone), time::local(to, zone));
            Err(format!("--from {from} is not before --to {to}: nothing lies between them"))
        }
        _ => Ok(TimeRange { from, to }),
    }
}

/// A range for people, with how long it is.
pub(crate) fn show(range: TimeRange, zone: &TimeZone) -> String {
    let local = |wall: WallTime| time::local(wall, zone);
    match (range.from, range.to) {
        (None, None) => "all there is".into(),
        (Some(from), None) => format!("from {} on", local(from)),
        (None, Some(to)) => format!("up to {}", local(to)),
        (Some(from), Some(to)) => {
            let length = u64::try_from(to.since_ns(from)).map(Duration::from_nanos).unwrap_or_default();
            format!("from {} to {} ({})", local(from), local(to), duration::show(length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(from: Option<&str>, to: Option<&str>, duration: Option<u64>) -> Result<String, String> {
        let now = "2026-06-15T12:00:00Z".parse().expect("a constant");
        let duration = duration.map(Duration::from_secs);
        parse(from, to, duration, now, &TimeZone::UTC).map(|range| show(range, &TimeZone::UTC))
    }

    #[test]
    fn a_range_is_understood_and_shown_back() {
        for (from, to, duration, shown) in [
            (None, None, None, "all there is"),
            (Some("-10m"), None, None, "from 2026-06-15T11:50:00.000+00:00 on"),
            (None, Some("-10m"), None, "up to 2026-06-15T11:50:00.000+00:00"),
            (
                Some("-10m"),
                Some("now"),
                None,
                "from 2026-06-15T11:50:00.000+00:00 to 2026-06-15T12:00:00.000+00:00 (10m)",
            ),
            (
                Some("-10m"),
                None,
                Some(90),
                "from 2026-06-15T11:50:00.000+00:00 to 2026-06-15T11:51:30.000+00:00 (1m 30s)",
            ),
        ] {
            assert_eq!(read(from, to, duration).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn a_range_that_holds_nothing_is_refused() {
        for (from, to, duration, says) in [
            (Some("now"), Some("-10m"), None, "is not before --to"),
            (Some("now"), Some("now"), None, "is not before --to"),
            (None, None, Some(5), "give that too"),
            (Some("x"), None, None, "--from \"x\""),
            (None, Some("x"), None, "--to \"x\""),
        ] {
            let error = read(from, to, duration).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }
}
