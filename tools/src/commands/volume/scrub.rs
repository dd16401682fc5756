//! How the background verification is shown: in documents, in `volume info` and `status`, and what a recorder says of it.

use crate::output::document::Moment;
use crate::units::{duration, size, time};
use jiff::tz::TimeZone;
use keha_fs::{BlockIndex, ScrubDamage, ScrubPass, ScrubReport, Sequence, StreamId, WallTime};
use serde::Serialize;
use std::collections::BTreeMap;

/// How far it is, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ScrubDocument {
    /// Seconds in which all is verified once; none where no recorder does so now.
    every_s: Option<u64>,
    /// The pass under way.
    pass: Option<PassDocument>,
    /// The last pass that ended.
    last: Option<PassDocument>,
    /// So many blocks the pass under way has gone over,
    blocks_done: u32,
    /// of so many.
    blocks: u32,
    /// Blocks that were found damaged last, the newest first.
    damaged: Vec<DamageDocument>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct PassDocument {
    number: u32,
    began: Moment,
    ended: Option<Moment>,
    /// Blocks verified, and their bytes.
    blocks: u32,
    bytes: u64,
    /// Blocks found damaged, the places in them, and how many of these cost footage.
    damaged: u32,
    places: u32,
    footage_lost: u32,
}

/// A damaged block, here and as an event of a recorder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DamageDocument {
    block: u32,
    stream: String,
    /// Where the first damaged place is, in bytes of the volume.
    at: u64,
    places: u32,
    footage_lost: u32,
    from: Moment,
    to: Moment,
    /// When it was found.
    found: Moment,
}

impl ScrubDocument {
    /// The document of a report; streams are named by `name`.
    pub(crate) fn new(report: &ScrubReport, name: impl Fn(StreamId) -> String) -> ScrubDocument {
        ScrubDocument {
            every_s: report.every.map(|every| every.as_secs()),
            pass: report.pass.as_ref().map(PassDocument::new),
            last: report.last.as_ref().map(PassDocument::new),
            blocks_done: report.blocks_done,
            blocks: report.blocks,
            damaged: report.damaged.iter().map(|damage| DamageDocument::new(damage, &name)).collect(),
        }
    }
}

impl PassDocument {
    fn new(pass: &ScrubPass) -> PassDocument {
        PassDocument {
            number: pass.number,
            began: Moment(pass.began),
            ended: pass.ended.map(Moment),
            blocks: pass.blocks,
            bytes: pass.bytes,
            damaged: pass.damaged,
            places: pass.places,
            footage_lost: pass.footage_lost,
        }
    }
}

impl DamageDocument {
    pub(crate) fn new(damage: &ScrubDamage, name: impl Fn(StreamId) -> String) -> DamageDocument {
        DamageDocument {
            block: damage.block.0,
            stream: name(damage.stream),
            at: damage.at,
            places: damage.places,
            footage_lost: damage.footage_lost,
            from: Moment(damage.from),
            to: Moment(damage.to),
            found: Moment(damage.found),
        }
    }
}

/// The report for people.
pub(super) fn text(report: &ScrubReport, name: impl Fn(StreamId) -> String, zone: &TimeZone) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    match (&report.last, &report.pass) {
        (None, None) => line("scrub: never verified in the background".to_owned()),
        (last, pass) => {
            if let Some(last) = last {
                let ended = last.ended.map_or("-".to_owned(), |ended| time::local(ended, zone));
                line(format!("scrub: last pass ended {ended}, {}", found(last)));
            }
            if let Some(pass) = pass {
                let percent = 100.0 * f64::from(report.blocks_done) / f64::from(report.blocks.max(1));
                let began = time::local(pass.began, zone);
                let every = report.every.map(|every| format!(" (once in {})", duration::show(every)));
                let every = every.unwrap_or_default();
                line(format!(
                    "scrub: pass {} since {began}{every}, {percent:.0} % done, {}",
                    pass.number,
                    found(pass)
                ));
            }
        }
    }
    for damage in &report.damaged {
        line(format!("  {}", damage_line(damage, &name, zone)));
    }
    text
}

fn found(pass: &ScrubPass) -> String {
    let verified = format!("{} in {} blocks verified", size::show(pass.bytes), pass.blocks);
    match pass.damaged {
        0 => format!("{verified}, no damage"),
        damaged => format!(
            "{verified}, {damaged} damaged in {} places, {} of which cost footage",
            pass.places, pass.footage_lost
        ),
    }
}

/// A damaged block for people.
pub(crate) fn damage_line(
    damage: &ScrubDamage,
    name: impl Fn(StreamId) -> String,
    zone: &TimeZone,
) -> String {
    let (from, to) = (time::local(damage.from, zone), time::local(damage.to, zone));
    let lost = match damage.footage_lost {
        0 => "no footage lost".to_owned(),
        lost => format!("{lost} of which cost footage"),
    };
    format!(
        "damaged: stream {}, {from} to {to}, block {}, from byte {} on, {} places, {lost}",
        name(damage.stream),
        damage.block,
        damage.at,
        damage.places
    )
}

/// Tells damage once: what is new since the round before. What was found before this recorder began was told then.
#[derive(Debug)]
pub(crate) struct ScrubWatch {
    began: WallTime,
    /// Places counted so far of each damaged take.
    known: BTreeMap<(BlockIndex, Sequence), u32>,
}

impl ScrubWatch {
    /// Begins to watch, at this moment.
    pub(crate) fn new(began: WallTime) -> ScrubWatch {
        ScrubWatch { began, known: BTreeMap::new() }
    }

    /// What is new, the oldest first.
    pub(crate) fn round(&mut self, report: &ScrubReport) -> Vec<ScrubDamage> {
        let key = |damage: &ScrubDamage| ((damage.block, damage.sequence), damage.places);
        let now: BTreeMap<_, _> = report.damaged.iter().map(key).collect();
        let known = std::mem::replace(&mut self.known, now);
        let is_new = |damage: &&ScrubDamage| {
            let (take, places) = key(damage);
            known.get(&take).map_or(damage.found >= self.began, |before| *before < places)
        };
        report.damaged.iter().rev().filter(is_new).copied().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use keha_fs::Uuid;
    use std::time::Duration;

    const NOW: WallTime = WallTime(1_793_489_400_000_000_001);

    pub(crate) fn report() -> ScrubReport {
        let pass = ScrubPass {
            number: 4,
            began: NOW.plus_ns(-60_000_000_000),
            ended: None,
            blocks: 20,
            bytes: 20 << 20,
            damaged: 1,
            places: 3,
            footage_lost: 2,
        };
        let last = ScrubPass { number: 3, ended: Some(NOW), damaged: 0, places: 0, footage_lost: 0, ..pass };
        ScrubReport {
            every: Some(Duration::from_secs(30 * 86_400)),
            pass: Some(pass),
            last: Some(last),
            blocks_done: 25,
            blocks: 60,
            damaged: vec![damage(7, 3)],
        }
    }

    fn damage(block: u32, places: u32) -> ScrubDamage {
        ScrubDamage {
            block: BlockIndex(block),
            sequence: Sequence(9),
            stream: StreamId(Uuid::from_u128(9)),
            at: 123_456,
            places,
            footage_lost: 2,
            from: NOW.plus_ns(-9_000_000_000),
            to: NOW,
            found: NOW,
        }
    }

    #[test]
    fn the_text_is_as_published() {
        let name = |_| "front".to_owned();
        let never = text(&ScrubReport::default(), name, &TimeZone::UTC);
        insta::assert_snapshot!(never + &text(&report(), name, &TimeZone::UTC));
    }

    #[test]
    fn damage_is_told_once_and_again_only_when_there_is_more_of_it() {
        let mut watch = ScrubWatch::new(NOW);
        let of = |blocks: &[(u32, u32)]| ScrubReport {
            damaged: blocks
                .iter()
                .map(|(block, places)| ScrubDamage {
                    found: if *block == 1 { NOW.plus_ns(-1) } else { NOW },
                    ..damage(*block, *places)
                })
                .collect(),
            ..report()
        };
        for (blocks, told) in [
            (&[(1, 2)][..], &[][..]),
            (&[(1, 2)], &[]),
            (&[(5, 1), (3, 1), (1, 2)], &[3, 5]),
            (&[(1, 3), (5, 1), (3, 1)], &[1]),
            (&[], &[]),
        ] {
            let news: Vec<u32> = watch.round(&of(blocks)).iter().map(|damage| damage.block.0).collect();
            assert_eq!(news, told, "{blocks:?}");
        }
    }
}
