//! Moments and ranges in queries: RFC 3339, local times with a zone, relative to now, as everywhere in Keha
//! ([`keha_player::units::time`]).

use crate::problem::Problem;
use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_fs::{TimeRange, WallTime};
use keha_player::units::time;
use serde::Deserialize;
use utoipa::IntoParams;

/// The parameters that name a range.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeQuery {
    /// Its beginning (inclusive): RFC 3339, a local time with a zone in brackets, relative to now (`-10m`), or `now`. Left out: the first
    /// footage there is.
    #[param(example = "-10m")]
    from: Option<String>,
    /// Its end (exclusive), in the same forms. Left out: the last footage there is.
    #[param(example = "now")]
    to: Option<String>,
}

impl RangeQuery {
    /// The range that is meant; local times without a zone are UTC.
    pub(crate) fn range(&self) -> Result<TimeRange, Problem> {
        let now = Timestamp::now();
        let read = |name: &str, text: &Option<String>| {
            text.as_deref().map(|text| read(name, text, now, &TimeZone::UTC)).transpose()
        };
        let range = TimeRange { from: read("from", &self.from)?, to: read("to", &self.to)? };
        match (range.from, range.to) {
            (Some(from), Some(to)) if from >= to => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("the range ends ({}) before it begins ({})", time::rfc3339(to), time::rfc3339(from)),
            )),
            _ => Ok(range),
        }
    }
}

/// The moment that a parameter names.
pub(crate) fn moment(name: &str, text: &str) -> Result<WallTime, Problem> {
    read(name, text, Timestamp::now(), &TimeZone::UTC)
}

fn read(name: &str, text: &str, now: Timestamp, zone: &TimeZone) -> Result<WallTime, Problem> {
    // In a query `+` stands for a space unless it is escaped, which many forget in `+02:00`.
    let mended = text.replace(' ', "+");
    let text = if text.contains('T') { mended.as_str() } else { text };
    time::parse(text, now, zone)
        .map_err(|why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{name}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::{RangeQuery, moment};
    use keha_player::units::time::rfc3339;

    fn query(from: Option<&str>, to: Option<&str>) -> RangeQuery {
        RangeQuery { from: from.map(str::to_owned), to: to.map(str::to_owned) }
    }

    #[test]
    fn a_range_is_read_by_one_clock() {
        let range = query(Some("-10m"), Some("now")).range().expect("a range");
        let both = range.from.zip(range.to).expect("both");
        assert_eq!(both.1.since_ns(both.0), 600_000_000_000);
        assert_eq!(query(None, None).range().expect("all"), Default::default());
        for (from, to) in [("now", "-10m"), ("x", "now"), ("now", "2026"), ("now", "now")] {
            assert!(query(Some(from), Some(to)).range().is_err(), "{from} {to}");
        }
    }

    #[test]
    fn a_plus_that_was_not_escaped_is_understood() {
        for text in ["2026-11-01T01:30:00+02:00", "2026-11-01T01:30:00 02:00"] {
            assert_eq!(rfc3339(moment("at", text).expect("a moment")), "2026-10-31T23:30:00.000000000Z");
        }
    }
}
