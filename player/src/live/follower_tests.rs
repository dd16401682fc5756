//! A follower turn by turn, beside a real writer of sound: each packet lasts 100 ms, and is a fragment.

use super::super::readers::READERS_MAX;
use super::super::registry::{Seat, Stream};
use super::super::viewer::Viewer;
use super::*;
use bytes::Bytes;
use keha_fs::{
    Anchor, ChunkNumber, ClockSource, Configuration, ConfigurationHash, CreateOptions, RunId, Sample,
    SampleFlags, StoredSample, StreamWriter, TrackConfiguration, TrackKind, TrackNumber, Uuid, Volume,
    Writer, WriterOptions,
};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const SOUND: TrackNumber = TrackNumber(1);
const DAY_NS: i64 = 86_400_000_000_000;
const PACKET: i64 = 800;
/// All stays in the tail.
const NEVER: Duration = Duration::from_secs(3600);
/// The tail forgets what is written.
const SOON: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

struct Source {
    writer: Writer,
    stream: Mutex<StreamWriter>,
    packets: Mutex<i64>,
    opened: Mutex<usize>,
    directory: tempfile::TempDir,
}

impl LiveSource for Source {
    fn tail(&self, stream: &StreamName) -> Option<Tail> {
        self.writer.holder().tail(stream)
    }

    fn volume(&self, _: &StreamName) -> crate::error::Result<Volume> {
        *self.opened.lock().unwrap() += 1;
        Ok(Volume::open(&self.path())?)
    }

    fn place(&self, _: &StreamName) -> String {
        "attic".to_owned()
    }
}

fn name() -> StreamName {
    StreamName::new("door").unwrap()
}

impl Source {
    fn new(flush_interval: Duration, codec: [u8; 4]) -> Arc<Source> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ring");
        let options = CreateOptions { size_bytes: 24 << 20, ..CreateOptions::default() };
        keha_fs::create(&path, &options, &mut |_, _| ControlFlow::Continue(())).unwrap();
        let options = WriterOptions { flush_interval, ..WriterOptions::default() };
        let writer = Writer::open(&path, options, Box::new(|_| ())).unwrap();
        let mut stream = writer.stream(&name()).unwrap();
        let track = TrackConfiguration {
            track: SOUND,
            kind: TrackKind::Audio,
            codec,
            timescale: 8000,
            width: 0,
            height: 0,
            channels: 1,
            sample_rate: 8000,
            private: Vec::new(),
        };
        stream.configure(&Configuration { tracks: vec![track], session: Vec::new() }).unwrap();
        let (packets, opened) = Default::default();
        let source = Source { writer, stream: Mutex::new(stream), packets, opened, directory };
        source.begin(1, now());
        Arc::new(source)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("a.ring")
    }

    fn begin(&self, run: u128, wall: WallTime) {
        let mut stream = self.stream.lock().unwrap();
        stream.begin_run(RunId(Uuid::from_u128(run)));
        *self.packets.lock().unwrap() = 0;
        stream.anchor(Anchor {
            track: SOUND,
            timescale: 8000,
            ticks: 0,
            wall,
            source: ClockSource::Arrival,
            uncertainty_us: 0,
            arrival: wall,
            camera_offset_ns: 0,
        });
    }

    fn record(&self, packets: i64) {
        let mut recorded = self.packets.lock().unwrap();
        for _ in 0..packets {
            let data = vec![Bytes::from(vec![*recorded as u8; PACKET as usize])];
            let ticks = *recorded * PACKET;
            let sample = Sample { track: SOUND, ticks, flags: SampleFlags::SYNC, data };
            self.stream.lock().unwrap().push(sample).unwrap();
            *recorded += 1;
        }
    }

    /// Waits until a tail is so.
    fn await_tail(&self, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "the tail is evicted");
            std::thread::sleep(SOON);
        }
    }
}

fn following(source: &Arc<Source>, options: LiveOptions) -> (Follower, Viewer) {
    let (registry, channel): (Arc<Registry>, _) = (Arc::default(), Arc::new(Channel::new(options)));
    let mut stream = Stream::new(Arc::clone(&channel));
    stream.viewers = 2;
    registry.lock().streams.insert(name(), stream);
    let of = Arc::clone(source) as Arc<dyn LiveSource>;
    let follower = Follower::new(name(), of, Arc::clone(&channel), registry, options);
    let viewer = comes(&follower);
    (follower, viewer)
}

fn comes(follower: &Follower) -> Viewer {
    let (registry, channel) = (Arc::clone(&follower.registry), Arc::clone(&follower.channel));
    Viewer::new(Arc::clone(&channel), Seat { registry, name: name(), channel })
}

/// What a viewer is told, in short: `i` init, `f` fragment, `s` skipped, `w` waiting, `u` unplayable.
fn told(viewer: &mut Viewer) -> String {
    let short = |message| match message {
        Message::Init(_) => 'i',
        Message::Fragment(_) => 'f',
        Message::Skipped { .. } => 's',
        Message::Waiting { .. } => 'w',
        Message::Unplayable(_) => 'u',
        Message::Gap(_) => 'g',
    };
    std::iter::from_fn(|| viewer.try_next()).map(short).collect()
}

fn nowhere() -> SamplePlace {
    (RunId(Uuid::from_u128(9)), SOUND, 0)
}

fn opened(source: &Source) -> usize {
    *source.opened.lock().unwrap()
}

#[test]
fn who_fell_behind_while_the_disk_was_read_begins_in_the_tail_and_says_so() {
    let source = Source::new(NEVER, *b"ulaw");
    let (mut follower, mut viewer) = following(&source, LiveOptions::default());
    source.record(4);
    follower.turn();
    follower.turn();
    assert_eq!(told(&mut viewer), "if");
    // What was given last is nowhere any more: the disk is read.
    follower.last = Some((nowhere(), now()));
    follower.behind();
    follower.turn();
    assert_eq!((opened(&source), told(&mut viewer).as_str()), (1, "sffff"));
    // It took too long.
    follower.last = Some((nowhere(), now()));
    follower.behind();
    follower.turn();
    assert_eq!((opened(&source), told(&mut viewer).as_str()), (1, "sf"));
    source.record(3);
    follower.turn();
    assert_eq!(told(&mut viewer), "fff");
    // After it has followed the tail, the disk is looked at again.
    follower.last = Some((nowhere(), now()));
    follower.behind();
    follower.turn();
    assert_eq!(opened(&source), 2);
}

#[test]
fn who_begins_in_the_tail_is_told_how_much_stood_there_before_that() {
    let source = Source::new(NEVER, *b"ulaw");
    let (mut follower, mut viewer) = following(&source, LiveOptions::default());
    source.record(4);
    follower.turn();
    follower.turn();
    assert_eq!(told(&mut viewer), "if");
    // What follows what was given last is gone, and the disk took too long.
    (follower.last, follower.has_read) = (Some((nowhere(), now())), true);
    follower.behind();
    follower.turn();
    let skipped = std::iter::from_fn(|| viewer.try_next()).find_map(|message| match message {
        Message::Skipped { samples } => Some(samples),
        _ => None,
    });
    assert_eq!(skipped, Some(3), "the fourth is given");
}

#[test]
fn what_the_tail_drops_while_it_is_looked_through_is_no_hole() {
    let source = Source::new(SOON, *b"ulaw");
    let (mut follower, _viewer) = following(&source, LiveOptions::default());
    follower.turn();
    let items = loop {
        source.record(1);
        match follower.tail.as_mut().unwrap().follow(None, Duration::ZERO) {
            TailRead::Items(items) if items.iter().any(|item| matches!(item, TailItem::Sample(_))) => {
                break items;
            }
            _ => {}
        }
    };
    source.record(2);
    let tail = follower.tail.clone().unwrap();
    source.await_tail(|| tail.clone().follow(None, Duration::ZERO) == TailRead::Behind);
    follower.take(items);
    assert!(!follower.joined && follower.pending.is_empty(), "it joins again");
}

#[test]
fn footage_of_a_run_whose_clock_was_ahead_is_not_read() {
    let source = Source::new(NEVER, *b"ulaw");
    let noon = now();
    source.begin(2, noon.plus_ns(DAY_NS));
    source.record(300);
    source.begin(3, noon);
    source.record(100);
    let mut tail = source.tail(&name()).unwrap();
    let TailRead::Items(all) = tail.follow(None, Duration::ZERO) else { panic!("it is there") };
    let tail = &all[all.len() - 3..];
    let source = Arc::into_inner(source).unwrap();
    let Source { writer, stream, directory, .. } = source;
    drop(stream);
    writer.close().unwrap();
    let wanted = back::missing(None, tail).unwrap();
    let volume = Volume::open(&directory.path().join("a.ring")).unwrap();
    let mut cursor = volume.read(volume.stream(&name()).unwrap().id, wanted.range).unwrap();
    let mut runs = Vec::new();
    while let Some(item) = cursor.next_item().unwrap() {
        if let keha_fs::Item::Sample(sample) = item {
            runs.push(sample.run.0.as_u128());
        }
    }
    assert!(!runs.is_empty() && runs.iter().all(|run| *run == 3), "{runs:?}");
}

#[test]
fn the_disk_is_not_read_for_nobody() {
    let source = Source::new(SOON, *b"ulaw");
    let (mut follower, viewer) = following(&source, LiveOptions::default());
    source.record(8);
    source.await_tail(|| {
        source.tail(&name()).unwrap().follow(None, Duration::ZERO) == TailRead::Items(Vec::new())
    });
    follower.registry.close();
    let joined = follower.read(back::newest(now()), &[]).unwrap();
    assert_eq!(joined, Joined::default());
    drop(viewer);
}

#[test]
fn a_camera_that_sends_nothing_more_is_shown_from_the_disk_and_gone_on_with() {
    let source = Source::new(SOON, *b"ulaw");
    source.record(8);
    source.await_tail(|| {
        source.tail(&name()).unwrap().follow(None, Duration::ZERO) == TailRead::Items(Vec::new())
    });
    let (mut follower, mut viewer) = following(&source, LiveOptions::default());
    follower.turn();
    follower.turn();
    assert_eq!(told(&mut viewer), "if", "the newest there is");
    follower.turn();
    assert_eq!(opened(&source), 1, "the disk is asked once");
    source.record(2);
    while follower.last.is_none_or(|(place, _)| place.2 < 9 * PACKET) {
        follower.turn();
    }
    assert_eq!(told(&mut viewer), "ff", "without a seam");
}

#[test]
fn who_comes_whenever_is_told_that_a_stream_cannot_be_played() {
    let source = Source::new(NEVER, *b"what");
    let (mut follower, mut viewer) = following(&source, LiveOptions::default());
    source.record(8);
    follower.turn();
    follower.turn();
    let mut later = comes(&follower);
    assert_eq!((told(&mut viewer), told(&mut later)), ("u".into(), "u".into()));
    source.record(3);
    follower.turn();
    assert_eq!((told(&mut viewer).as_str(), follower.pending.len()), ("", 0));
}

#[test]
fn little_waits_while_it_is_not_known_where_to_begin() {
    let source = Source::new(NEVER, *b"ulaw");
    let options = LiveOptions { group_bytes_max: 100, ..LiveOptions::default() };
    let (mut follower, _viewer) = following(&source, options);
    let sample = |ticks| {
        TailItem::Sample(StoredSample {
            track: SOUND,
            ticks,
            wall: WallTime(ticks),
            flags: SampleFlags::SYNC,
            data: Bytes::from_static(&[0; 30]),
            run: RunId::default(),
            // Nobody knows what it is.
            configuration: ConfigurationHash([7; 16]),
            chunk: ChunkNumber(0),
        })
    };
    for ticks in 0..10 {
        follower.take(vec![sample(ticks)]);
    }
    assert_eq!(follower.pending, (7..10).map(sample).collect::<Vec<_>>());
}

/// A stream that goes from one volume over to another one, and whether the disk of the first hangs then.
struct Moving {
    volumes: [Arc<Source>; 2],
    at: Mutex<usize>,
    hangs: Mutex<()>,
    /// How many came for the disk.
    came: AtomicUsize,
}

impl LiveSource for Moving {
    fn tail(&self, stream: &StreamName) -> Option<Tail> {
        self.volumes[*self.at.lock().unwrap()].tail(stream)
    }

    fn volume(&self, stream: &StreamName) -> crate::error::Result<Volume> {
        self.came.fetch_add(1, Ordering::SeqCst);
        drop(self.hangs.lock());
        self.volumes[0].volume(stream)
    }

    fn place(&self, _: &StreamName) -> String {
        "attic".to_owned()
    }
}

impl Moving {
    fn new() -> Arc<Moving> {
        let volumes = [Source::new(NEVER, *b"ulaw"), Source::new(NEVER, *b"ulaw")];
        let (at, hangs, came) = Default::default();
        Arc::new(Moving { volumes, at, hangs, came })
    }
}

/// Whoever watched saw nothing more: the thread read the disk that had failed, or waited for its writer to end.
#[test]
fn a_stream_that_goes_over_to_another_volume_is_gone_on_with_though_the_disk_of_the_first_hangs() {
    let moving = Moving::new();
    let hung = moving.hangs.lock().unwrap();
    let (mut follower, mut viewer) = following(&moving.volumes[0], LiveOptions::default());
    let readers = Arc::clone(&follower.registry.readers);
    follower.disk = Disk::new(Arc::clone(&moving) as Arc<dyn LiveSource>, name(), readers);
    moving.volumes[0].record(4);
    follower.turn();
    follower.turn();
    assert_eq!(told(&mut viewer), "if");
    moving.volumes[1].begin(2, now());
    moving.volumes[1].record(6);
    *moving.at.lock().unwrap() = 1;
    let mut all = String::new();
    for _ in 0..4 {
        follower.turn();
        all.push_str(&told(&mut viewer));
    }
    assert!(all.contains("if"), "{all}: it begins anew");
    moving.volumes[1].record(2);
    follower.turn();
    assert_eq!(told(&mut viewer), "ff", "and goes on");
    drop(hung);
}

/// It was counted for each stream alone: a disk that hung kept two threads for each, and two more for each time that viewers came again.
#[test]
fn however_many_streams_are_watched_a_disk_that_hangs_keeps_few_threads() {
    let moving = Moving::new();
    let hung = moving.hangs.lock().unwrap();
    let registry: Arc<Registry> = Arc::default();
    let options = LiveOptions::default();
    let mut stream = Stream::new(Arc::new(Channel::new(options)));
    stream.viewers = 1;
    registry.lock().streams.insert(name(), stream);
    let follower = || {
        let (source, channel) = (Arc::clone(&moving) as Arc<dyn LiveSource>, Arc::new(Channel::new(options)));
        Follower::new(name(), source, channel, Arc::clone(&registry), options)
    };
    std::thread::scope(|scope| {
        let all = [(); READERS_MAX + 4].map(|()| {
            let mut follower = follower();
            scope.spawn(move || follower.read(back::newest(now()), &[]))
        });
        for read in all {
            let read = read.join().expect("it ends");
            assert!(matches!(read, Err(crate::Error::Busy(_))), "{read:?}");
        }
    });
    assert_eq!(moving.came.load(Ordering::SeqCst), READERS_MAX);
    let began = Instant::now();
    assert!(follower().read(back::newest(now()), &[]).is_err());
    assert!(began.elapsed() < Duration::from_secs(4), "it is not waited for again");
    drop(hung);
    await_left(&registry);
    // It has nothing of the stream yet, and says so now.
    let read = follower().read(back::newest(now()), &[]);
    assert!(!matches!(read, Err(crate::Error::Busy(_))), "{read:?}");
    assert_eq!(moving.came.load(Ordering::SeqCst), READERS_MAX + 1, "it is read again");
}

/// Waits until nobody reads any more.
fn await_left(registry: &Registry) {
    let began = Instant::now();
    while registry.readers.of("attic") > 0 {
        assert!(began.elapsed() < PATIENCE, "they end");
        std::thread::sleep(SOON);
    }
}
