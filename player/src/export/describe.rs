//! What an exported file says of itself: its manifest and its tags, from the same facts.

use crate::export::feed_log::FeedLog;
use crate::export::manifest::{
    ConfigurationUse, FileFacts, Manifest, Requested, RunRecord, SCHEMA, StreamRecord, TrackRecord,
    VolumeFacts,
};
use crate::export::part::{PartStream, track_uid};
use crate::mkv::{Finished, TICK_NS, Tag, Tags};
use crate::time::{now, rfc3339};
use keha_fs::{RunId, StreamName, TimeRange, TrackKind, TrackNumber, VolumeInfo, WallTime};

/// The most runs and gaps that are tagged one by one; all of them are in the manifest.
const EACH_TAGS_MAX: usize = 200;

/// The request as understood.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub streams: Vec<StreamName>,
    pub range: TimeRange,
    pub run: Option<RunId>,
}

/// The record of one stream, when its last sample is in the file.
pub(crate) fn stream_record(stream: PartStream, log: &FeedLog, asked: &Asked) -> StreamRecord {
    let first = stream
        .tracks
        .values()
        .filter(|track| track.samples > 0)
        .map(|track| track.first)
        .min()
        .unwrap_or_default();
    let last = stream
        .tracks
        .values()
        .filter(|track| track.samples > 0)
        .map(|track| track.last)
        .max()
        .unwrap_or_default();
    let runs = stream.runs.iter().map(|run| RunRecord {
        run: run.run.to_string(),
        first: rfc3339(run.first),
        last: rfc3339(run.last),
        samples: run.samples,
        clock: log.clock(run.run),
    });
    let configurations = stream
        .configurations
        .iter()
        .map(|(hash, from)| ConfigurationUse { hash: hash.to_string(), from: rfc3339(*from) });
    StreamRecord {
        name: stream.name().to_string(),
        camera: stream.name().camera().to_owned(),
        id: stream.id().to_string(),
        first: rfc3339(first),
        last: rfc3339(last),
        preroll_ns: asked.range.from.map_or(0, |from| from.since_ns(first).max(0)),
        samples: stream.samples,
        bytes: stream.bytes,
        transport_loss_samples: stream.transport_loss_samples,
        signed_samples: stream.signed_samples,
        undecodable_samples_left_out: log.undecodable_samples,
        tracks_left_out: log.tracks_left_out(),
        tracks: track_records(&stream),
        configurations: configurations.collect(),
        runs: runs.collect(),
        gaps: log.gaps().collect(),
        damage: log.damage_met().to_vec(),
        overwritten: log.overwritten.clone(),
        ranges: stream.ranges.finish(),
    }
}

fn track_records(stream: &PartStream) -> Vec<TrackRecord> {
    let used = stream.tracks.iter().filter(|(_, track)| track.samples > 0);
    used.filter_map(|(number, track)| {
        let configuration = stream.configuration().track(*number)?;
        Some(TrackRecord {
            mkv_track: track.number,
            track: number.0,
            kind: kind_text(configuration.kind).to_owned(),
            codec: String::from_utf8_lossy(&configuration.codec).into_owned(),
            timescale: configuration.timescale,
            width: configuration.width,
            height: configuration.height,
            channels: configuration.channels,
            sample_rate: configuration.sample_rate,
            samples: track.samples,
            sync_samples: track.sync_samples,
            bytes: track.bytes,
            first: rfc3339(track.first),
            last: rfc3339(track.last),
        })
    })
    .collect()
}

/// A track's kind in words.
pub(crate) fn kind_text(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Video => "video",
        TrackKind::Audio => "audio",
        TrackKind::Metadata => "metadata",
    }
}

/// The manifest of a finished file.
pub(crate) fn manifest(
    name: String,
    part: usize,
    begins_because: Option<String>,
    finished: &Finished,
    info: &VolumeInfo,
    asked: &Asked,
    streams: Vec<StreamRecord>,
) -> Manifest {
    let whole = |stream: &StreamRecord| {
        stream.overwritten.is_empty() && stream.damage.iter().all(|damage| !damage.footage_lost)
    };
    Manifest {
        schema: SCHEMA.to_owned(),
        keha_version: env!("CARGO_PKG_VERSION").to_owned(),
        created: rfc3339(now()),
        file: FileFacts {
            name,
            bytes: finished.bytes,
            blake3: finished.hash.to_hex().to_string(),
            container: "matroska".to_owned(),
            timestamp_scale_ns: TICK_NS.unsigned_abs(),
            segment_uuid: finished.segment_uuid.to_string(),
            time_zero: rfc3339(finished.origin),
            part,
            begins_because,
            samples_moved: finished.blocks_moved,
        },
        volume: VolumeFacts {
            id: info.id.to_string(),
            label: info.label.clone(),
            format_version: info.format_version,
        },
        requested: Requested {
            streams: asked.streams.iter().map(ToString::to_string).collect(),
            from: asked.range.from.map(rfc3339),
            to: asked.range.to.map(rfc3339),
            run: asked.run.map(|run| run.to_string()),
        },
        complete: streams.iter().all(whole),
        streams,
    }
}

/// The tags of a file that holds `streams` and begins at `origin`.
pub(crate) fn tags(
    info: &VolumeInfo,
    asked: &Asked,
    part: usize,
    origin: WallTime,
    streams: &[(keha_fs::StreamId, StreamRecord)],
) -> Tags {
    let open = || "all".to_owned();
    let mut file: Vec<Tag> = vec![
        ("DATE_RECORDED".into(), rfc3339(origin)),
        ("KEHA_VERSION".into(), env!("CARGO_PKG_VERSION").to_owned()),
        ("KEHA_VOLUME_ID".into(), info.id.to_string()),
        ("KEHA_REQUESTED_FROM".into(), asked.range.from.map_or_else(open, rfc3339)),
        ("KEHA_REQUESTED_TO".into(), asked.range.to.map_or_else(open, rfc3339)),
        ("KEHA_PART".into(), part.to_string()),
    ];
    if !info.label.is_empty() {
        file.push(("KEHA_VOLUME_LABEL".into(), info.label.clone()));
    }
    let preroll_ns = asked.range.from.map_or(0, |from| from.since_ns(origin).max(0));
    file.push(("KEHA_PREROLL_NS".into(), preroll_ns.to_string()));
    let tracks = streams.iter().flat_map(|(id, stream)| {
        stream.tracks.iter().enumerate().map(move |(index, track)| {
            let uid = track_uid(*id, TrackNumber(track.track));
            (uid, track_tags(stream, track, index == 0))
        })
    });
    Tags { file, tracks: tracks.collect() }
}

fn track_tags(stream: &StreamRecord, track: &TrackRecord, with_gaps: bool) -> Vec<Tag> {
    let mut tags: Vec<Tag> = vec![
        ("KEHA_CAMERA".into(), stream.camera.clone()),
        ("KEHA_STREAM".into(), stream.name.clone()),
        ("KEHA_STREAM_ID".into(), stream.id.clone()),
        ("KEHA_FIRST_SAMPLE".into(), track.first.clone()),
        ("KEHA_LAST_SAMPLE".into(), track.last.clone()),
        ("KEHA_SAMPLES".into(), track.samples.to_string()),
        ("KEHA_PREROLL_NS".into(), stream.preroll_ns.to_string()),
    ];
    if !with_gaps {
        return tags;
    }
    for (number, run) in (1..).zip(stream.runs.iter().take(EACH_TAGS_MAX)) {
        let clock = &run.clock;
        tags.push((
            format!("KEHA_RUN_{number}").into(),
            format!("{} from {} to {}", run.run, run.first, run.last),
        ));
        tags.push((
            format!("KEHA_CLOCK_{number}").into(),
            format!(
                "{}, uncertainty {} us, camera minus recorder {} ns to {} ns",
                if clock.sources.is_empty() { "unknown".to_owned() } else { clock.sources.join(" and ") },
                clock.uncertainty_us_max,
                clock.camera_offset_ns_first,
                clock.camera_offset_ns_last
            ),
        ));
    }
    for (number, gap) in (1..).zip(stream.gaps.iter().take(EACH_TAGS_MAX)) {
        let to = gap.to.as_deref().unwrap_or("now");
        tags.push((
            format!("KEHA_GAP_{number}").into(),
            format!("{} from {} to {to}, {} samples lost", gap.reason, gap.from, gap.samples_lost),
        ));
    }
    tags.push(("KEHA_GAPS".into(), stream.gaps.len().to_string()));
    let lost = stream.damage.iter().filter(|damage| damage.footage_lost).count();
    tags.push(("KEHA_DAMAGED".into(), lost.to_string()));
    tags.push(("KEHA_OVERWRITTEN".into(), stream.overwritten.len().to_string()));
    tags
}
