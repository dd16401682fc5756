//! The live line of a camera: its state, what it brings, how far it is safe on the disk.

use super::document::StreamStatus;
use crate::output::style::Style;
use crate::units::duration;
use keha_fs::{RoundReport, WallTime};
use std::time::Duration;

/// A line for each camera, and one for the volume.
pub(super) fn lines(
    streams: &[StreamStatus],
    round: Option<&RoundReport>,
    now: WallTime,
    width: usize,
    colour: bool,
) -> Vec<String> {
    let name_width = streams.iter().map(|stream| stream.camera.chars().count()).max().unwrap_or(0);
    streams
        .chunk_by(|a, b| a.camera == b.camera)
        .map(|camera| line(camera, round, now, name_width, width, colour))
        .collect()
}

fn line(
    camera: &[StreamStatus],
    round: Option<&RoundReport>,
    now: WallTime,
    name_width: usize,
    width: usize,
    colour: bool,
) -> String {
    let name = camera.first().map_or("", |stream| stream.camera.as_str());
    // A camera is as well as the worst of its streams.
    let troubled = camera.iter().find(|stream| stream.state != "recording");
    let (state, style) = match troubled {
        None => ("recording".to_owned(), Style::Green),
        Some(stream) => (trouble(stream, now), if stream.samples == 0 { Style::Red } else { Style::Yellow }),
    };
    let bits: u64 = camera.iter().map(|stream| stream.bits_per_second).sum();
    let samples: u64 = camera.iter().map(|stream| stream.samples).sum();
    let dropped: u64 = camera.iter().map(|stream| stream.dropped_samples).sum();
    let mut rest = format!("{:>7.2} Mbit/s  {samples:>9} samples", bits as f64 / 1e6);
    if dropped > 0 {
        rest.push_str(&format!("  {dropped} left out"));
    }
    if let Some(safe) = safe_to(camera, round) {
        let age = u64::try_from(now.since_ns(safe)).map(Duration::from_nanos).unwrap_or_default();
        rest.push_str(&format!("  safe to {:.1}s ago", age.as_secs_f64()));
    }
    let room = width.saturating_sub(name_width + rest.chars().count() + 4).max(9);
    let state: String = state.chars().take(room).collect();
    let padded = format!("{state:<9}");
    format!("{name:<name_width$}  {}  {rest}", style.paint(&padded, colour))
}

fn trouble(stream: &StreamStatus, now: WallTime) -> String {
    let since = u64::try_from(now.since_ns(stream.since.0)).ok().map(Duration::from_nanos);
    let mut text = stream.reason.unwrap_or(stream.state).to_owned();
    if let Some(since) = since.filter(|since| since.as_secs() > 0) {
        text.push_str(&format!(" for {}", duration::show(Duration::from_secs(since.as_secs()))));
    }
    if let Some(error) = &stream.last_error {
        text.push_str(&format!(": {error}"));
    }
    text
}

/// The earliest moment up to which the camera's video tracks are on the disk.
fn safe_to(camera: &[StreamStatus], round: Option<&RoundReport>) -> Option<WallTime> {
    let durable =
        round?.streams.iter().filter(|durable| camera.iter().any(|s| s.name == durable.name.as_str()));
    durable.filter_map(|stream| stream.tracks.iter().map(|track| track.wall).max()).min()
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{round, stream_status};
    use super::*;
    use keha_fs::Health;

    #[test]
    fn there_is_one_line_a_camera_and_it_tells_the_worst_of_its_streams() {
        let mut main = stream_status();
        main.name = "front".into();
        main.state = "recording";
        let streams = [main.clone(), stream_status()];
        let round = round(Health::Good);
        let now = round.at.plus(Duration::from_millis(1500));
        let both = lines(&streams, Some(&round), now, 100, false);
        assert_eq!(
            both,
            [
                "front  connection lost for 1s: reset by peer     8.00 Mbit/s        500 samples  safe to 1.5s ago"
            ]
        );
        let well = lines(&[main], Some(&round), now, 100, false);
        assert_eq!(well, ["front  recording     4.00 Mbit/s        250 samples  safe to 1.5s ago"]);
    }

    #[test]
    fn a_line_fits_the_terminal() {
        let mut stream = stream_status();
        stream.last_error = Some("x".repeat(500));
        let drawn = lines(&[stream], None, WallTime(0), 80, false);
        assert!(drawn.iter().all(|line| line.chars().count() <= 80), "{drawn:?}");
    }
}
