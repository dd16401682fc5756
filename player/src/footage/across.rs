//! Streams that stand in several volumes, listed as if it were one: run by run, in the order that [`crate::runs`] says.
//!
//! It is not known beforehand which run comes next: each volume is listed up to the first sample of its next run, and no further, before one
//! is chosen. Gap records that stand between the runs of a volume are told where that one's turn ends.
//!
//! A camera that goes over to another volume takes with it what was not known to be durable, and what that needs before it: the same
//! samples of the same run may stand in both. Each is given once, from the volume whose turn came first.

use crate::export::archive::{Listing, Places, Source, Streams};
use crate::library::Whole;
use keha_fs::{
    Error, Item, Result, RunId, StreamName, StreamSummary, TimeRange, TrackNumber, Volume, WallTime,
};
use std::collections::{HashMap, VecDeque};

/// The most items of a run that are looked at for its first sample: behind that it is taken to begin at once.
const LOOKED_AT_MAX: usize = 4096;

/// Volumes as one archive. Its places are their places in the order of their identities.
pub(super) struct Across<'a> {
    volumes: Vec<Listing<'a>>,
    streams: Vec<Spread>,
}

/// A stream, and who it is in which volumes.
struct Spread {
    summary: StreamSummary,
    parts: Vec<(usize, StreamSummary)>,
}

impl<'a> Across<'a> {
    pub(super) fn of(streams: &'a [Whole]) -> Across<'a> {
        let all = streams.iter().flat_map(|whole| whole.parts()).map(|part| part.volume());
        let mut volumes: Vec<&Volume> = all.collect();
        volumes.sort_by_key(|volume| volume.info().id);
        volumes.dedup_by_key(|volume| volume.info().id);
        let place = |volume: &Volume| volumes.iter().position(|other| other.info().id == volume.info().id);
        let streams = streams.iter().filter_map(|whole| {
            let parts = whole.parts().iter();
            let parts: Vec<(usize, StreamSummary)> =
                parts.filter_map(|part| Some((place(part.volume())?, part.stream.clone()))).collect();
            let (first, last) = whole.reach().unzip();
            let summary = StreamSummary { first, last, ..parts.first()?.1.clone() };
            Some(Spread { summary, parts })
        });
        let streams = streams.collect();
        Across { streams, volumes: volumes.into_iter().map(Listing).collect() }
    }

    /// The volume that has all, if there is only one.
    pub(super) fn only(&self) -> Option<&'a Volume> {
        match self.volumes.as_slice() {
            [Listing(volume)] => Some(volume),
            _ => None,
        }
    }

    fn spread(&self, name: &StreamName) -> Result<&Spread> {
        let found = self.streams.iter().find(|stream| stream.summary.name == *name);
        let none = || Error::NoSuchStream { name: name.clone(), available: "see the list of cameras".into() };
        found.ok_or_else(none)
    }
}

impl Streams for Across<'_> {
    fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
        Ok(self.spread(name)?.summary.clone())
    }

    fn read<'a>(&'a self, stream: &StreamSummary, range: TimeRange) -> Result<Box<dyn Source + 'a>> {
        let (mut lanes, mut nothing) = (Vec::new(), None);
        for (place, part) in &self.spread(&stream.name)?.parts {
            let Some(volume) = self.volumes.get(*place) else { continue };
            match volume.read(part, range) {
                Ok(source) => lanes.push(Lane::new(*place, part.first, source)),
                Err(error @ Error::NotRecorded { .. }) => nothing = Some(error),
                Err(error) => return Err(error),
            }
        }
        match nothing {
            Some(nothing) if lanes.is_empty() => Err(nothing),
            _ => Ok(Box::new(Runs::new(lanes))),
        }
    }

    fn places(&self) -> Places {
        let others = self.streams.iter().flat_map(|stream| {
            let others = stream.parts.iter().filter(|(_, part)| part.id != stream.summary.id);
            others.map(|(place, part)| (stream.summary.name.clone(), *place, part.id))
        });
        Places {
            volumes: self.volumes.iter().map(|volume| volume.0.info().id).collect(),
            ids: others.collect(),
        }
    }
}

/// The items of several volumes, run by run.
struct Runs<'a> {
    lanes: Vec<Lane<'a>>,
    /// Whose turn it is.
    turn: Option<usize>,
    /// Where the last item stands.
    place: usize,
    given: Given,
}

/// The samples that were given last of a run, and by which volume.
#[derive(Default)]
struct Given {
    run: RunId,
    places: HashMap<(TrackNumber, i64), usize>,
    order: VecDeque<(TrackNumber, i64)>,
}

/// So many samples are remembered: more than are taken over at once.
const GIVEN_MAX: usize = 1 << 16;

impl Given {
    /// Whether another volume gave this very sample; else it is remembered.
    fn has(&mut self, item: &Item, place: usize) -> bool {
        let (run, sample) = match item {
            Item::Sample(sample) => (sample.run, (sample.track, sample.ticks)),
            Item::Listed(row) => (row.run, (row.track, row.ticks)),
            _ => return false,
        };
        if run != self.run {
            *self = Given { run, ..Given::default() };
        }
        match self.places.get(&sample) {
            Some(by) => *by != place,
            None => {
                self.places.insert(sample, place);
                self.order.push_back(sample);
                if self.order.len() > GIVEN_MAX
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.places.remove(&oldest);
                }
                false
            }
        }
    }
}

/// One volume's items.
struct Lane<'a> {
    place: usize,
    source: Box<dyn Source + 'a>,
    state: State,
    /// What was read before its turn.
    ahead: VecDeque<Item>,
    /// When the run begins that comes next, or before that was looked for when the stream began there.
    begins: Option<WallTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was not looked which run comes next.
    Unknown,
    /// That stands ahead.
    Looked,
    /// All was read.
    Read,
}

impl<'a> Runs<'a> {
    fn new(lanes: Vec<Lane<'a>>) -> Runs<'a> {
        Runs { lanes, turn: None, place: 0, given: Given::default() }
    }

    /// Whose run is next.
    fn choose(&mut self) -> Result<Option<usize>> {
        for number in 0..self.lanes.len() {
            let looked = self.lanes.get_mut(number).map_or(Ok(()), Lane::look);
            looked.map_err(|error| self.available(number, error))?;
        }
        let lanes = self.lanes.iter().enumerate().filter(|(_, lane)| !lane.is_over());
        // One that has gap records alone comes last.
        Ok(lanes.map(|(number, lane)| (lane.begins.unwrap_or(WallTime::MAX), number)).min().map(|(_, it)| it))
    }

    /// The ring passed one of the volumes: who goes on from where that one goes on must not miss what another one has before.
    fn available(&self, of: usize, error: Error) -> Error {
        let Error::Overwritten { available_from: Some(from) } = error else { return error };
        let others = self.lanes.iter().enumerate().filter(|(number, lane)| *number != of && !lane.is_over());
        let others = others.filter_map(|(_, lane)| lane.begins);
        Error::Overwritten { available_from: others.chain([from]).min() }
    }
}

impl Source for Runs<'_> {
    fn next_item(&mut self) -> Result<Option<Item>> {
        loop {
            let number = match self.turn {
                Some(turn) => turn,
                None => match self.choose()? {
                    Some(next) => next,
                    None => return Ok(None),
                },
            };
            self.turn = Some(number);
            let others = self.lanes.len() > 1;
            let Some(lane) = self.lanes.get_mut(number) else { return Ok(None) };
            let next = lane.next();
            self.place = lane.place;
            match next {
                Ok(Some(item)) if others && self.given.has(&item, lane.place) => {}
                Ok(Some(item)) => return Ok(Some(item)),
                Ok(None) => self.turn = None,
                Err(error) => return Err(self.available(number, error)),
            }
        }
    }

    fn place(&self) -> usize {
        self.place
    }
}

impl<'a> Lane<'a> {
    fn new(place: usize, first: Option<WallTime>, source: Box<dyn Source + 'a>) -> Lane<'a> {
        Lane { place, source, state: State::Unknown, ahead: VecDeque::new(), begins: first }
    }

    fn is_over(&self) -> bool {
        self.state == State::Read && self.ahead.is_empty()
    }

    /// Reads up to the first sample of the next run, if that was not done.
    fn look(&mut self) -> Result<()> {
        while self.state == State::Unknown {
            let Some(item) = self.source.next_item()? else {
                (self.state, self.begins) = (State::Read, None);
                break;
            };
            let begins = match &item {
                Item::Sample(sample) => Some(sample.wall),
                Item::Listed(row) => Some(row.wall),
                _ => None,
            };
            self.ahead.push_back(item);
            if begins.is_some() || self.ahead.len() >= LOOKED_AT_MAX {
                (self.state, self.begins) = (State::Looked, Some(begins.unwrap_or(WallTime::MIN)));
            }
        }
        Ok(())
    }

    /// The next item of its run; `None` behind it.
    fn next(&mut self) -> Result<Option<Item>> {
        if let Some(item) = self.ahead.pop_front() {
            return Ok(Some(item));
        }
        if self.state == State::Read {
            return Ok(None);
        }
        match self.source.next_item()? {
            None => {
                (self.state, self.begins) = (State::Read, None);
                Ok(None)
            }
            Some(run @ Item::Run(_)) => {
                self.ahead.push_back(run);
                self.state = State::Unknown;
                Ok(None)
            }
            item => Ok(item),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::{ChunkNumber, ConfigurationHash, SampleFlags, SampleRow, Uuid};

    struct Listed(VecDeque<Item>);

    impl Source for Listed {
        fn next_item(&mut self) -> Result<Option<Item>> {
            Ok(self.0.pop_front())
        }

        fn place(&self) -> usize {
            0
        }
    }

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    /// Pictures of a run, a second of ticks each, in this order.
    fn pictures(number: u128, ticks: &[i64]) -> Vec<Item> {
        let picture = |ticks: &i64| {
            Item::Listed(SampleRow {
                track: TrackNumber(1),
                ticks: *ticks,
                wall: WallTime(*ticks),
                flags: SampleFlags::default(),
                bytes: 1,
                run: run(number),
                configuration: ConfigurationHash::default(),
                begins: ChunkNumber(1),
                chunk: ChunkNumber(1),
                chunk_checksum: 0,
                place: 0,
            })
        };
        std::iter::once(Item::Run(run(number))).chain(ticks.iter().map(picture)).collect()
    }

    fn lane(place: usize, items: &[Vec<Item>]) -> Lane<'static> {
        let first = items.first().and_then(|items| items.iter().find_map(ticks)).map(|(_, at)| WallTime(at));
        Lane::new(place, first, Box::new(Listed(items.concat().into())))
    }

    fn ticks(item: &Item) -> Option<(RunId, i64)> {
        if let Item::Listed(row) = item { Some((row.run, row.ticks)) } else { None }
    }

    #[test]
    fn what_was_taken_over_to_another_volume_is_given_once() {
        // Pictures that are shown before those they need stand behind them.
        let failed = pictures(1, &[0, 3, 1, 2, 10, 13, 11]);
        let other = pictures(1, &[10, 13, 11, 12, 20, 23]);
        let back = pictures(2, &[40, 41]);
        let mut runs = Runs::new(vec![lane(0, &[failed, back]), lane(1, &[other])]);
        let mut given = Vec::new();
        while let Some(item) = runs.next_item().expect("it is read") {
            given.extend(ticks(&item).map(|(run, at)| (run, at, runs.place())));
        }
        let of =
            |run, ticks: &[i64], place| ticks.iter().map(move |at| (run, *at, place)).collect::<Vec<_>>();
        let wanted = [
            of(run(1), &[0, 3, 1, 2, 10, 13, 11], 0),
            of(run(1), &[12, 20, 23], 1),
            of(run(2), &[40, 41], 0),
        ];
        assert_eq!(given, wanted.concat());
    }
}
