//! Damage, the ring's tail, and ranges with nothing in them.

use super::memory::{MemoryArchive, MemoryStream, Step, damage};
use super::*;
use keha_fs::{Item, SampleFlags, TrackNumber};

/// Replaces the n-th video sample by damage.
fn damaged(mut stream: MemoryStream, n: usize) -> MemoryStream {
    let video =
        |step: &Step| matches!(step, Step::Item(Item::Sample(sample)) if sample.track == TrackNumber(1));
    let steps = stream.steps().next().unwrap();
    let at = steps.iter().enumerate().filter(|(_, step)| video(step)).nth(n).unwrap().0;
    steps[at] = Step::Item(damage());
    stream
}

#[test]
fn damage_costs_the_damaged_sample_and_nothing_else() {
    for n in [0, 7, 99] {
        let stream = damaged(MemoryStream::new("front").run(1, NOON, &AVC), n);
        let samples = stream.samples();
        let exported = Exported::of(&MemoryArchive::new(vec![stream]), &request(&["front"], None, None));
        let report = exported.report();
        assert!(!report.is_complete());
        assert_eq!(report.damaged, 1);
        let blocks = super::support::verify::blocks(&exported.path("out.mkv"));
        assert!(blocks.iter().map(|block| &block.data).eq(samples.iter().map(|sample| &sample.data)));
        let manifest = &report.files[0].manifest;
        assert!(!manifest.complete);
        let met = &manifest.streams[0].damage[0];
        assert_eq!((met.what.as_str(), met.at, met.block), ("sample", 4096, Some(3)));
        assert_eq!((met.after.is_some(), met.before.is_some()), (n > 0, true), "sound follows");
    }
}

/// The stream as a ring leaves it: the first keyframe is gone, the rest of its GOP is not.
#[test]
fn pictures_whose_keyframe_the_ring_has_taken_are_left_out_and_counted() {
    let mut stream = MemoryStream::new("front").run(1, NOON, &AVC);
    let steps = stream.steps().next().unwrap();
    let first_key =
        |step: &Step| matches!(step, Step::Item(Item::Sample(sample)) if sample.track == TrackNumber(1));
    let at = steps.iter().position(first_key).unwrap();
    steps.remove(at);
    let exported = Exported::of(&MemoryArchive::new(vec![stream]), &request(&["front"], None, None));
    let blocks = exported.blocks("out.mkv");
    assert!(blocks.iter().find(|block| block.track == 1).unwrap().key);
    assert_eq!(exported.report().files[0].manifest.streams[0].undecodable_samples_left_out, 24);
    assert!(exported.report().is_complete());
}

fn passed_at_two_seconds() -> MemoryArchive {
    let mut stream = MemoryStream::new("front").run(1, NOON, &AVC);
    let steps = stream.steps().next().unwrap();
    let key = |step: &Step| matches!(step, Step::Item(Item::Sample(sample)) if sample.track == TrackNumber(1) && sample.flags.contains(SampleFlags::SYNC));
    let keys: Vec<_> = steps.iter().enumerate().filter(|(_, step)| key(step)).map(|(at, _)| at).collect();
    let Step::Item(Item::Sample(third)) = &steps[keys[2]] else { panic!("a sample") };
    let passed = Step::Passed { available_from: third.wall };
    // The ring has taken the second keyframe's GOP.
    steps.splice(keys[1]..keys[2], [passed]);
    MemoryArchive::new(vec![stream])
}

#[test]
fn all_of_a_stream_goes_on_behind_the_rings_tail_and_says_so() {
    let exported = Exported::of(&passed_at_two_seconds(), &request(&["front"], None, None));
    let blocks = exported.blocks("out.mkv");
    assert_eq!(blocks.iter().filter(|block| block.track == 1).count(), 75);
    let report = exported.report();
    assert_eq!((report.overwritten, report.is_complete()), (1, false));
    let overwritten = &report.files[0].manifest.streams[0].overwritten;
    assert!(overwritten[0].resumed_from.starts_with("2026-03-01T12:00:02"));
}

#[test]
fn a_range_the_ring_passes_is_an_error_that_names_what_is_left() {
    let exported = Exported::of(&passed_at_two_seconds(), &request(&["front"], Some(0), None));
    assert!(exported.names().is_empty(), "nothing is left behind");
    let said = exported.error().to_string();
    assert!(
        said.contains("front: overwritten by newer footage")
            && said.contains("available from 2026-03-01T12:00:02"),
        "{said}"
    );
}

#[test]
fn a_range_with_nothing_in_it_names_what_is_there() {
    let archive = MemoryArchive::new(vec![MemoryStream::new("front").run(1, NOON, &AVC)]);
    let exported = Exported::of(&archive, &request(&["front"], Some(-9 * SECOND_NS), Some(-8 * SECOND_NS)));
    assert!(exported.names().is_empty());
    assert!(matches!(exported.error(), Error::NotRecorded { .. }));
    let said = exported.error().to_string();
    assert!(
        said.contains("front from 2026-03-01T12:00:00.123456789Z to 2026-03-01T12:00:04.123456789Z"),
        "{said}"
    );
}

#[test]
fn a_stream_without_footage_beside_one_that_has_is_named() {
    let front = MemoryStream::new("front").run(1, NOON, &AVC);
    let back = MemoryStream::new("back").run(2, NOON.plus_ns(100 * SECOND_NS), &AVC);
    let exported = Exported::of(
        &MemoryArchive::new(vec![front, back]),
        &request(&["front", "back"], None, Some(50 * SECOND_NS)),
    );
    exported.blocks("out.mkv");
    assert_eq!(exported.report().streams_without_footage, [name("back")]);
}

#[test]
fn requests_that_do_not_work_out_are_refused() {
    let archive = MemoryArchive::new(vec![MemoryStream::new("front").run(1, NOON, &AVC)]);
    for (request, said) in [
        (request(&[], None, None), "no stream to export was named"),
        (request(&["front", "front"], None, None), "front is named twice"),
        (
            request(&["front"], Some(5), Some(5)),
            "the range ends (2026-03-01T12:00:00.123456794Z) before it begins (2026-03-01T12:00:00.123456794Z)",
        ),
        (request(&["back"], None, None), "no stream back in this volume; it has: others"),
    ] {
        let exported = Exported::of(&archive, &request);
        assert_eq!(exported.error().to_string(), said);
        assert!(exported.names().is_empty());
    }
}

#[test]
fn damage_behind_the_end_is_not_the_exports() {
    // The sample at 2 s and 7 frames; the range ends before it, and after it.
    let archive = |n| MemoryArchive::new(vec![damaged(MemoryStream::new("front").run(1, NOON, &AVC), n)]);
    let complete =
        |n| Exported::of(&archive(n), &request(&["front"], None, Some(2 * SECOND_NS))).report().is_complete();
    assert_eq!((complete(30), complete(57)), (false, true));
}

#[test]
fn an_output_that_fails_is_an_error_that_names_it() {
    let archive = MemoryArchive::new(vec![MemoryStream::new("front").run(1, NOON, &AVC)]);
    let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let result =
        export_from(&archive, &request(&["front"], None, None), Output::Pipe(&mut full), &mut |_| {
            ControlFlow::Continue(())
        });
    let said = result.unwrap_err().to_string();
    assert!(said.starts_with("-: cannot finish: No space left"), "{said}");
    let output = Output::File { path: "/nonexistent/out.mkv".into(), force: false };
    let result =
        export_from(&archive, &request(&["front"], None, None), output, &mut |_| ControlFlow::Continue(()));
    let said = result.unwrap_err().to_string();
    assert!(said.starts_with("/nonexistent/out.mkv: cannot create a file beside it: No such file"), "{said}");
}
