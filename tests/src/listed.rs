//! What timelines list, and whether it is there: footage with samples exactly at both ends, and pictures of moments in between.
//!
//! Must not live here: what happens to the server between a listing and the next.

use crate::http::Client;
use crate::probe;
use crate::serving::{moment_ns, moment_text};
use anyhow::{Context, Result, bail};
use rand::RngExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Matroska tells times in milliseconds, of a file whose first moment is told exactly.
const ROUNDED_NS: i64 = 1_000_000;
/// The longest that samples may be shown or heard before the first picture, behind which they were stored.
const LEAD_NS_MAX: i64 = 500_000_000;

/// The times with footage of each camera's main stream, Unix nanoseconds, each with its first picture and its last sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// By camera.
    pub recorded: BTreeMap<String, Vec<(i64, i64)>>,
}

impl Listed {
    /// What the server lists now, of all cameras.
    pub fn now(client: &Client) -> Result<Listed> {
        let mut recorded = BTreeMap::new();
        for document in client.json("/api/v1/timeline")?.as_array().context("no timelines")? {
            let camera = document["camera"].as_str().context("no camera")?.to_owned();
            if !document["next"].is_null() {
                bail!("{camera}: more ranges than one answer holds");
            }
            recorded.insert(camera, ranges(&document["recorded"])?);
        }
        Ok(Listed { recorded })
    }

    /// Whether all this is still listed `later`.
    pub fn is_kept(&self, later: &Listed) -> Result<()> {
        for (camera, ranges) in &self.recorded {
            let there = later.recorded.get(camera).map_or(&[][..], Vec::as_slice);
            for (from, to) in ranges {
                if !there.iter().any(|(first, last)| first <= from && to <= last) {
                    bail!(
                        "{camera}: {} to {} was listed, and is not any more: {there:?}",
                        moment_text(*from)?,
                        moment_text(*to)?
                    );
                }
            }
        }
        Ok(())
    }

    /// Every range that this lists and `before` did not: what is at its ends, by [`is_footage`]. Answers how many.
    pub fn is_all_footage(
        &self,
        client: &Client,
        before: &Listed,
        dir: &Path,
        chance: &mut impl rand::Rng,
    ) -> Result<usize> {
        let mut count = 0;
        for (camera, ranges) in &self.recorded {
            let known = before.recorded.get(camera).map_or(&[][..], Vec::as_slice);
            for range in ranges.iter().filter(|range| !known.contains(range)) {
                is_footage(client, camera, *range, dir, chance)
                    .with_context(|| format!("{camera}: {range:?}, listed"))?;
                count += 1;
            }
        }
        Ok(count)
    }
}

fn ranges(recorded: &Value) -> Result<Vec<(i64, i64)>> {
    let ranges = recorded.as_array().context("no ranges")?;
    ranges.iter().map(|range| Ok((moment_ns(&range["from"])?, moment_ns(&range["to"])?))).collect()
}

/// A range of a camera is footage whose first sample is at its beginning and whose last one is at its end, and a picture of a moment
/// in it is one of its pictures, the last one before it that can be decoded by itself.
pub fn is_footage(
    client: &Client,
    camera: &str,
    (from, to): (i64, i64),
    dir: &Path,
    chance: &mut impl rand::Rng,
) -> Result<()> {
    let stream = format!("/api/v1/cameras/{camera}/streams/main");
    // The end is exclusive, and the last sample belongs to it.
    let query = format!("from={}&to={}", moment_text(from)?, moment_text(to + 1)?);
    let answer = client.get(&format!("{stream}/footage?{query}&format=mkv"))?.with_status(200)?;
    let told = answer.header("x-keha-moment").context("no moment")?;
    let began = moment_ns(&json!(told))?;
    let path = dir.join("listed.mkv");
    std::fs::write(&path, &answer.body)?;
    let mkv = probe::read_mkv(&path)?;
    let times = |time_ns: u64| began + time_ns as i64;
    let video = &mkv.video()?.frames;
    let first = times(video.first().context("no pictures")?.time_ns);
    let all = mkv.tracks.iter().flat_map(|track| &track.frames);
    let last = all.map(|frame| times(frame.time_ns)).max().context("no samples")?;
    // Sound that was stored behind the first picture may have begun a little before it, and pictures may lead it.
    let before_ns = first - began;
    if !(0..LEAD_NS_MAX).contains(&before_ns)
        || (first - from).abs() > ROUNDED_NS
        || (last - to).abs() > ROUNDED_NS
    {
        bail!("a file from {began} on with pictures from {first} and samples to {last}");
    }
    let at = chance.random_range(from..=to);
    let picture =
        client.get(&format!("{stream}/snapshot.jpg?at={}&width=160", moment_text(at)?))?.with_status(200)?;
    let told = moment_ns(&json!(picture.header("x-keha-moment").context("no moment of the picture")?))?;
    let keyframes: Vec<i64> =
        video.iter().filter(|frame| frame.keyframe).map(|frame| times(frame.time_ns)).collect();
    if told > at || !is_last_before(told, at, &keyframes) {
        bail!("at {at}: a picture of {told}, of keyframes {keyframes:?}");
    }
    Ok(())
}

/// Whether a moment is that of a keyframe, and no other one comes between it and `at`. The times of keyframes are rounded: one that is as
/// near to `at` as that may be behind it.
fn is_last_before(told: i64, at: i64, keyframes: &[i64]) -> bool {
    let is_it = |time: &i64| (told - time).abs() <= ROUNDED_NS;
    let is_between = |time: &i64| *time > told + ROUNDED_NS && *time < at - ROUNDED_NS;
    keyframes.iter().any(is_it) && !keyframes.iter().any(is_between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_keyframe_before_a_moment_is_told_from_others_as_far_as_times_are_rounded() {
        let keyframes = [1_000_000_000, 2_000_000_000, 3_000_000_000];
        let is = |told, at| is_last_before(told, at, &keyframes);
        assert!(is(2_000_400_000, 2_900_000_000) && is(1_999_600_000, 2_000_000_000));
        // By a third of a millisecond it may be before the third one, or behind it.
        assert!(is(2_000_000_000, 3_000_300_000) && is(3_000_000_000, 3_000_300_000));
        assert!(!is(2_000_000_000, 3_001_100_000), "the third one is nearer");
        assert!(!is(2_002_000_000, 2_900_000_000), "there is none");
    }
}
