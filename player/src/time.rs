//! Wall times as text. No zones and no parsing: see [`crate::units`].

use keha_fs::WallTime;

/// Nanoseconds from 1970-01-01 to 2001-01-01, where Matroska's dates begin (RFC 9559, section 5.1.2.11).
const MATROSKA_EPOCH_NS: i64 = 978_307_200 * 1_000_000_000;

/// A wall time as RFC 3339 in UTC with nanoseconds: `2026-03-01T12:00:00.000000000Z`.
pub fn rfc3339(wall: WallTime) -> String {
    format!("{:.9}", crate::units::time::timestamp(wall))
}

/// A wall time as Matroska's `DateUTC`.
pub(crate) fn matroska_date(wall: WallTime) -> i64 {
    wall.0.saturating_sub(MATROSKA_EPOCH_NS)
}

/// The moment it is now, for dating a manifest.
pub(crate) fn now() -> WallTime {
    WallTime(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_nine_digits() {
        assert_eq!(rfc3339(WallTime(0)), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(WallTime(1_772_366_400_000_000_001)), "2026-03-01T12:00:00.000000001Z");
        assert_eq!(rfc3339(WallTime::MIN), "1677-09-21T00:12:43.145224192Z");
    }

    #[test]
    fn matroska_dates_count_from_2001() {
        assert_eq!(matroska_date(WallTime(978_307_200_000_000_005)), 5);
    }
}
