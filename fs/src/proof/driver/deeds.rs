//! What the recorder can be told to do: samples, runs, configurations, gaps, parking; by script or at random.

use super::{Driver, Feed};
use crate::gap::{Gap, GapReason};
use crate::proof::Verdict;
use crate::proof::material::{AUDIO, BEGIN, Pushed, Run, VIDEO, configuration};
use crate::proof::oracle::Entry;
use crate::sample::SampleFlags;
use crate::types::{ConfigurationHash, RunId, Uuid, WallTime};
use crate::writer::{Input, StoredConfiguration};
use std::sync::Arc;

impl Driver {
    pub(super) fn feed(&mut self, which: usize) -> Verdict<&mut Feed> {
        let count = self.feeds.len().max(1);
        self.feeds.get_mut(which % count).ok_or_else(|| "no stream yet".to_owned())
    }

    fn give(&mut self, which: usize, input: Input) -> Verdict {
        let index = self.feed(which)?.index;
        self.engine()?.accept(index, input);
        Ok(())
    }

    fn note(&mut self, which: usize, entry: Entry) -> Verdict {
        let name = self.feed(which)?.name.clone();
        self.model.streams.entry(name).or_default().entries.push(entry);
        Ok(())
    }

    /// A stream is configured (anew).
    pub(in crate::proof) fn configure(&mut self, which: usize, variant: u64) -> Verdict {
        let feed = self.feed(which)?;
        feed.variant = variant;
        let configuration = configuration(&feed.camera, variant);
        let (bytes, hash) = configuration.stored();
        feed.configuration = hash;
        let video = if feed.camera.video { vec![VIDEO] } else { Vec::new() };
        self.model.configurations.insert(hash, configuration);
        self.give(which, Input::Configure(Arc::new(StoredConfiguration { bytes, hash, video })))
    }

    /// A stream begins a run.
    pub(in crate::proof) fn begin_run(&mut self, which: usize) -> Verdict {
        let (high, low) = (self.rng.next_u64(), self.rng.next_u64());
        let run = Run {
            id: RunId(Uuid::from_u64_pair(high, low)),
            offset_ns: match self.on_time {
                true => {
                    crate::clock::Clock::wall(&*self.clock).since_ns(BEGIN)
                        - (self.numbers as i64) * 1_000_000
                }
                false => (self.rng.below(7) as i64 - 3) * 3_600_000_000_000,
            },
        };
        let late = self.rng.below(8) == 0;
        let feed = self.feed(which)?;
        feed.run = Some(run);
        // A stream may begin in the middle of a GOP.
        feed.since_keyframe = if late { 1 } else { 0 };
        self.give(which, Input::Run(run.id))?;
        self.anchor(which)
    }

    /// A stream that has a configuration begins a run.
    pub(in crate::proof) fn begin_configured_run(&mut self, which: usize) -> Verdict {
        self.begin_run(which)?;
        let feed = self.feed(which)?;
        if feed.configuration == ConfigurationHash::default() {
            feed.run = None;
        }
        Ok(())
    }

    /// A stream's clock anchors are given anew.
    pub(in crate::proof) fn anchor(&mut self, which: usize) -> Verdict {
        let ticks = self.numbers as i64;
        let feed = self.feed(which)?;
        feed.anchored = ticks;
        let feed = feed.clone();
        let Some(run) = feed.run else { return Ok(()) };
        if feed.camera.video {
            self.give(which, Input::Anchor(run.anchor(VIDEO, ticks)))?;
        }
        if feed.camera.audio {
            self.give(which, Input::Anchor(run.anchor(AUDIO, ticks)))?;
        }
        Ok(())
    }

    /// A stream gets one sample of this size.
    pub(in crate::proof) fn push(&mut self, which: usize, length: usize) -> Verdict {
        let feed = self.feed(which)?;
        if feed.run.is_none() {
            let variant = feed.variant;
            self.configure(which, variant)?;
            self.begin_run(which)?;
        }
        self.numbers += 1 + self.rng.below(3) as u64;
        let (number, sound) = (self.numbers, self.rng.below(3) == 0);
        let feed = self.feed(which)?;
        let track = if feed.camera.audio && (sound || !feed.camera.video) { AUDIO } else { VIDEO };
        let mut flags = SampleFlags::SYNC;
        if track == VIDEO {
            if feed.since_keyframe % feed.camera.gop != 0 {
                flags = if number % 3 == 0 { SampleFlags::DISCARDABLE } else { SampleFlags::default() };
            }
            feed.since_keyframe += 1;
        }
        let pushed = Pushed {
            number,
            track,
            flags,
            length: length.max(1),
            run: feed.run.unwrap_or_default(),
            configuration: feed.configuration,
            anchored: feed.anchored,
        };
        self.give(which, Input::Sample(pushed.sample()))?;
        self.note(which, Entry::Sample(pushed))
    }

    /// A stream gets a sample that begins a GOP, or (`false`) one that does not.
    pub(in crate::proof) fn push_as(&mut self, which: usize, length: usize, sync: bool) -> Verdict {
        let feed = self.feed(which)?;
        match sync {
            true => feed.since_keyframe = 0,
            false if feed.since_keyframe.is_multiple_of(feed.camera.gop) => feed.since_keyframe += 1,
            false => {}
        }
        self.push(which, length)
    }

    /// A stream gets a sample of a random size.
    pub(in crate::proof) fn push_any(&mut self, which: usize) -> Verdict {
        let usual = self.feed(which)?.camera.usual_bytes;
        let length = match self.rng.below(60) {
            0..30 => 1 + self.rng.below(usual),
            30..57 => 1 + self.rng.below(usual / 4),
            57..59 => 3000 + self.rng.below(6000),
            _ => 14_000 + self.rng.below(30_000),
        };
        self.push(which, length)
    }

    /// A gap is recorded.
    pub(in crate::proof) fn gap(&mut self, which: usize) -> Verdict {
        self.numbers += 1;
        let gap = Gap {
            reason: GapReason::ConnectionLost,
            from: WallTime(self.numbers as i64),
            to: None,
            samples_lost: 1,
            bytes_lost: 2,
            detail: "x".repeat(self.rng.below(300)),
        };
        self.give(which, Input::Gap(gap.clone()))?;
        self.note(which, Entry::Gap(gap))
    }

    /// A stream is parked.
    pub(in crate::proof) fn park(&mut self, which: usize) -> Verdict {
        self.give(which, Input::Park)
    }

    /// One random thing happens.
    pub(in crate::proof) fn step(&mut self) -> Verdict {
        let which = self.rng.below(4);
        match self.rng.below(200) {
            _ if self.feeds.is_empty() => self.admit("cam0"),
            0..110 => {
                let eagerness = self.feed(which)?.camera.eagerness;
                for _ in 0..self.rng.below(eagerness) + 1 {
                    self.push_any(which)?;
                }
                Ok(())
            }
            110..118 => self.anchor(which),
            118..123 => self.begin_configured_run(which),
            123..128 => {
                let variant = self.rng.below(5) as u64;
                self.configure(which, variant)
            }
            128..134 => self.gap(which),
            134..142 => self.park(which),
            142..154 => self.work(),
            154..196 => self.round(),
            196 => self.reopen(),
            197 => self.power_cut(),
            198 => {
                self.disk.stall_for(1 + self.rng.below(40));
                Ok(())
            }
            _ => {
                let next = format!("cam{}", self.feeds.len());
                if (self.feeds.len() as u32) < self.shape.streams { self.admit(&next) } else { Ok(()) }
            }
        }
    }

    /// A lap and more: every block is overwritten; all is judged.
    pub(in crate::proof) fn lap(&mut self) -> Verdict {
        let bytes = self.shape.whole_bytes() as usize;
        let mut pushed = 0;
        while pushed < bytes {
            for which in 0..self.feeds.len() {
                for _ in 0..self.feed(which)?.camera.eagerness {
                    let length = 200 + self.rng.below(3500);
                    self.push(which, length)?;
                    pushed += length;
                }
            }
            self.round()?;
        }
        self.settle()?;
        let view = self.view();
        self.judge_now(Some(view)).map_err(|why| format!("after a further lap: {why}"))?;
        Ok(())
    }
}
