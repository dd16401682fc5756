//! Holds through the public interface, on a real file.

mod common;

use bytes::Bytes;
use common::{BEGIN, VIDEO, configured, frame, name, open, volume_in};
use keha_fs::{
    Error, Hold, HoldId, HoldRequest, Item, Sample, SampleFlags, StreamName, TimeRange, Volume, WallTime,
    Writer, WriterOptions,
};
use std::path::Path;
use std::time::Duration;

const FRAME_NS: i64 = 40_000_000;

/// Records frames of 100 kB, 25 a second, a keyframe each second, numbered from `first` on.
fn record(writer: &Writer, stream: &StreamName, frames: std::ops::Range<i64>) {
    let mut stream = configured(writer, stream);
    for index in frames {
        let sample = frame(index);
        let taken = (0..2000).any(|_| {
            let taken = stream.push(sample.clone()).is_ok();
            if !taken {
                std::thread::sleep(Duration::from_millis(5));
            }
            taken
        });
        assert!(taken, "the queue never emptied");
    }
}

/// Waits until a frame is on the disk. Frames that come all at once wait for blocks, and a hold does not wait for them.
fn is_recorded(path: &Path, stream: &StreamName, frame: i64) {
    let range = TimeRange { from: Some(BEGIN.plus_ns(frame * FRAME_NS)), to: None };
    let there = (0..1000).any(|_| {
        let volume = Volume::open(path).expect("a reader");
        let there = volume.stream(stream).is_ok_and(|stream| volume.read(stream.id, range).is_ok());
        if !there {
            std::thread::sleep(Duration::from_millis(10));
        }
        there
    });
    assert!(there, "frame {frame} never came");
}

fn request(stream: &StreamName, first: i64, frames: i64) -> HoldRequest {
    let from = BEGIN.plus_ns(first * FRAME_NS);
    let to = from.plus_ns(frames * FRAME_NS);
    HoldRequest { stream: stream.clone(), from, to, label: "case 17".to_owned(), expires: None }
}

fn frames_in(volume: &Volume, stream: &StreamName, hold: &Hold) -> Vec<i64> {
    let stream = volume.stream(stream).expect("the stream");
    let mut cursor = volume.read(stream.id, hold.range).expect("footage");
    let mut frames = Vec::new();
    while let Some(item) = cursor.next_item().expect("an item") {
        if let Item::Sample(sample) = item {
            assert!(sample.data.iter().all(|byte| *byte == (sample.ticks / 40) as u8));
            frames.push(sample.ticks / 40);
        }
    }
    frames
}

#[test]
fn a_hold_is_seen_beside_the_writer_and_kept_over_laps_and_opens_until_it_is_lifted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let front = name("front");
    let writer = open(&path);
    record(&writer, &front, 0..100);
    is_recorded(&path, &front, 99);
    let hold = writer.add_hold(request(&front, 30, 10)).expect("it is held");
    assert!(!hold.growing && hold.spans.len() == 1, "{hold:?}");
    let volume = Volume::open(&path).expect("a reader");
    assert_eq!(volume.holds(), std::slice::from_ref(&hold));
    let held = volume.held_blocks(&hold);
    assert!(!held.is_empty() && volume.hold_room().held_blocks == held.len() as u32);
    record(&writer, &front, 100..900);
    writer.close().expect("closed");
    let writer = open(&path);
    record(&writer, &front, 900..1400);
    let volume = Volume::open(&path).expect("a reader");
    // From the keyframe before the range on.
    assert_eq!(frames_in(&volume, &front, &hold), (25..40).collect::<Vec<i64>>());
    assert_eq!(writer.lift_hold(hold.id).expect("lifted").id, hold.id);
    assert!(matches!(writer.lift_hold(hold.id), Err(Error::NoSuchHold { .. })));
    record(&writer, &front, 1400..2400);
    writer.close().expect("closed");
    let volume = Volume::open(&path).expect("a reader");
    let stream = volume.stream(&front).expect("the stream");
    assert!(volume.holds().is_empty() && volume.read(stream.id, hold.range).is_err());
    assert_eq!(volume.check(&mut |_, _| ()).expect("a check").findings, []);
}

#[test]
fn what_cannot_be_held_is_refused_for_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let front = name("front");
    let writer = open(&path);
    record(&writer, &front, 0..100);
    is_recorded(&path, &front, 99);
    let good = request(&front, 30, 10);
    let refused = |request: HoldRequest| writer.add_hold(request).expect_err("refused");
    assert!(matches!(refused(request(&front, -500, 10)), Error::NotRecorded { available: Some(_) }));
    assert!(matches!(refused(request(&name("back"), 0, 10)), Error::NoSuchStream { .. }));
    assert!(matches!(refused(request(&front, 30, 0)), Error::Invalid(_)));
    assert!(matches!(refused(HoldRequest { label: "x".repeat(129), ..good.clone() }), Error::Invalid(_)));
    assert!(matches!(refused(HoldRequest { expires: Some(BEGIN), ..good.clone() }), Error::Invalid(_)));
    let far = HoldRequest { to: WallTime::MAX, ..good.clone() };
    assert!(matches!(refused(far), Error::NoRoomToHold { .. }));
    assert!(matches!(writer.lift_hold(HoldId::random()), Err(Error::NoSuchHold { .. })));
    let places = Volume::open(&path).expect("a reader").hold_room().holds_max;
    for _ in 0..places {
        writer.add_hold(good.clone()).expect("there is a place");
    }
    assert!(matches!(refused(good), Error::HoldsFull { .. }));
    assert!(Volume::open(&path).expect("a reader").hold_room().is_tight());
}

#[test]
fn a_stream_is_refused_where_holds_leave_it_no_room_and_recording_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let front = name("front");
    let writer = open(&path);
    record(&writer, &front, 0..190);
    is_recorded(&path, &front, 189);
    let room = |path: &Path| Volume::open(path).expect("a reader").hold_room();
    let most = room(&path).blocks_max;
    let mut first = 0;
    // Until one more stream would not find its three blocks.
    while room(&path).held_blocks < most - 2 {
        if writer.add_hold(request(&front, first, 1)).is_err() {
            break;
        }
        first += 10;
    }
    assert!(room(&path).held_blocks >= most - 2, "{:?} of {most}", room(&path));
    assert!(matches!(writer.stream(&name("back")), Err(Error::HeldTooMuch { .. })));
    record(&writer, &front, 190..600);
    writer.close().expect("closed");
    let volume = Volume::open(&path).expect("a reader");
    let range = TimeRange { from: Some(BEGIN.plus_ns(595 * FRAME_NS)), to: None };
    let hold = Hold { range, ..Hold::default() };
    assert_eq!(frames_in(&volume, &front, &hold).last(), Some(&599));
    assert_eq!(volume.check(&mut |_, _| ()).expect("a check").findings, []);
}

#[test]
fn refused_holds_turn_no_ring_and_every_round_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let front = name("front");
    let writer = open(&path);
    record(&writer, &front, 0..100);
    writer.close().expect("closed");
    let (rounds, reported) = std::sync::mpsc::channel();
    // No round comes by itself.
    let options = WriterOptions { flush_interval: Duration::from_secs(3600), ..WriterOptions::default() };
    let told = rounds.clone();
    let writer =
        Writer::open(&path, options, Box::new(move |round| _ = told.send(round.round))).expect("opened");
    drop(writer.stream(&front).expect("the stream"));
    for turn in 0..50 {
        let request = if turn % 2 == 0 { request(&front, -500, 10) } else { request(&name("back"), 0, 10) };
        assert!(writer.add_hold(request).is_err());
    }
    assert!(reported.try_recv().is_err(), "a refused hold made a round");
    writer.close().expect("closed");
    let options = WriterOptions { flush_interval: Duration::from_millis(10), ..WriterOptions::default() };
    let told = rounds.clone();
    let writer =
        Writer::open(&path, options, Box::new(move |round| _ = told.send(round.round))).expect("opened");
    let _before: Vec<_> = reported.try_iter().collect();
    for first in [30, 40, 50] {
        writer.add_hold(request(&front, first, 5)).expect("it is held");
    }
    writer.close().expect("closed");
    drop(rounds);
    let numbers: Vec<u64> = reported.iter().map(|round| round.0).collect();
    // The last round of all is that of closing, which is told at its end.
    let skipped = numbers.windows(2).rev().skip(1).find(|pair| pair[1] != pair[0] + 1);
    assert!(numbers.len() > 3 && skipped.is_none(), "not every round is told: {numbers:?}");
}

#[test]
fn a_full_queue_takes_no_more() {
    const LIMIT_BYTES: usize = 8 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let front = name("front");
    let options = WriterOptions {
        flush_interval: Duration::from_secs(3600),
        buffer_bytes: LIMIT_BYTES,
        ..WriterOptions::default()
    };
    let writer = Writer::open(&path, options, Box::new(|_| ())).expect("opened");
    let mut stream = configured(&writer, &front);
    let data = vec![Bytes::from(vec![7; 100_000])];
    let sample = |index| Sample { track: VIDEO, ticks: index, flags: SampleFlags::SYNC, data: data.clone() };
    let taken = (0..1000).take_while(|index| stream.push(sample(*index)).is_ok()).count();
    assert!(
        taken * 100_000 <= LIMIT_BYTES && (taken + 1) * 100_000 > LIMIT_BYTES,
        "{taken} samples were taken"
    );
    assert_eq!(stream.push(sample(2000)), Err(keha_fs::Rejected::Full));
    drop(stream);
    writer.close().expect("closed");
    let volume = Volume::open(&path).expect("a reader");
    assert_eq!(volume.stream(&front).expect("the stream").samples, taken as u64);
}
