//! What a cursor has to do, found by reading all of a stream from its beginning to its end.

use keha_fs::{
    ChunkNumber, Item, SampleFlags, StoredSample, StreamId, TimeRange, TrackKind, TrackNumber, Volume,
    WallTime,
};
use keha_player::cursor::{Cursor, Direction, Mark, Moment, Nearest, Step};
use keha_player::timeline::{Index, PAUSE_NS};
use std::collections::BTreeSet;

/// All that is recorded, in the order of recording.
pub(crate) struct Oracle {
    pub(crate) samples: Vec<Known>,
}

pub(crate) struct Known {
    pub(crate) sample: StoredSample,
    /// Something was erased between the one before and this one.
    erased: bool,
    /// Something is damaged between, or somewhere behind in the block.
    broken: bool,
    /// A gap record stands between.
    recorded: bool,
    keyframe: bool,
    /// The track that leads.
    leading: TrackNumber,
}

type Make<'m, 'v> = &'m dyn Fn() -> Cursor<'v>;

impl Known {
    fn is(&self, step: Step) -> bool {
        match step {
            Step::Sample => true,
            Step::Picture => self.sample.track == self.leading,
            Step::Keyframe => self.keyframe,
        }
    }
}

impl Oracle {
    pub(crate) fn read(volume: &Volume, stream: StreamId) -> Oracle {
        let (mut samples, mut erased, mut broken, mut recorded) = (Vec::new(), false, false, false);
        let (mut video, mut leading, mut chunk) = (false, TrackNumber(0), ChunkNumber(0));
        let mut cursor = volume.read(stream, TimeRange::default()).unwrap();
        while let Some(item) = cursor.next_item().unwrap() {
            match item {
                Item::Gap(_) => recorded = true,
                Item::Erased(_) => erased = true,
                Item::Damage(_) => broken = true,
                Item::Configuration(_, configuration) => {
                    let of = |video: bool| {
                        let tracks = configuration.tracks.iter();
                        tracks
                            .filter(|track| !video || track.kind == TrackKind::Video)
                            .map(|track| track.track)
                            .min()
                    };
                    video = of(true).is_some();
                    leading = of(true).or(of(false)).unwrap();
                }
                Item::Sample(sample) => {
                    let is_sync = sample.track == leading && sample.flags.contains(SampleFlags::SYNC);
                    let keyframe = if video { is_sync } else { sample.chunk != chunk };
                    chunk = sample.chunk;
                    let known = Known { sample, erased, broken, recorded, keyframe, leading };
                    samples.push(known);
                    (erased, broken, recorded) = (false, false, false);
                }
                _ => {}
            }
        }
        Oracle { samples }
    }

    fn places(&self, step: Step) -> Vec<usize> {
        (0..self.samples.len()).filter(|place| self.samples[*place].is(step)).collect()
    }

    /// Which sample a cursor stands on.
    fn place(&self, moment: &Moment) -> Option<usize> {
        let row = &moment.row;
        let behind = self.samples.partition_point(|known| known.sample.chunk < row.chunk);
        let is_it = |known: &Known| {
            let sample = &known.sample;
            (sample.track, sample.ticks, sample.wall, sample.run, sample.chunk)
                == (row.track, row.ticks, row.wall, row.run, row.chunk)
        };
        self.samples[behind..].iter().position(is_it).map(|place| behind + place)
    }

    /// Everything that a cursor can be asked.
    pub(crate) fn judge(&self, volume: &Volume, stream: StreamId, seed: u64) {
        let index = Index::new(volume);
        let make = || Cursor::new(volume, &index, stream);
        for step in [Step::Sample, Step::Picture, Step::Keyframe] {
            self.judge_both_ways(&make, step);
        }
        self.judge_walk(&make, seed);
        self.judge_seeks(&mut make(), seed);
        self.judge_groups(&make);
    }

    /// All of them forwards, then backwards, each read; and what does not join is the same both ways.
    fn judge_both_ways(&self, make: Make<'_, '_>, step: Step) {
        let (places, mut cursor) = (self.places(step), make());
        let forwards = self.walked(&mut cursor, Direction::Forwards, step);
        assert_eq!(forwards.iter().map(|(place, _)| *place).collect::<Vec<_>>(), places, "{step:?}");
        let backwards = self.walked(&mut cursor, Direction::Backwards, step);
        // It stands on the last one already.
        let expected: Vec<usize> = places.iter().rev().skip(1).copied().collect();
        assert_eq!(backwards.iter().map(|(place, _)| *place).collect::<Vec<_>>(), expected, "{step:?}");
        let told = |walked: &[(usize, Moment)]| -> Vec<_> {
            walked.iter().map(|(_, moment)| moment.discontinuity.clone()).collect()
        };
        let mut back = told(&backwards);
        back.reverse();
        assert_eq!(back, told(&forwards)[1.min(forwards.len())..], "{step:?}");
        for pair in forwards.windows(2) {
            self.judge_joint(pair[0].0, &pair[1]);
        }
        let whole = self.walked(&mut make(), Direction::Backwards, step);
        assert_eq!(whole.iter().rev().map(|(place, _)| *place).collect::<Vec<_>>(), places, "{step:?}");
    }

    /// Those that verify. Where one does not the oracle has none.
    fn walked(&self, cursor: &mut Cursor<'_>, direction: Direction, step: Step) -> Vec<(usize, Moment)> {
        let (mut walked, mut carried) = (Vec::new(), None);
        while let Some(mut moment) = cursor.step(direction, step).unwrap() {
            let place = self.place(&moment);
            let data = cursor.read().unwrap();
            assert_eq!(place.is_some(), data.is_some(), "{moment:?}");
            let Some((place, data)) = place.zip(data) else {
                carried = carried.or(moment.discontinuity);
                continue;
            };
            let known = &self.samples[place];
            assert_eq!(data, known.sample.data);
            assert_eq!(data.len(), moment.row.bytes as usize);
            assert_eq!(moment.keyframe, known.keyframe);
            // Beside what is damaged something else may be missing: that is told first, on whichever side it was met.
            let more = carried.take();
            let is_damage = moment.discontinuity.as_ref().is_none_or(|told| told.as_str() == "damaged");
            moment.discontinuity =
                if is_damage { more.or(moment.discontinuity) } else { moment.discontinuity };
            walked.push((place, moment));
        }
        walked
    }

    /// Whether it is told rightly that a sample does not join the one before it.
    fn judge_joint(&self, before: usize, (place, moment): &(usize, Moment)) {
        let between = &self.samples[before + 1..=*place];
        let (one, other) = (&self.samples[before].sample, &self.samples[*place].sample);
        let changes = one.run != other.run || one.configuration != other.configuration;
        let erased = between.iter().any(|known| known.erased);
        let told = moment.discontinuity.as_ref();
        if changes || erased {
            assert!(told.is_some(), "{moment:?}");
        }
        let broken = between.iter().any(|known| known.broken);
        let recorded = between.iter().any(|known| known.recorded);
        let walls = self.samples[before..=*place].windows(2);
        let pause =
            walls.clone().any(|pair| pair[1].sample.wall.since_ns(pair[0].sample.wall) > PAUSE_NS / 2);
        let steady = between.windows(2).all(|pair| pair[1].sample.chunk.0 <= pair[0].sample.chunk.0 + 1);
        let steady = steady && between[0].sample.chunk.0 <= one.chunk.0 + 1;
        if steady && !changes && !erased && !broken && !recorded && !pause {
            assert_eq!(told, None, "{moment:?}");
        }
    }

    /// Steps of all kinds in both directions, from marks and back to them.
    fn judge_walk(&self, make: Make<'_, '_>, seed: u64) {
        let (mut random, mut at, mut cursor) = (Random(seed), None, make());
        let mut marks: Vec<Mark> = Vec::new();
        for _ in 0..250 {
            let step = [Step::Sample, Step::Picture, Step::Keyframe][random.below(3)];
            let direction = [Direction::Forwards, Direction::Backwards][random.below(2)];
            let found = cursor.step(direction, step).unwrap();
            let Some(moment) = found else {
                let next = self.next(at, direction, step);
                assert_eq!(next, None, "{at:?} {direction:?} {step:?}");
                continue;
            };
            let place = self.place(&moment);
            if place.is_none() {
                assert!(cursor.read().unwrap().is_none(), "{moment:?}");
                // The oracle knows nothing of where it stands: from there on somewhere else.
                (cursor, at) = (make(), None);
                continue;
            }
            let expected = self.next(at, direction, step);
            assert_eq!(place, expected, "{at:?} {direction:?} {step:?}: {moment:?}");
            at = place;
            marks.push(Mark::of(&moment.row));
            if random.below(12) == 0 {
                let mark = marks[random.below(marks.len())];
                at = self.place(&cursor.resume(mark).unwrap().unwrap());
            }
        }
    }

    fn next(&self, at: Option<usize>, direction: Direction, step: Step) -> Option<usize> {
        let places = self.places(step);
        match direction {
            Direction::Forwards => places.into_iter().find(|place| at.is_none_or(|at| *place > at)),
            Direction::Backwards => places.into_iter().rev().find(|place| at.is_none_or(|at| *place < at)),
        }
    }

    /// No other of its run is nearer.
    fn judge_seeks(&self, cursor: &mut Cursor<'_>, seed: u64) {
        let mut random = Random(seed ^ 0x5eec);
        let walls = || self.samples.iter().map(|known| known.sample.wall);
        let (first, last) = (walls().min().unwrap(), walls().max().unwrap());
        for _ in 0..50 {
            let span = last.since_ns(first).unsigned_abs() as usize + 4_000_000_000;
            let wall = first.plus_ns(random.below(span) as i64 - 2_000_000_000);
            let step = [Step::Sample, Step::Picture, Step::Keyframe][random.below(3)];
            for nearest in [Nearest::AtOrBefore, Nearest::AtOrAfter] {
                let found = cursor.seek(wall, nearest, step).unwrap();
                let there = || self.places(step).into_iter().map(|place| &self.samples[place].sample);
                let Some(found) = found else {
                    let beyond = |sample: &StoredSample| match nearest {
                        Nearest::AtOrBefore => sample.wall > wall,
                        Nearest::AtOrAfter => sample.wall < wall,
                    };
                    // Sound before the first picture is no place to begin; runs whose clocks were ahead may stand before.
                    let runs: BTreeSet<_> = there().map(|sample| sample.run).collect();
                    assert!(
                        runs.len() != 1 || there().all(beyond) || wall < first.plus_ns(400_000_000),
                        "{wall:?} {nearest:?} {step:?}"
                    );
                    continue;
                };
                let at = found.row.wall;
                let nearer = |sample: &StoredSample| {
                    sample.run == found.row.run
                        && match nearest {
                            Nearest::AtOrBefore => sample.wall > at && sample.wall <= wall,
                            Nearest::AtOrAfter => sample.wall < at && sample.wall >= wall,
                        }
                };
                let on_its_side = if nearest == Nearest::AtOrBefore { at <= wall } else { at >= wall };
                assert!(on_its_side, "{wall:?} {nearest:?} {step:?}: {found:?}");
                // Sound before the first picture of a stretch is no place to begin.
                if step == Step::Sample {
                    continue;
                }
                let better: Vec<_> =
                    there().filter(|sample| nearer(sample)).map(|sample| sample.wall).collect();
                assert_eq!(better, Vec::<WallTime>::new(), "{wall:?} {nearest:?} {step:?}: {found:?}");
            }
        }
    }

    /// Each group is its keyframe and all up to the next one that joins, whichever way it is reached.
    fn judge_groups(&self, make: Make<'_, '_>) {
        for direction in [Direction::Forwards, Direction::Backwards] {
            let mut cursor = make();
            while let Some(moment) = cursor.step(direction, Step::Keyframe).unwrap() {
                let Some(begin) = self.place(&moment) else { continue };
                let mut gop = cursor.gop().unwrap().expect("it stands on a keyframe");
                let mut samples = Vec::new();
                while let Some(part) = gop.next_part().unwrap() {
                    samples.extend(part);
                }
                let mine = &self.samples[begin..];
                let given: Vec<_> =
                    mine.iter().take(samples.len()).map(|known| known.sample.clone()).collect();
                assert!(samples == given, "{moment:?}");
                let inside = mine.iter().take(samples.len()).skip(1);
                assert!(inside.clone().all(|known| !known.keyframe));
                assert!(inside.clone().all(|known| known.sample.run == moment.row.run));
                // It is all of it, unless something lies behind its end.
                if let Some(next) = mine.get(samples.len()) {
                    let last = &mine[samples.len() - 1].sample;
                    let ends = next.keyframe
                        || next.erased
                        || next.broken
                        || next.recorded
                        || next.sample.run != last.run
                        || next.sample.configuration != last.configuration
                        || next.sample.wall.since_ns(last.wall) > PAUSE_NS / 2
                        || next.sample.chunk.0 > last.chunk.0 + 1;
                    assert!(ends || gop.lost() > 0, "{moment:?} ends early");
                }
            }
        }
    }
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 20) % end.max(1) as u64) as usize
    }
}
