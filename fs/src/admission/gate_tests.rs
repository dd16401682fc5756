//! The gate by itself: no disk, no threads, and time is a number.

use super::ReadPurpose::{Bulk, Playback};
use super::*;

const MIB: usize = 1 << 20;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn gate(recording: Recording) -> Gate {
    Gate { recording, ..Gate::default() }
}

/// Asks, and whether it goes at once.
fn ask(gate: &mut Gate, purpose: ReadPurpose, bytes: usize, now: Duration) -> (Ticket, bool) {
    let ticket = gate.ask(purpose, bytes, now);
    gate.admit(now);
    (ticket, gate.is_admitted(ticket))
}

#[test]
fn where_nobody_records_everything_goes_at_once() {
    let mut gate = gate(Recording::Absent);
    assert!((0..100).all(|_| ask(&mut gate, Bulk, 8 * MIB, ms(0)).1));
}

#[test]
fn between_rounds_as_much_is_under_way_as_budgets_allow() {
    let mut gate = gate(Recording::Resting);
    let bulk: Vec<_> = (0..4).map(|_| ask(&mut gate, Bulk, MIB, ms(0))).collect();
    assert_eq!(bulk.iter().filter(|(_, goes)| *goes).count(), BULK.requests);
    let played: Vec<_> = (0..20).map(|_| ask(&mut gate, Playback, MIB, ms(0))).collect();
    assert_eq!(played.iter().filter(|(_, goes)| *goes).count(), PLAYBACK.requests);
    // What is done makes room for one of its kind.
    gate.done(played[3].0, ms(1));
    assert!(gate.admit(ms(1)) && gate.is_admitted(played[8].0) && !gate.is_admitted(played[9].0));
    assert!(!gate.is_admitted(bulk[2].0));
}

#[test]
fn one_that_is_larger_than_its_budget_goes_alone() {
    let mut gate = gate(Recording::Resting);
    let (first, goes) = ask(&mut gate, Bulk, 64 * MIB, ms(0));
    assert!(goes && !ask(&mut gate, Bulk, 1, ms(0)).1);
    gate.done(first, ms(1));
    assert!(gate.admit(ms(1)));
}

#[test]
fn while_a_round_is_under_way_nothing_goes_and_after_it_everything_that_waited() {
    for closed in [Recording::Round, Recording::Late] {
        let mut gate = gate(closed);
        let tickets = [Playback, Bulk, Playback].map(|purpose| ask(&mut gate, purpose, MIB, ms(0)));
        assert!(tickets.iter().all(|(_, goes)| !goes));
        assert!(!gate.admit(ms(99)));
        gate.record(Recording::Resting);
        gate.admit(ms(99));
        assert!(tickets.iter().all(|(ticket, _)| gate.is_admitted(*ticket)), "{closed:?}");
    }
}

#[test]
fn what_is_exported_waits_for_what_is_played_but_not_for_ever() {
    let mut gate = gate(Recording::Resting);
    let running: Vec<_> = (0..PLAYBACK.requests).map(|_| ask(&mut gate, Playback, MIB, ms(0)).0).collect();
    let (waiting, _) = ask(&mut gate, Playback, MIB, ms(1));
    let (bulk, goes) = ask(&mut gate, Bulk, MIB, ms(0));
    assert!(!goes && !gate.is_admitted(waiting), "something waits that is played");
    // Players ask for more as soon as they have something.
    for ticket in running {
        gate.done(ticket, ms(2));
        gate.admit(ms(2));
        ask(&mut gate, Playback, MIB, ms(2));
    }
    assert!(gate.is_admitted(bulk), "every fourth goes to who waited the longest");
}

#[test]
fn readers_of_a_disk_that_recording_uses_up_have_a_fifth_of_it_and_all_come_to_their_turn() {
    let mut gate = gate(Recording::Late);
    let mut waiting: Vec<(Ticket, Duration)> = Vec::new();
    let (mut busy, mut longest, mut served) = (Duration::ZERO, Duration::ZERO, [0, 0]);
    let (mut running, mut now) = (None::<(Ticket, Duration)>, Duration::ZERO);
    for (turn, purpose) in [Playback, Playback, Playback, Bulk].into_iter().cycle().enumerate().take(12) {
        let ticket = gate.ask(purpose, MIB, now);
        waiting.push((ticket, now));
        assert_eq!(turn, waiting.len() - 1);
    }
    while now < Duration::from_secs(60) {
        gate.admit(now);
        let admitted: Vec<_> =
            waiting.iter().filter(|(ticket, _)| gate.is_admitted(*ticket)).copied().collect();
        assert!(admitted.len() <= 1, "one at a time");
        if let (None, Some((ticket, since))) = (running, admitted.first()) {
            longest = longest.max(now - *since);
            running = Some((*ticket, now));
        }
        if let Some((ticket, since)) = running.filter(|(_, since)| now >= *since + ms(10)) {
            gate.done(ticket, now);
            busy += now - since;
            let place = waiting.iter().position(|(mine, _)| *mine == ticket).expect("it waited");
            // Each asks again at once.
            let purpose = if place % 4 == 3 { Bulk } else { Playback };
            served[purpose as usize] += 1;
            waiting[place] = (gate.ask(purpose, MIB, now), now);
            running = None;
        }
        now += ms(1);
    }
    let share = busy.as_secs_f64() / now.as_secs_f64();
    assert!((0.15..0.21).contains(&share), "{share}");
    assert!(longest < Duration::from_secs(3), "{longest:?} of twelve who wait");
    assert!(served[Bulk as usize] * 4 >= served[Playback as usize] / 2, "{served:?}");
}

#[test]
fn who_waits_is_told_when_to_look_again() {
    let mut gate = gate(Recording::Round);
    assert_eq!(gate.look_again_in(ms(5)), None);
    let (bulk, _) = ask(&mut gate, Bulk, MIB, ms(0));
    assert_eq!(gate.look_again_in(ms(5)), Some(ms(495)));
    let (played, _) = ask(&mut gate, Playback, MIB, ms(10));
    assert_eq!(gate.look_again_in(ms(20)), Some(ms(90)));
    assert!(!gate.admit(ms(109)) && gate.admit(ms(110)) && gate.is_admitted(played));
    assert_eq!(gate.look_again_in(ms(200)), None, "who is done tells the others");
    gate.done(played, ms(310));
    assert_eq!(gate.look_again_in(ms(310)), Some(ms(800)), "it took 200 ms");
    assert!(!gate.admit(ms(1109)) && gate.admit(ms(1110)) && gate.is_admitted(bulk));
}
