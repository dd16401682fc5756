//! Byte ranges (RFC 9110, section 14): one at a time. A request for several is answered as a whole, as it may be.

use axum::http::{HeaderMap, HeaderValue, header};
use std::ops::Range;

/// What of an entity is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it.
    Whole,
    /// This, of what is that long.
    Part(Range<u64>),
    /// Nothing that is there.
    Nothing,
}

impl Asked {
    /// What these headers ask for of an entity of this length and tag. A range is only good for the entity of which the client has a part
    /// (`If-Range`; a date is none that this server gave).
    pub(crate) fn of(headers: &HeaderMap, length: u64, tag: &HeaderValue) -> Asked {
        let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
            return Asked::Whole;
        };
        if headers.get(header::IF_RANGE).is_some_and(|known| known != tag) {
            return Asked::Whole;
        }
        parse(range, length)
    }
}

fn parse(text: &str, length: u64) -> Asked {
    let Some((first, last)) = text
        .trim()
        .strip_prefix("bytes=")
        .filter(|set| !set.contains(','))
        .and_then(|set| set.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    let number =
        |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let range = match (first, last) {
        ("", last) => match number(last) {
            Some(suffix) => length.saturating_sub(suffix)..length,
            None => return Asked::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => first..length,
            None => return Asked::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
            _ => return Asked::Whole,
        },
    };
    if range.start < range.end { Asked::Part(range) } else { Asked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::{Asked, parse};
    use axum::http::{HeaderMap, HeaderValue, header};
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read() {
        for (text, expected) in [
            ("bytes=0-", Asked::Part(0..100)),
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=10-19", Asked::Part(10..20)),
            ("bytes=90-1000", Asked::Part(90..100)),
            ("bytes=-10", Asked::Part(90..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=20-10", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("lines=1-2", Asked::Whole),
            ("bytes=99999999999999999999-", Asked::Whole),
        ] {
            assert_eq!(parse(text, 100), expected, "{text}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_answered_with_the_whole() {
        let tag = HeaderValue::from_static("\"a\"");
        let mut headers = HeaderMap::new();
        assert_eq!(Asked::of(&headers, 10, &tag), Asked::Whole);
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=5-"));
        assert_eq!(Asked::of(&headers, 10, &tag), Asked::Part(5..10));
        headers.insert(header::IF_RANGE, tag.clone());
        assert_eq!(Asked::of(&headers, 10, &tag), Asked::Part(5..10));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"b\""));
        assert_eq!(Asked::of(&headers, 10, &tag), Asked::Whole);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_lies_within(text in "bytes=[0-9]{0,22}-[0-9]{0,22}", length in 0_u64..1000) {
            if let Asked::Part(range) = parse(&text, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
