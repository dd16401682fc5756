//! The walk, told as what happens to it.

use super::{Found, Now, Order, Outcome, Task, Turn, Walk};
use crate::format::scrub::{DAMAGED_MAX, ScrubSlot};
use crate::format::table::{HELD, Row};
use crate::report::BlockState;
use crate::types::{BlockIndex, Sequence, WallTime};
use std::time::Duration;

const BLOCKS: u32 = 10;
const EVERY: Duration = Duration::from_secs(100);

fn sealed(sequence: u64) -> Row {
    Row { state: BlockState::Sealed, sequence: Sequence(sequence), chunks: 1, ..Row::default() }
}

fn at(running_s: u64) -> Now {
    Now { wall: WallTime(running_s as i64 + 1_000), running_s }
}

fn walk() -> Walk {
    Walk::new(ScrubSlot::default(), Some(EVERY))
}

fn next(walk: &mut Walk, running_s: u64) -> Result<Task, Duration> {
    match walk.next((BLOCKS, 1 << 20), at(running_s), |block| Turn::Verify(sealed(u64::from(block.0) + 1))) {
        Order::Verify(task) => Ok(*task),
        Order::Rest(rest) => Err(rest),
    }
}

fn verified(task: Task, places: u32) -> Outcome {
    let found = Found { places, footage_lost: 0, first_offset: 512, moments: Default::default() };
    Outcome { task, bytes: 100, found: (places > 0).then_some(found) }
}

/// Verifies the block that is due, finds so many damaged places; whether that is news.
fn verify(walk: &mut Walk, running_s: u64, places: u32) -> bool {
    let task = next(walk, running_s).expect("a block is due");
    let row = task.row.clone();
    walk.done(&verified(task, places), &Turn::Verify(row), at(running_s).wall)
}

#[test]
fn each_block_waits_for_its_share_of_the_time() {
    let mut walk = walk();
    assert_eq!(next(&mut walk, 5).expect("the first is due").take.block, BlockIndex(0));
    verify(&mut walk, 5, 0);
    assert_eq!(next(&mut walk, 5).err(), Some(Duration::from_secs(10)));
    assert_eq!(next(&mut walk, 14).err(), Some(Duration::from_secs(1)));
    assert_eq!(next(&mut walk, 15).expect("due").take.block, BlockIndex(1));
}

#[test]
fn who_is_late_does_not_wait_and_a_pass_ends_with_the_last_block() {
    let mut walk = walk();
    verify(&mut walk, 0, 0);
    for _ in 1..BLOCKS {
        verify(&mut walk, 1_000, 0);
    }
    assert_eq!(next(&mut walk, 1_001).expect("the next pass").take.block, BlockIndex(0));
    assert_eq!((walk.slot.last.number, walk.slot.last.blocks, walk.slot.last.bytes), (1, 10, 1_000));
    assert_eq!((walk.slot.last.ended, walk.slot.pass.number), (at(1_001).wall, 2));
}

#[test]
fn a_volume_with_nothing_in_it_is_gone_over_in_no_less_time() {
    let mut walk = walk();
    for running_s in 0..250 {
        let Order::Rest(rest) = walk.next((BLOCKS, 1 << 20), at(running_s), |_| Turn::Nothing) else {
            panic!("there is nothing to verify")
        };
        assert!(!rest.is_zero());
    }
    assert!((2..=3).contains(&walk.slot.last.number), "{}", walk.slot.last.number);
}

#[test]
fn the_walk_goes_on_where_it_stood_and_with_another_pace() {
    let mut first = walk();
    for block in 0..4 {
        verify(&mut first, 50 + 10 * block, 0);
    }
    let mut walk = Walk::new(first.slot, Some(EVERY * 10));
    assert_eq!(
        next(&mut walk, 60).err(),
        Some(Duration::from_secs(390)),
        "400 s for four blocks, begun at 50"
    );
    assert_eq!(next(&mut walk, 450).expect("due").take.block, BlockIndex(4));
    // The volume's own time was lost.
    assert_eq!(next(&mut walk, 3).err(), Some(Duration::from_secs(400)));
}

#[test]
fn a_damaged_block_counts_once_a_pass_and_is_told_once() {
    let mut walk = walk();
    for (pass, news) in [(1, true), (2, false), (3, false)] {
        for block in 0..BLOCKS.into() {
            let places = if block == 3 { 2 } else { 0 };
            let told = verify(&mut walk, pass * 1_000 + 10 * block, places);
            assert_eq!(told, news && block == 3, "pass {pass}, block {block}");
        }
        assert_eq!((walk.slot.pass.damaged, walk.slot.pass.places), (1, 2));
        assert_eq!((walk.slot.damaged, walk.slot.damaged_blocks[0].found), (1, at(1_030).wall));
    }
    // More of it is damaged by now.
    for block in 0..3 {
        verify(&mut walk, 9_000 + 10 * block, 0);
    }
    assert!(verify(&mut walk, 9_030, 3));
}

#[test]
fn a_block_that_is_well_again_leaves_the_list() {
    let mut walk = walk();
    for (block, places) in (0..).zip([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]) {
        verify(&mut walk, 2_000 + 10 * block, places);
    }
    assert_eq!(walk.slot.damaged, 2);
    verify(&mut walk, 3_000, 0);
    assert_eq!((walk.slot.damaged, walk.slot.damaged_blocks[0].block), (1, BlockIndex(1)));
}

#[test]
fn however_much_is_damaged_the_newest_are_kept_and_all_are_counted() {
    let mut walk = walk();
    for block in 0..BLOCKS.into() {
        verify(&mut walk, 2_000 + 10 * block, u32::MAX);
    }
    assert_eq!((walk.slot.pass.damaged, walk.slot.pass.places), (BLOCKS, u32::MAX));
    let listed: Vec<u32> = walk.slot.damaged_blocks.iter().map(|damage| damage.block.0).collect();
    assert_eq!((walk.slot.damaged as usize, listed), (DAMAGED_MAX, vec![9, 8, 7, 6, 5, 4, 3]));
}

#[test]
fn what_changed_while_it_was_read_is_no_finding() {
    for (now, goes_on) in [
        (Turn::Nothing, true),
        (Turn::NotNow, false),
        (Turn::Verify(sealed(77)), false),
        (Turn::Verify(Row { used_bytes: 5, ..sealed(1) }), false),
        (Turn::Verify(Row { state: BlockState::Open, ..sealed(1) }), false),
    ] {
        let mut walk = walk();
        let task = next(&mut walk, 1_000).expect("due");
        assert!(!walk.done(&verified(task, 1), &now, WallTime(0)), "{now:?}");
        assert_eq!((walk.slot.pass.damaged, walk.slot.damaged), (0, 0));
        assert_eq!(walk.slot.next, BlockIndex(u32::from(goes_on)), "{now:?}");
    }
}

#[test]
fn a_block_that_is_not_settled_is_waited_for_but_not_for_ever() {
    let mut walk = walk();
    for running_s in 0..300 {
        let order = walk.next((BLOCKS, 1 << 20), at(running_s), |_| Turn::NotNow);
        assert!(matches!(order, Order::Rest(rest) if rest == Duration::from_secs(1)), "{order:?}");
        assert_eq!(walk.slot.next, BlockIndex(0));
    }
    walk.next((BLOCKS, 1 << 20), at(300), |_| Turn::NotNow);
    assert_eq!(walk.slot.next, BlockIndex(1));
}

#[test]
fn a_block_that_never_keeps_still_is_left_to_the_next_pass() {
    let mut walk = walk();
    let changed = Turn::Verify(sealed(77));
    for _ in 0..4 {
        let task = next(&mut walk, 1_000).expect("due");
        assert_eq!(task.take.block, BlockIndex(0));
        walk.done(&verified(task, 1), &changed, WallTime(0));
    }
    assert_eq!(walk.slot.next, BlockIndex(1));
}

#[test]
fn being_held_and_being_written_on_are_no_change() {
    let open = Row { state: BlockState::Open, sequence: Sequence(1), used_bytes: 900, ..Row::default() };
    let grown = Row { used_bytes: 1_800, ..open.clone() };
    let held = Row { flags: HELD, ..sealed(1) };
    for (before, now) in [(open, grown), (sealed(1), held)] {
        let mut walk = walk();
        let task = next(&mut walk, 1_000).expect("due");
        let outcome = verified(Task { row: before, ..task }, 1);
        assert!(walk.done(&outcome, &Turn::Verify(now.clone()), WallTime(0)), "{now:?}");
    }
}

#[test]
fn what_comes_of_another_block_than_that_in_turn_is_dropped() {
    let mut walk = walk();
    let task = next(&mut walk, 1_000).expect("due");
    verify(&mut walk, 1_000, 0);
    let row = task.row.clone();
    assert!(!walk.done(&verified(task, 1), &Turn::Verify(row), WallTime(0)));
    assert_eq!((walk.slot.pass.damaged, walk.slot.next), (0, BlockIndex(1)));
}
