//! What viewers are given, whenever they come and however late they are.

use super::super::message::{Fragment, Init, Message};
use super::*;
use bytes::Bytes;
use keha_fs::WallTime;
use proptest::prelude::*;

fn options() -> LiveOptions {
    LiveOptions { behind_bytes_max: 100, group_bytes_max: 400, ..LiveOptions::default() }
}

fn init(number: u64) -> Message {
    Message::Init(Arc::new(Init {
        number,
        codecs: String::new(),
        bytes: Bytes::new(),
        video: None,
        audio: None,
        axis_ahead_ns: 0,
        wall: WallTime(0),
    }))
}

fn fragment(index: i64, sync: bool, bytes: usize) -> Message {
    let bytes = Bytes::from(vec![0; bytes]);
    Message::Fragment(Fragment { bytes, sync, wall: WallTime(index), duration_ns: 0, samples: 1 })
}

/// Messages in short: `i1`, `k0` (keyframe), `p1`, `w` and `s3`.
fn short(message: &Message) -> String {
    match message {
        Message::Init(init) => format!("i{}", init.number),
        Message::Fragment(fragment) => {
            format!("{}{}", if fragment.sync { 'k' } else { 'p' }, fragment.wall.0)
        }
        Message::Skipped { samples } => format!("s{samples}"),
        Message::Waiting { .. } => "w".to_owned(),
        Message::Gap(_) => "g".to_owned(),
        Message::Unplayable(_) => "u".to_owned(),
    }
}

fn all(ring: &Ring, place: &mut Place) -> String {
    let mut given = Vec::new();
    while let Some(message) = ring.next(place) {
        given.push(short(&message));
    }
    given.join(" ")
}

/// A ring with pictures of 10 bytes, a keyframe every fifth.
fn filled(pictures: std::ops::Range<i64>, ring: &mut Ring) {
    for index in pictures {
        ring.push(fragment(index, index % 5 == 0, 10), Duration::from_millis(index as u64 * 40));
    }
}

#[test]
fn who_comes_is_given_the_init_segment_and_the_group_so_far_and_then_all() {
    let mut ring = Ring::new(options());
    ring.push(init(1), Duration::ZERO);
    filled(0..8, &mut ring);
    let mut place = ring.enter();
    assert_eq!(all(&ring, &mut place), "i1 k5 p6 p7");
    filled(8..11, &mut ring);
    assert_eq!(all(&ring, &mut place), "p8 p9 k10");
    ring.push(init(2), Duration::from_secs(1));
    filled(15..17, &mut ring);
    assert_eq!(all(&ring, &mut place), "i2 k15 p16");
}

#[test]
fn who_comes_before_the_first_keyframe_waits_for_it_and_is_told_of_no_loss() {
    let mut ring = Ring::new(options());
    let mut place = ring.enter();
    ring.push(init(1), Duration::ZERO);
    filled(3..6, &mut ring);
    assert_eq!(all(&ring, &mut place), "i1 k5");
}

#[test]
fn who_falls_behind_goes_on_with_the_newest_keyframe_and_is_told_what_it_lacks() {
    let mut ring = Ring::new(options());
    ring.push(init(1), Duration::ZERO);
    filled(0..1, &mut ring);
    let mut place = ring.enter();
    assert_eq!(all(&ring, &mut place), "i1 k0");
    filled(1..12, &mut ring);
    let mut late = place.clone();
    assert_eq!(all(&ring, &mut late), "p1 p2 p3 p4 k5 p6 p7 p8 p9 k10 p11");
    filled(12..22, &mut ring);
    assert_eq!(all(&ring, &mut place), "s19 k20 p21");
    assert!(ring.bytes() <= 120);
}

#[test]
fn who_is_late_by_time_is_taken_to_the_newest_keyframe_too() {
    let mut ring = Ring::new(LiveOptions { behind_max: Duration::from_millis(300), ..options() });
    ring.push(init(1), Duration::ZERO);
    filled(0..1, &mut ring);
    let mut place = ring.enter();
    all(&ring, &mut place);
    filled(1..11, &mut ring);
    assert_eq!(all(&ring, &mut place), "s9 k10");
}

#[test]
fn a_keyframe_larger_than_all_bounds_breaks_nothing() {
    let mut ring = Ring::new(options());
    ring.push(init(1), Duration::ZERO);
    let mut place = ring.enter();
    ring.push(fragment(0, true, 390), Duration::ZERO);
    assert_eq!(all(&ring, &mut place), "i1 k0");
    filled(1..3, &mut ring);
    assert_eq!(all(&ring, &mut place), "p1 p2");
    let mut comes = ring.enter();
    assert_eq!(all(&ring, &mut comes), "", "the group is too large to be kept");
    filled(3..6, &mut ring);
    assert_eq!((all(&ring, &mut place), all(&ring, &mut comes)), ("p3 p4 k5".into(), "i1 k5".into()));
}

#[test]
fn while_nothing_is_recorded_who_comes_is_told_so_at_once_and_goes_on_with_what_comes() {
    let mut ring = Ring::new(options());
    ring.push(init(1), Duration::ZERO);
    filled(0..3, &mut ring);
    let mut watches = ring.enter();
    all(&ring, &mut watches);
    ring.push(Message::Waiting { since: WallTime(3) }, Duration::from_secs(1));
    let mut comes = ring.enter();
    assert_eq!((all(&ring, &mut watches), all(&ring, &mut comes)), ("w".into(), "w".into()));
    ring.push(init(2), Duration::from_secs(9));
    filled(5..6, &mut ring);
    assert_eq!((all(&ring, &mut watches), all(&ring, &mut comes)), ("i2 k5".into(), "i2 k5".into()));
}

#[test]
fn what_never_came_here_is_told_to_who_watched_before_and_to_nobody_else() {
    let mut ring = Ring::new(options());
    ring.push(init(1), Duration::ZERO);
    let mut waits = ring.enter();
    filled(3..4, &mut ring);
    let mut watches = ring.enter();
    filled(5..7, &mut ring);
    assert_eq!(all(&ring, &mut watches), "i1 k5 p6");
    let mut late = watches.clone();
    ring.push(Message::Skipped { samples: 1 }, Duration::ZERO);
    assert_eq!(all(&ring, &mut watches), "", "it is told with what follows");
    filled(10..12, &mut ring);
    assert_eq!(all(&ring, &mut watches), "s1 k10 p11");
    filled(15..27, &mut ring);
    assert_eq!(all(&ring, &mut late), "s13 k25 p26", "with what it was too late for");
    assert_eq!(all(&ring, &mut waits), "i1 k25 p26");
}

#[test]
fn who_comes_while_nothing_can_be_played_is_told_so() {
    let mut ring = Ring::new(options());
    ring.push(Message::Unplayable("no".into()), Duration::ZERO);
    let mut comes = ring.enter();
    assert_eq!(all(&ring, &mut comes), "u");
}

proptest! {
    /// Pictures are numbered; a viewer reads now and then.
    #[test]
    fn nothing_is_given_twice_or_left_out_untold_and_memory_is_bounded(
        pictures in proptest::collection::vec((any::<bool>(), 1..60usize, 0..2000u64, 0..8u8), 1..200),
        comes in 0..50usize,
    ) {
        let mut ring = Ring::new(options());
        ring.push(init(1), Duration::ZERO);
        let (mut place, mut at, mut next, mut untold): (Option<Place>, _, Option<i64>, _) = (None, 0, None, false);
        for (index, (sync, bytes, ms, read)) in pictures.into_iter().enumerate() {
            at += ms;
            ring.push(fragment(index as i64, sync && bytes < 20, bytes), Duration::from_millis(at));
            prop_assert!(ring.bytes() <= 100 + 400 + 60);
            if index < comes {
                continue;
            }
            let place = place.get_or_insert_with(|| ring.enter());
            for _ in 0..read {
                match ring.next(place) {
                    Some(Message::Fragment(given)) => {
                        let number = given.wall.0;
                        prop_assert!(next.is_some() || given.sync);
                        prop_assert!(!untold || given.sync);
                        prop_assert!(next.is_none_or(|next| next == number));
                        (next, untold) = (Some(number + 1), false);
                    }
                    Some(Message::Skipped { samples }) => {
                        prop_assert!(samples > 0);
                        (next, untold) = (next.map(|next| next + samples as i64), true);
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
    }
}
