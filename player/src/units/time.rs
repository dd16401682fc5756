//! Moments: RFC 3339, local time with or without a zone, relative to now. One text means one instant or is refused: an hour
//! that a clock change repeats is shown with both readings, one that it leaves out is refused too.
//!
//! RFC 3339 and, for the zone in brackets, RFC 9557.

pub use crate::time::rfc3339;

use super::duration;
use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::Pieces;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use keha_fs::WallTime;

/// What the commands say a moment is, in their help.
pub const HELP: &str = "RFC 3339 (2026-11-01T01:30:00+02:00), local time with or without a zone (2026-11-01T01:30:00[Europe/Helsinki]), relative (-10m), or now";

/// Reads a moment. `now` is what relative ones count from, `zone` is that of local times without one.
///
/// # Errors
/// A sentence that says what is wrong and how to write it.
pub fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<WallTime, String> {
    let timestamp = match text.strip_prefix('-') {
        _ if text == "now" => now,
        Some(back) => relative(text, back, now)?,
        None if text.starts_with('+') => {
            return Err(format!("{text:?}: a relative time counts back from now: -10m"));
        }
        None => absolute(text, zone)?,
    };
    wall(timestamp).ok_or_else(|| format!("{text:?} is outside the years 1678 to 2262"))
}

fn relative(text: &str, back: &str, now: Timestamp) -> Result<Timestamp, String> {
    let back = duration::parse(back)
        .map_err(|_| format!("{text:?} is not a time: a relative one is -10m, -90s or -1h30m"))?;
    let back = SignedDuration::try_from(back).map_err(|_| format!("{text:?} is too long ago"))?;
    now.checked_sub(back).map_err(|_| format!("{text:?} is too long ago"))
}

fn absolute(text: &str, system_zone: &TimeZone) -> Result<Timestamp, String> {
    let pieces = Pieces::parse(text).map_err(|_| format!("{text:?} is not a time: write {HELP}"))?;
    if pieces.time().is_none() && pieces.offset().is_some() {
        return Err(format!("{text:?} has an offset but no time of day: write 2026-11-01T00:00:00+02:00"));
    }
    let civil = DateTime::from_parts(pieces.date(), pieces.time().unwrap_or(Time::midnight()));
    let annotated = match pieces.time_zone_annotation() {
        Some(annotation) => {
            let named = annotation.to_time_zone();
            Some(named.map_err(|_| {
                format!("{text:?}: unknown time zone: write it as [Europe/Helsinki], or give the offset")
            })?)
        }
        None => None,
    };
    match (pieces.to_numeric_offset(), annotated) {
        (Some(offset), None) => at_offset(text, civil, offset),
        (Some(offset), Some(zone)) => {
            let timestamp = at_offset(text, civil, offset)?;
            match zone.to_offset(timestamp) {
                // `Z` says only that the instant is known, not which offset holds there (RFC 9557, section 2.2).
                right if right == offset || ends_in_z(text) => Ok(timestamp),
                right => Err(format!(
                    "{text:?}: the offset there is {right}, not {offset}: leave out the zone or the offset"
                )),
            }
        }
        (None, Some(zone)) => in_zone(text, civil, &zone),
        (None, None) => in_zone(text, civil, system_zone),
    }
}

fn ends_in_z(text: &str) -> bool {
    let instant = text.split('[').next().unwrap_or_default();
    instant.ends_with(['Z', 'z'])
}

fn at_offset(text: &str, civil: DateTime, offset: Offset) -> Result<Timestamp, String> {
    offset.to_timestamp(civil).map_err(|_| format!("{text:?} is outside the years 1678 to 2262"))
}

fn in_zone(text: &str, civil: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    let name = zone.iana_name().unwrap_or("the system's zone");
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => at_offset(text, civil, offset),
        AmbiguousOffset::Fold { before, after } => Err(format!(
            "{text:?} happens twice in {name}: write {civil}{before} for the first time or {civil}{after} for the second",
            before = numeric(before),
            after = numeric(after),
        )),
        AmbiguousOffset::Gap { before, after } => Err(format!(
            "{text:?} does not exist in {name}: clocks went from offset {before} to {after} there",
            before = numeric(before),
            after = numeric(after),
        )),
    }
}

fn numeric(offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The moment as a volume keeps it, where it can.
pub fn wall(timestamp: Timestamp) -> Option<WallTime> {
    i64::try_from(timestamp.as_nanosecond()).ok().map(WallTime)
}

/// The moment that a volume keeps, as jiff's type.
pub fn timestamp(wall: WallTime) -> Timestamp {
    // Every i64 of nanoseconds lies in the years 1678 to 2262, which a timestamp covers.
    Timestamp::from_nanosecond(i128::from(wall.0)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Local time with its offset, to the millisecond: for people.
pub fn local(wall: WallTime, zone: &TimeZone) -> String {
    timestamp(wall).to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helsinki() -> TimeZone {
        TimeZone::get("Europe/Helsinki").expect("the system has a time zone database")
    }

    fn read(text: &str) -> Result<String, String> {
        let now = "2026-06-15T12:00:00Z".parse().expect("a constant");
        parse(text, now, &helsinki()).map(|wall| timestamp(wall).to_string())
    }

    #[test]
    fn a_moment_is_read_in_every_form() {
        for (text, instant) in [
            ("now", "2026-06-15T12:00:00Z"),
            ("-10m", "2026-06-15T11:50:00Z"),
            ("-1h30m", "2026-06-15T10:30:00Z"),
            ("-90s", "2026-06-15T11:58:30Z"),
            ("-2d", "2026-06-13T12:00:00Z"),
            ("-0s", "2026-06-15T12:00:00Z"),
            ("2026-11-01T01:30:00Z", "2026-11-01T01:30:00Z"),
            ("2026-11-01t01:30:00z", "2026-11-01T01:30:00Z"),
            ("2026-11-01 01:30:00Z", "2026-11-01T01:30:00Z"),
            ("2026-11-01T01:30:00.123456789Z", "2026-11-01T01:30:00.123456789Z"),
            ("2026-11-01T01:30:00+02:00", "2026-10-31T23:30:00Z"),
            ("2026-11-01T01:30:00-05:30", "2026-11-01T07:00:00Z"),
            ("2026-11-01T01:30:00[Europe/Helsinki]", "2026-10-31T23:30:00Z"),
            ("2026-11-01T01:30:00+02:00[Europe/Helsinki]", "2026-10-31T23:30:00Z"),
            ("2026-11-01T01:30:00Z[Europe/Helsinki]", "2026-11-01T01:30:00Z"),
            ("2026-11-01T01:30:00[+02:00]", "2026-10-31T23:30:00Z"),
            ("2026-11-01T01:30:00", "2026-10-31T23:30:00Z"),
            ("2026-11-01T01:30", "2026-10-31T23:30:00Z"),
            ("2026-07-01T01:30:00", "2026-06-30T22:30:00Z"),
            ("2026-07-01", "2026-06-30T21:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(instant), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_the_way_to_write_it() {
        for (text, says) in [
            ("", "RFC 3339"),
            ("yesterday", "RFC 3339"),
            ("12:30", "RFC 3339"),
            ("-", "-10m"),
            ("-10", "-10m"),
            ("--10m", "-10m"),
            ("+10m", "counts back"),
            ("-7000000d", "too long ago"),
            ("2026-13-01T00:00:00Z", "RFC 3339"),
            ("2026-02-30T00:00:00Z", "RFC 3339"),
            ("2026-11-01T25:00:00Z", "RFC 3339"),
            ("2026-11-01T01:30:00[Europe/Nowhere]", "unknown time zone"),
            ("2026-11-01T01:30:00+03:00[Europe/Helsinki]", "the offset there is"),
            ("1200-01-01T00:00:00Z", "1678"),
            ("9000-01-01T00:00:00Z", "2262"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn an_hour_that_happens_twice_is_refused_with_both_readings() {
        let error = read("2026-10-25T03:30:00[Europe/Helsinki]").expect_err("clocks go back at four");
        assert!(
            error.contains("2026-10-25T03:30:00+03:00") && error.contains("2026-10-25T03:30:00+02:00"),
            "{error}"
        );
        let error = read("2026-10-25T03:30:00").expect_err("also without a zone");
        assert!(error.contains("Europe/Helsinki"), "{error}");
        for reading in
            ["2026-10-25T03:30:00+03:00[Europe/Helsinki]", "2026-10-25T03:30:00+02:00[Europe/Helsinki]"]
        {
            assert!(read(reading).is_ok(), "{reading}");
        }
        let error = read("2026-11-01T01:30:00[America/New_York]").expect_err("clocks go back at two");
        assert!(error.contains("-04:00") && error.contains("-05:00"), "{error}");
    }

    #[test]
    fn an_hour_that_never_happens_is_refused() {
        let error = read("2026-03-29T03:30:00[Europe/Helsinki]").expect_err("clocks go forward at three");
        assert!(
            error.contains("does not exist") && error.contains("+02:00") && error.contains("+03:00"),
            "{error}"
        );
    }

    #[test]
    fn moments_are_shown_for_documents_and_for_people() {
        let wall = WallTime(1_793_489_400_120_000_000);
        assert_eq!(rfc3339(wall), "2026-10-31T23:30:00.120000000Z");
        assert_eq!(local(wall, &helsinki()), "2026-11-01T01:30:00.120+02:00");
        assert_eq!(rfc3339(WallTime::MIN), "1677-09-21T00:12:43.145224192Z");
    }
}
