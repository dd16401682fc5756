//! The days on which a stream has footage, in a time zone: days of 23 and 25 hours included.

use super::answer::{Holding, timeline_of};
use super::coalesce::Recorded;
use super::index::Index;
use super::source::TimelineSource;
use crate::error::{Error, Result};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use keha_fs::{StreamId, TimeRange, WallTime};
use std::time::Duration;

/// Less than any day lasts, so that no day without footage is joined to its neighbours.
const RESOLUTION: Duration = Duration::from_secs(3600);

/// A day with footage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Which, in the zone asked for.
    pub date: Date,
    /// Its first moment.
    pub from: WallTime,
    /// The first moment of the next day: 23 or 25 hours later where clocks are changed.
    pub to: WallTime,
}

/// The days of a zone on which a stream has footage within a range, in their order.
///
/// # Errors
/// As [`super::timeline`]; [`Error::Invalid`] for moments that no calendar has.
pub fn days(
    index: &Index,
    source: &dyn TimelineSource,
    stream: StreamId,
    range: TimeRange,
    zone: &TimeZone,
) -> Result<Vec<Day>> {
    days_of(&[Holding { index, source, stream }], range, zone)
}

/// The same of a stream of which several volumes have something.
///
/// # Errors
/// As [`days`].
pub fn days_of(holdings: &[Holding<'_>], range: TimeRange, zone: &TimeZone) -> Result<Vec<Day>> {
    let timeline = timeline_of(holdings, &[], range, RESOLUTION)?;
    let mut days: Vec<Day> = Vec::new();
    for Recorded { from, to } in timeline.recorded {
        // The end of the range asked for does not belong to it.
        let to = if range.to == Some(to) && to > from { to.plus_ns(-1) } else { to };
        let mut moment = from.max(days.last().map_or(WallTime::MIN, |day| day.to));
        while moment <= to {
            let day = day_of(moment, zone)?;
            moment = day.to.max(moment.plus_ns(1));
            days.push(day);
        }
    }
    Ok(days)
}

fn day_of(moment: WallTime, zone: &TimeZone) -> Result<Day> {
    let no_day = |error: jiff::Error| Error::Invalid(format!("no day of a calendar: {error}"));
    let zoned = Timestamp::from_nanosecond(i128::from(moment.0)).map_err(no_day)?.to_zoned(zone.clone());
    let date = zoned.date();
    let next = date.tomorrow().map_err(no_day)?.to_zoned(zone.clone()).map_err(no_day)?;
    let first = zoned.start_of_day().map_err(no_day)?;
    Ok(Day { date, from: wall(&first), to: wall(&next) })
}

fn wall(zoned: &Zoned) -> WallTime {
    let ns = zoned.timestamp().as_nanosecond();
    WallTime(i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX }))
}
