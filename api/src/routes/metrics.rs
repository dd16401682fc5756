//! `/metrics`: what Prometheus asks for, collected when it asks.

use super::App;
use crate::control::{Camera, Drops, RoundTimes, StreamState, VolumeState};
use crate::gate::Administrator;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use keha_fs::{Health, StreamName, WallTime};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::fmt;

/// What the server itself tells: of which type, under which name, with which help.
type Family = (MetricType, &'static str, &'static str);

const DOWNLOADS: Family = (MetricType::Gauge, "downloads", "Downloads on their way");
const VIEWERS: Family = (MetricType::Gauge, "viewers", "Viewers of live video");
const CACHE: Family = (
    MetricType::Gauge,
    "cache_bytes",
    "Bytes of segments and pictures, and of what playlists are made from, that are kept",
);
const PREPARED: Family = (
    MetricType::Gauge,
    "prepared_bytes",
    "Bytes of memory that files take which are prepared to be downloaded",
);
const CHUNK_CACHE: Family =
    (MetricType::Gauge, "chunk_cache_bytes", "Bytes of memory that footage takes which was read and is kept");
const CHUNK_HITS: Family =
    (MetricType::Counter, "chunk_cache_hits", "How often footage that was wanted was kept in memory");
const CHUNK_MISSES: Family =
    (MetricType::Counter, "chunk_cache_misses", "How often footage that was wanted was not kept in memory");

const UNWRITTEN: Family = (
    MetricType::Counter,
    "events_unwritten",
    "Events that are told, and not written: the disk of the state directory did not answer",
);

/// What was counted, in OpenMetrics' text form. For administrators of all cameras: give Prometheus a token. The same at `/metrics` and
/// at `/api/v1/metrics`.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, description = "The metrics", content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn show(
    State(app): State<App>,
    Administrator(identity): Administrator,
) -> Result<Response, Problem> {
    let (cameras, volumes) = app.control(|control| Ok((control.cameras(), control.volumes()))).await?;
    let chunks = app.services.library.chunks();
    let (stored, kept_bytes) =
        app.read(identity.name.clone(), |app| Ok((stored(app), app.media.bytes()))).await?;
    let viewers = app.live.watched().values().sum::<usize>() as f64;
    let values = [
        (DOWNLOADS, app.downloads.count() as f64),
        (VIEWERS, viewers),
        (CACHE, kept_bytes as f64),
        (PREPARED, app.desk.bytes() as f64),
        (CHUNK_CACHE, chunks.bytes as f64),
        (CHUNK_HITS, chunks.hits as f64),
        (CHUNK_MISSES, chunks.misses as f64),
        (UNWRITTEN, app.services.events.unwritten() as f64),
    ];
    let of_server = values.into();
    let now = WallTime(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX));
    let mut registry = Registry::with_prefix("keha");
    registry.register_collector(Box::new(Scrape { cameras, volumes, stored, of_server, now }));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| Problem::internal(&error))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// What stands of a stream.
#[derive(Debug)]
struct Stored {
    name: StreamName,
    first: Option<WallTime>,
    last: Option<WallTime>,
    bytes: u64,
}

fn stored(app: &App) -> Vec<Stored> {
    let streams = app.snapshots().into_iter().flat_map(|snapshot| snapshot.streams.to_vec());
    let stored = streams.map(|stream| Stored {
        name: stream.name,
        first: stream.first,
        last: stream.last,
        bytes: stream.payload_bytes,
    });
    stored.collect()
}

#[derive(Debug)]
struct Scrape {
    cameras: Vec<Camera>,
    volumes: Vec<VolumeState>,
    stored: Vec<Stored>,
    of_server: Vec<(Family, f64)>,
    now: WallTime,
}

/// A number with the label it goes under.
type Value = (String, f64);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let streams = || self.cameras.iter().flat_map(|camera| &camera.streams);
        let of_streams = |value: fn(&crate::control::Stream) -> f64| {
            streams().map(|stream| (stream.name.to_string(), value(stream))).collect::<Vec<Value>>()
        };
        let recording =
            |stream: &crate::control::Stream| f64::from(u8::from(stream.state == StreamState::Recording));
        let counters = [
            ("samples", "Samples recorded", of_streams(|stream| stream.counts.samples as f64)),
            (
                "sample_bytes",
                "Bytes of the samples recorded",
                of_streams(|stream| stream.counts.bytes as f64),
            ),
            (
                "lost_packets",
                "RTP packets lost on the way",
                of_streams(|stream| stream.counts.lost_packets as f64),
            ),
            ("gaps", "Gaps begun", of_streams(|stream| stream.counts.gaps as f64)),
        ];
        for (name, help, values) in &counters {
            numbers(&mut encoder, MetricType::Counter, name, help, "stream", values)?;
        }
        let moved = |camera: &Camera| (camera.name.clone(), f64::from(u8::from(camera.moved.is_some())));
        let moved: Vec<Value> = self.cameras.iter().map(moved).collect();
        let help = "Whether the camera goes on elsewhere because its own volume failed: 1 or 0";
        numbers(&mut encoder, MetricType::Gauge, "camera_moved", help, "camera", &moved)?;
        self.drops(&mut encoder)?;
        self.states(&mut encoder)?;
        // Nothing is to come behind the newest footage of others: its age would say nothing but how late it is.
        let meant = streams().filter(|stream| stream.state != StreamState::Stopped);
        let meant: BTreeSet<&StreamName> = meant.map(|stream| &stream.name).collect();
        let newest = |stored: &Stored| stored.last.filter(|_| meant.contains(&stored.name));
        let since = |wall: Option<WallTime>| wall.map(|wall| self.now.since_ns(wall) as f64 / 1e9);
        let of_stored = |value: &dyn Fn(&Stored) -> Option<f64>| {
            self.stored
                .iter()
                .filter_map(|stored| Some((stored.name.to_string(), value(stored)?)))
                .collect::<Vec<Value>>()
        };
        let gauges = [
            ("recording", "Whether samples come: 1 or 0", of_streams(recording)),
            (
                "bytes_per_second",
                "Bytes a second over the last seconds",
                of_streams(|stream| stream.bits_per_second as f64 / 8.0),
            ),
            (
                "frames_per_second",
                "Pictures a second over the last seconds",
                of_streams(|stream| stream.frames_per_second),
            ),
            ("oldest_footage_seconds", "Age of the oldest footage", of_stored(&|stored| since(stored.first))),
            (
                "newest_footage_seconds",
                "Age of the newest footage on the disk of what is to be recorded: the watermark's lag",
                of_stored(&|stored| since(newest(stored))),
            ),
            ("stored_bytes", "Bytes of footage", of_stored(&|stored| Some(stored.bytes as f64))),
        ];
        for (name, help, values) in &gauges {
            numbers(&mut encoder, MetricType::Gauge, name, help, "stream", values)?;
        }
        for ((kind, name, help), value) in &self.of_server {
            let mut metric = encoder.encode_descriptor(name, help, None, *kind)?;
            match kind {
                MetricType::Counter => metric.encode_counter::<NoLabelSet, _, f64>(value, None)?,
                _ => metric.encode_gauge(value)?,
            }
        }
        self.volumes(&mut encoder)
    }
}

impl Scrape {
    /// What was left out, by stream and reason.
    fn drops(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let samples: fn(&Drops) -> u64 = |drops| drops.samples;
        let bytes: fn(&Drops) -> u64 = |drops| drops.bytes;
        let help = "Samples left out: the disk did not keep up, too large, not to be decoded";
        let families =
            [("dropped_samples", help, samples), ("dropped_bytes", "Bytes of the samples left out", bytes)];
        for (name, help, value) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for stream in self.cameras.iter().flat_map(|camera| &camera.streams) {
                for drops in &stream.drops {
                    let labels = [("stream", stream.name.as_str()), ("reason", drops.reason)];
                    let mut metric = family.encode_family(&labels)?;
                    metric.encode_counter::<NoLabelSet, _, f64>(&(value(drops) as f64), None)?;
                }
            }
        }
        Ok(())
    }

    /// What each stream is doing: what is stopped on purpose is told from what fails.
    fn states(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "What the stream is doing: 1 for that state, 0 for the others";
        let mut family = encoder.encode_descriptor("camera_state", help, None, MetricType::Gauge)?;
        for stream in self.cameras.iter().flat_map(|camera| &camera.streams) {
            for state in StreamState::NAMES {
                let labels = [("stream", stream.name.as_str()), ("state", state)];
                let value = f64::from(u8::from(stream.state.name() == state));
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn volumes(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let rounds = |value: fn(&keha_fs::RoundReport) -> f64| {
            let rounds = self
                .volumes
                .iter()
                .filter_map(|volume| Some((volume.name.clone(), value(volume.round.as_ref()?))));
            rounds.collect::<Vec<Value>>()
        };
        let well = |volume: &VolumeState| {
            let round = volume.round.as_ref().is_some_and(|round| round.health == Health::Good);
            (volume.name.clone(), f64::from(u8::from(round && volume.failed.is_none())))
        };
        let well: Vec<Value> = self.volumes.iter().map(well).collect();
        let written = rounds(|round| round.written_bytes as f64);
        numbers(
            encoder,
            MetricType::Counter,
            "volume_written_bytes",
            "Bytes written to the disk",
            "volume",
            &written,
        )?;
        let failovers = |volume: &VolumeState| (volume.name.clone(), volume.failovers as f64);
        let failovers: Vec<Value> = self.volumes.iter().map(failovers).collect();
        let help = "Cameras that went on elsewhere because the volume failed";
        numbers(encoder, MetricType::Counter, "volume_failovers", help, "volume", &failovers)?;
        let gauges = [
            ("volume_well", "Whether the volume is written as it should be: 1 or 0", well),
            (
                "volume_waiting_bytes",
                "Bytes that wait in memory for the disk",
                rounds(|round| round.waiting_bytes as f64),
            ),
            ("volume_holds", "Holds in force", rounds(|round| f64::from(round.holds.holds))),
            (
                "volume_held_blocks",
                "Blocks that holds keep",
                rounds(|round| f64::from(round.holds.held_blocks)),
            ),
            ("volume_lost_holds", "Holds that were lost", rounds(|round| f64::from(round.holds.lost))),
        ];
        for (name, help, values) in &gauges {
            numbers(encoder, MetricType::Gauge, name, help, "volume", values)?;
        }
        let help = "How long writing and flushing what is pending took, in seconds";
        let mut family =
            encoder.encode_descriptor("volume_round_seconds", help, None, MetricType::Histogram)?;
        for volume in &self.volumes {
            let RoundTimes { counts, longer, sum_s } = volume.rounds;
            let bounds = RoundTimes::BOUNDS_S.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.into_iter().chain([longer])).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = [("volume", volume.name.as_str())];
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// A family of numbers that differ by one label.
fn numbers(
    encoder: &mut DescriptorEncoder<'_>,
    kind: MetricType,
    name: &str,
    help: &str,
    label: &str,
    values: &[Value],
) -> Result<(), fmt::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (of, value) in values {
        let labels = [(label, of.as_str())];
        let mut metric = family.encode_family(&labels)?;
        match kind {
            MetricType::Counter => metric.encode_counter::<NoLabelSet, _, f64>(value, None)?,
            _ => metric.encode_gauge(value)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Control;
    use crate::testing::FakeControl;
    use keha_fs::{HoldRoom, RetentionReport, RoundNumber, RoundReport, ScrubReport};
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn encoded() -> String {
        let round = RoundReport {
            round: RoundNumber(7),
            at: WallTime(0),
            streams: Vec::new(),
            health: Health::Good,
            took: Duration::from_millis(3),
            waiting_bytes: 9,
            written_bytes: 10,
            writes: 1,
            blocks_taken: 0,
            holds: HoldRoom::default(),
            retention: RetentionReport::default(),
            scrub: ScrubReport::default(),
        };
        let mut rounds = RoundTimes::default();
        rounds.count(round.took);
        let (name, failed) = ("attic \"1\"".to_owned(), None);
        let second = Some(WallTime(1_000_000_000));
        let name_of = |camera: &Camera| camera.streams[0].name.clone();
        let mut cameras = FakeControl::default().cameras();
        let removed = StreamName::new("removed").expect("a name");
        let names = cameras.iter().map(name_of).chain([removed]);
        let stored = names.map(|name| Stored { name, first: second, last: second, bytes: 5 }).collect();
        let [door, yard] = &mut cameras[..] else { panic!("two cameras") };
        door.streams[0].state = StreamState::Stopped;
        yard.streams[0].state = StreamState::Waiting { retry_in: Duration::ZERO, reason: "no answer" };
        let volumes = vec![VolumeState { name, failed, io: None, round: Some(round), rounds, failovers: 1 }];
        let of_server =
            [DOWNLOADS, VIEWERS, CACHE, PREPARED, CHUNK_CACHE, CHUNK_HITS, CHUNK_MISSES, UNWRITTEN];
        let of_server = of_server.map(|family| (family, 1.0)).into();
        let mut registry = Registry::with_prefix("keha");
        let now = WallTime(3_000_000_000);
        registry.register_collector(Box::new(Scrape { cameras, volumes, stored, of_server, now }));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text
    }

    /// OpenMetrics 1.0: each family says what it is before its samples, and its samples are named as its type wants.
    #[test]
    fn what_is_told_is_openmetrics() {
        let text = encoded();
        assert!(text.ends_with("# EOF\n"));
        let (mut types, mut helps) = (BTreeMap::new(), BTreeSet::new());
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "EOF"] => {}
                ["#", "HELP", name, help] => assert!(helps.insert(name) && !help.is_empty(), "{line}"),
                ["#", "TYPE", name, kind] => assert!(types.insert(name, kind).is_none(), "{line}"),
                _ => {
                    let name = line.split(['{', ' ']).next().expect("a name");
                    let of = |(family, kind): (&&str, &&str)| {
                        let suffixes: &[&str] = match *kind {
                            "counter" => &["_total"],
                            "histogram" => &["_bucket", "_count", "_sum"],
                            _ => &[""],
                        };
                        suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(*family))
                    };
                    assert!(types.iter().any(of), "{line}");
                    let value = line.rsplit(' ').next().expect("a value");
                    assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
                }
            }
        }
        assert!(types.keys().copied().eq(helps), "each has both");
        assert!(text.contains("keha_oldest_footage_seconds{stream=\"door\"} 2"), "{text}");
        assert!(text.contains("volume=\"attic \\\"1\\\"\""), "{text}");
        assert!(text.contains("keha_volume_round_seconds_bucket{le=\"+Inf\",volume="), "{text}");
    }

    #[test]
    fn what_was_stopped_or_removed_is_told_from_what_fails_and_does_not_lag() {
        let text = encoded();
        let told = |family: &str| {
            let prefix = format!("keha_{family}{{");
            let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("} "));
            lines.collect::<Vec<(&str, &str)>>()
        };
        assert_eq!(told("newest_footage_seconds"), [("stream=\"yard\"", "2.0")], "{text}");
        assert_eq!(told("oldest_footage_seconds").len(), 3, "{text}");
        let states = told("camera_state");
        assert_eq!(states.len(), 2 * StreamState::NAMES.len());
        let on: Vec<&str> = states.iter().filter(|told| told.1 == "1.0").map(|told| told.0).collect();
        let expected = ["stream=\"door\",state=\"stopped\"", "stream=\"yard\",state=\"waiting\""];
        assert_eq!(on, expected, "{text}");
        assert!(text.contains("keha_chunk_cache_hits_total 1.0\n"), "{text}");
    }

    #[test]
    fn the_manual_lists_all_that_is_told_and_nothing_else() {
        let manual = include_str!("../../../docs/http.md");
        let (_, rest) = manual.split_once("| metric |").expect("a table of the metrics");
        let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
        let names = rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','));
        let listed: BTreeSet<&str> = names.map(|name| name.trim().trim_matches('`')).collect();
        let text = encoded();
        let told: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(listed, told);
    }
}
