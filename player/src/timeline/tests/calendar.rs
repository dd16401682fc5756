//! Days in a zone.

use super::made_up::{MadeUp, S, STREAM, media};
use crate::timeline::{Day, days};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_fs::TimeRange;

fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

fn stretches(stretches: &[(&str, &str)]) -> MadeUp {
    let mut run = 0;
    stretches.iter().fold(MadeUp::default(), |made_up, (from, to)| {
        run += 1;
        made_up.block(vec![media(run, second(from), second(to))])
    })
}

fn days_in(made_up: &MadeUp, zone: &str, range: TimeRange) -> Vec<Day> {
    days(&made_up.index(), made_up, STREAM, range, &TimeZone::get(zone).unwrap()).unwrap()
}

fn hours(day: &Day) -> i64 {
    day.to.since_ns(day.from) / S / 3600
}

#[test]
fn the_day_when_clocks_go_forward_has_23_hours_and_the_one_when_they_go_back_25() {
    let made_up = stretches(&[
        ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"),
        ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
    ]);
    let found = days_in(&made_up, "Europe/Helsinki", TimeRange::default());
    let told: Vec<_> = found.iter().map(|day| (day.date.to_string(), hours(day))).collect();
    let expected = [
        ("2026-03-28", 24),
        ("2026-03-29", 23),
        ("2026-03-30", 24),
        ("2026-10-24", 24),
        ("2026-10-25", 25),
        ("2026-10-26", 24),
    ];
    assert_eq!(told, expected.map(|(date, hours)| (date.to_owned(), hours)));
    assert!(found.windows(2).all(|pair| pair[0].to <= pair[1].from));
}

#[test]
fn a_moment_belongs_to_the_day_of_the_zone_asked_for() {
    let made_up = stretches(&[("2026-06-01T22:30:00Z", "2026-06-01T22:40:00Z")]);
    let date = |zone| days_in(&made_up, zone, TimeRange::default())[0].date.to_string();
    assert_eq!((date("UTC"), date("Europe/Helsinki")), ("2026-06-01".to_owned(), "2026-06-02".to_owned()));
}

#[test]
fn days_without_footage_are_left_out_and_each_other_is_told_once() {
    let made_up = stretches(&[
        ("2026-06-01T08:00:00Z", "2026-06-01T08:10:00Z"),
        ("2026-06-01T23:50:00Z", "2026-06-02T00:00:01Z"),
        ("2026-06-04T00:00:00Z", "2026-06-04T00:00:01Z"),
    ]);
    let dates: Vec<i8> =
        days_in(&made_up, "UTC", TimeRange::default()).iter().map(|day| day.date.day()).collect();
    assert_eq!(dates, [1, 2, 4]);
}

#[test]
fn the_end_of_the_range_asked_for_is_not_in_it() {
    let made_up = stretches(&[("2026-06-01T08:00:00Z", "2026-06-03T08:00:00Z")]);
    let midnight = keha_fs::WallTime(second("2026-06-02T00:00:00Z") * S);
    let range = TimeRange { from: None, to: Some(midnight) };
    assert_eq!(days_in(&made_up, "UTC", range).len(), 1);
}
