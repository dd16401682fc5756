//! What a plan says beforehand is what the export does.

use super::super::plan::plan_from;
use super::memory::{MemoryArchive, MemoryStream};
use super::*;
use keha_fs::{BlockIndex, BlockState, BlockSummary, ChunkNumber, Sequence, StreamId, Uuid};

fn block(stream: &str, from_s: i64, to_s: i64, payload_bytes: u32) -> BlockSummary {
    BlockSummary {
        block: BlockIndex(0),
        state: BlockState::Sealed,
        sequence: Sequence(1),
        stream: Some(StreamId(Uuid::from_u128(stream.bytes().map(u128::from).sum()))),
        first_chunk: ChunkNumber(1),
        chunks: 1,
        wall_min: Some(NOON.plus_ns(from_s * SECOND_NS)),
        wall_max: Some(NOON.plus_ns(to_s * SECOND_NS)),
        samples: 1,
        sync_samples: 1,
        payload_bytes,
        used_bytes: payload_bytes,
        times_not_monotone: false,
        held: false,
    }
}

#[test]
fn a_plan_names_tracks_runs_gaps_and_size() {
    let front = MemoryStream::new("front").run(1, NOON, &AVC).run(2, NOON.plus_ns(60 * SECOND_NS), &AVC);
    let front = front.run(3, NOON.plus_ns(30 * SECOND_NS), &AVC);
    let archive = MemoryArchive::new(vec![front]);
    let blocks = [
        block("front", 0, 4, 4000),
        block("front", 30, 34, 900),
        block("back", 0, 4, 77),
        block("front", 60, 70, 100),
    ];
    let plan = plan_from(&archive, &blocks, &request(&["front"], Some(2 * SECOND_NS), None)).unwrap();
    let stream = &plan.streams[0];
    let said: Vec<_> = stream.spans.iter().map(|span| (span.run_number, span.overlaps)).collect();
    assert_eq!(said, [(1, false), (2, false), (3, true)]);
    assert_eq!(plan.files, 2);
    assert_eq!(stream.gaps.len(), 1);
    let tracks: Vec<_> =
        stream.tracks.iter().map(|track| (track.kind, track.codec.as_str(), track.width)).collect();
    assert_eq!(tracks, [("video", "avc1", 320), ("audio", "mp4a", 0)]);
    let expected = 2000 + 900 + 41;
    assert!(plan.estimated_bytes.abs_diff(expected) < 100, "{}", plan.estimated_bytes);
    assert_eq!(plan.first, NOON.plus_ns(2 * SECOND_NS));
    let exported = Exported::of(&archive, &request(&["front"], Some(2 * SECOND_NS), None));
    assert_eq!(exported.report().files.len(), plan.files);
}

#[test]
fn a_plan_fails_as_the_export_would() {
    let archive = MemoryArchive::new(vec![MemoryStream::new("front").run(1, NOON, &AVC)]);
    let plan = |request: &ExportRequest| plan_from(&archive, &[], request).unwrap_err().to_string();
    for request in [
        request(&["front"], Some(90 * SECOND_NS), None),
        request(&["back"], None, None),
        request(&["front"], Some(1), Some(0)),
    ] {
        assert_eq!(plan(&request), Exported::of(&archive, &request).error().to_string());
    }
}
