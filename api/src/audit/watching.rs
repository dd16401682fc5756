//! Who watched what a short while ago, so that watching on is noted once in a while and not with each request.
//!
//! What is watched is told apart by camera and stream, by the way, and by which footage: of a playlist of recorded footage the range that
//! was asked for, of a segment or a picture the piece of ten minutes in which it was recorded. So whoever watches ten ranges leaves ten
//! lines, and whoever watches live one in ten minutes.
//!
//! Bounded in memory: so much is known of one who watches, and of all. Who goes beyond that is noted again sooner, never less.

use super::{AGAIN, without_seal};
use crate::routes::MOMENT;
use axum::http::{HeaderMap, Uri};
use keha_fs::WallTime;
use keha_player::segments::SegmentName;
use keha_player::units::time::rfc3339;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of how much that one watches is known.
const OF_ONE_MAX: usize = 4096;
/// And of how much of all.
const OF_ALL_MAX: usize = 100_000;
/// Where that is full, it is looked through once in this time: not with each request.
const SWEPT_AGAIN: Duration = Duration::from_secs(60);
/// Footage so long is one piece.
const PIECE_NS: i64 = 600_000_000_000;

/// Who watched what, and since when that is known. What is watched is kept as its hash: it may be long.
#[derive(Default)]
pub(super) struct Watching(Mutex<Known>);

#[derive(Default)]
struct Known {
    users: HashMap<String, HashMap<blake3::Hash, Instant>>,
    /// Of all users.
    total: usize,
    /// When what is long ago was forgotten last.
    swept: Option<Instant>,
}

impl Watching {
    /// Whether this user's watching this is to be noted: not if it was a short while ago.
    pub(super) fn is_news(&self, user: &str, what: &str, now: Instant) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let what = blake3::hash(what.as_bytes());
        let of_one = known.users.get(user);
        if of_one.and_then(|of_one| of_one.get(&what)).is_some_and(|since| is_recent(*since, now)) {
            return false;
        }
        if of_one.is_some_and(|of_one| of_one.len() >= OF_ONE_MAX) {
            known.total -= known.users.remove(user).map_or(0, |of_one| of_one.len());
        }
        let is_swept = known.swept.is_some_and(|swept| now.duration_since(swept) < SWEPT_AGAIN);
        if known.total >= OF_ALL_MAX && !is_swept {
            known.forget(now);
        }
        if known.total < OF_ALL_MAX {
            let before = known.users.entry(user.to_owned()).or_default().insert(what, now);
            known.total += usize::from(before.is_none());
        }
        true
    }

    /// What was news was not noted after all: it is still news.
    pub(super) fn was_not_noted(&self, user: &str, what: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = known.users.get_mut(user);
        let removed = of_one.and_then(|of_one| of_one.remove(&blake3::hash(what.as_bytes())));
        known.total -= usize::from(removed.is_some());
    }
}

impl Known {
    /// Forgets what is long ago.
    fn forget(&mut self, now: Instant) {
        self.swept = Some(now);
        self.users.retain(|_, of_one| {
            of_one.retain(|_, since| is_recent(*since, now));
            !of_one.is_empty()
        });
        self.total = self.users.values().map(HashMap::len).sum();
    }
}

fn is_recent(since: Instant, now: Instant) -> bool {
    now.duration_since(since) < AGAIN
}

/// Which footage is watched: in which piece it lies, and the moment in words, if it is of one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Which {
    pub(super) key: String,
    pub(super) moment: Option<String>,
}

impl Which {
    /// Of a playlist: the range that is asked for, as it is said. The same one said otherwise is noted again, which does no harm.
    pub(super) fn asked(uri: &Uri) -> Which {
        Which { key: without_seal(uri.query().unwrap_or_default()), moment: None }
    }

    /// Of a segment: when it was recorded, as its name says; `None` for a file that shows nothing.
    pub(super) fn segment(file: &str) -> Option<Which> {
        let name: SegmentName = file.strip_suffix(".m4s")?.parse().ok()?;
        Some(Which::at(name.from))
    }

    /// Of a picture: when it was recorded, as the answer says.
    pub(super) fn picture(answer: &HeaderMap) -> Which {
        let moment = answer.get(MOMENT).and_then(|moment| moment.to_str().ok());
        let moment = moment.and_then(|moment| moment.parse::<jiff::Timestamp>().ok());
        let ns = moment.and_then(|moment| i64::try_from(moment.as_nanosecond()).ok());
        ns.map_or_else(Which::default, |ns| Which::at(WallTime(ns)))
    }

    fn at(moment: WallTime) -> Which {
        let piece = moment.0.div_euclid(PIECE_NS);
        Which { key: piece.to_string(), moment: Some(rfc3339(moment)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::AGAIN;
    use super::{OF_ALL_MAX, OF_ONE_MAX, Watching, Which};
    use axum::http::{HeaderMap, HeaderValue, Uri};
    use std::time::Instant;

    fn total(watching: &Watching) -> usize {
        let known = watching.0.lock().expect("free");
        assert_eq!(known.total, known.users.values().map(|of_one| of_one.len()).sum::<usize>());
        known.total
    }

    #[test]
    fn watching_is_noted_once_in_a_while() {
        let (watching, now) = (Watching::default(), Instant::now());
        assert!(watching.is_news("anna", "door", now) && !watching.is_news("anna", "door", now));
        assert!(watching.is_news("anna", "yard", now) && watching.is_news("bert", "door", now));
        assert!(watching.is_news("anna", "door", now + AGAIN));
        watching.was_not_noted("anna", "door");
        assert!(watching.is_news("anna", "door", now + AGAIN));
        assert_eq!(total(&watching), 3);
    }

    #[test]
    fn who_watches_without_end_takes_no_more_memory_than_others_and_is_noted_all_the_same() {
        let (watching, now) = (Watching::default(), Instant::now());
        for what in 0..3 * OF_ONE_MAX {
            assert!(watching.is_news("anna", &what.to_string(), now));
            assert!(total(&watching) <= OF_ONE_MAX);
        }
        for user in 0..2 * OF_ALL_MAX / OF_ONE_MAX {
            for what in 0..OF_ONE_MAX {
                assert!(watching.is_news(&user.to_string(), &what.to_string(), now));
            }
        }
        assert_eq!(total(&watching), OF_ALL_MAX);
        assert!(watching.is_news("bert", "door", now + AGAIN));
        assert!(!watching.is_news("bert", "door", now + AGAIN), "what is long ago made room");
        assert_eq!(total(&watching), 1);
    }

    #[test]
    fn which_footage_it_is() {
        let uri: Uri = "/vod.m3u8?sealed=a.b&from=-5m&to=now".parse().expect("a URI");
        assert_eq!(Which::asked(&uri).key, "from=-5m&to=now");
        assert_eq!(Which::segment("x.m4s"), None);
        let picture = |moment: &str| {
            let value = HeaderValue::from_str(moment).expect("a value");
            Which::picture(&HeaderMap::from_iter([(super::MOMENT, value)]))
        };
        assert_eq!(picture("2026-03-01T12:00:00Z").key, picture("2026-03-01T12:09:59.9Z").key);
        assert_ne!(picture("2026-03-01T12:00:00Z").key, picture("2026-03-01T12:10:00Z").key);
        assert_eq!(picture("x"), Which::default());
    }
}
