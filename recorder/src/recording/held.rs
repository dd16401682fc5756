//! The first samples of a run, held back until its clock and its configurations are known.

use super::MediaSample;
use crate::clock::track::{Step, step};
use crate::clock::{Moment, NS_PER_MS, NS_PER_S, ns_to_ticks, ticks_to_ns};
use keha_fs::{TrackConfiguration, TrackNumber};

/// How long a run's first samples are held back.
const HOLD_NS: i64 = 200 * NS_PER_MS;
/// How long, where a track's configuration is still missing. It comes with the first keyframe.
const HOLD_UNCONFIGURED_NS: i64 = 5 * NS_PER_S;
/// How many bytes, whatever is missing.
const HOLD_BYTES_MAX: usize = 16 << 20;
/// How many samples and configurations, whatever is missing: each costs more than its bytes.
const HOLD_ITEMS_MAX: usize = 4096;

/// Samples and configurations in the order in which they came.
#[derive(Debug)]
pub(super) struct Held {
    since: Moment,
    items: Vec<HeldItem>,
    bytes: usize,
}

/// What is held back.
#[derive(Debug)]
pub(super) enum HeldItem {
    /// The following samples of a track need this.
    Configuration(TrackConfiguration),
    /// A sample.
    Sample(MediaSample),
}

impl Held {
    pub(super) fn new(first: MediaSample) -> Held {
        Held { since: first.arrival, bytes: first.bytes, items: vec![HeldItem::Sample(first)] }
    }

    pub(super) fn push(&mut self, item: HeldItem) {
        if let HeldItem::Sample(sample) = &item {
            self.bytes += sample.bytes;
        }
        self.items.push(item);
    }

    /// Whether it is time to let go.
    pub(super) fn is_due(&self, now: Moment, all_configured: bool) -> bool {
        let held_ns = now.since_ns(self.since);
        let enough_ns = if all_configured { HOLD_NS } else { HOLD_UNCONFIGURED_NS };
        held_ns >= enough_ns || self.bytes > HOLD_BYTES_MAX || self.items.len() >= HOLD_ITEMS_MAX
    }

    /// Lets what is held of a track, whose timescale is given, lead up to `next`. If the media clock jumped between them, the
    /// newest time is believed: the first one of a session is sometimes stale.
    pub(super) fn follow(&mut self, next: &MediaSample, timescale: u32) {
        let Some(last) = self.samples().filter(|sample| sample.track == next.track).last() else { return };
        let media_ticks = next.ticks.saturating_sub(last.ticks);
        let arrived_ns = next.arrival.since_ns(last.arrival);
        if step(ticks_to_ns(media_ticks, timescale), arrived_ns) == Step::Steady {
            return;
        }
        let shift = media_ticks.saturating_sub(ns_to_ticks(arrived_ns.max(NS_PER_MS), timescale));
        for item in &mut self.items {
            if let HeldItem::Sample(sample) = item
                && sample.track == next.track
            {
                sample.ticks = sample.ticks.saturating_add(shift);
            }
        }
    }

    /// The configuration that is held for `track`, the newest.
    pub(super) fn configuration(&self, track: TrackNumber) -> Option<&TrackConfiguration> {
        self.items.iter().rev().find_map(|item| match item {
            HeldItem::Configuration(held) if held.track == track => Some(held),
            _ => None,
        })
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = &MediaSample> {
        self.items.iter().filter_map(|item| match item {
            HeldItem::Sample(sample) => Some(sample),
            HeldItem::Configuration(_) => None,
        })
    }

    /// For each track the configuration that its first sample needs, where one is held.
    pub(super) fn first_configurations(&self) -> Vec<TrackConfiguration> {
        let mut begun: Vec<TrackNumber> = Vec::new();
        let mut first: Vec<TrackConfiguration> = Vec::new();
        for item in &self.items {
            match item {
                HeldItem::Sample(sample) => begun.push(sample.track),
                HeldItem::Configuration(track) if !begun.contains(&track.track) => first.push(track.clone()),
                HeldItem::Configuration(_) => {}
            }
        }
        first
    }

    pub(super) fn into_items(self) -> Vec<HeldItem> {
        self.items
    }
}
