//! Reads are admitted from the disk time that recording leaves: between readers and the writer of one process.
//!
//! They find each other by the file or device that they have open ([`of`]), in whatever order they come and go: nobody who opens a
//! volume has to know who records into it. The writer's thread says what it does; reads that are large wait here until they may go, by
//! the rules of [`gate`]. Small ones ([`FREE_BYTES`]) go at once: seeking and looking at what there is must not wait for a round.
//!
//! Where nobody records in this process, a read costs one look at an atomic number. What must not live here: who reads what for what
//! ([`crate::Volume::reading_for`]). Readers of other processes are not seen, and so not held back.

mod gate;

pub use gate::ReadPurpose;
pub(crate) use gate::Recording;

use crate::disk::{FileIdentity, ReadAt};
use bytes::Bytes;
use gate::{Gate, Ticket};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Reads of at most so many bytes do not wait.
const FREE_BYTES: usize = 64 << 10;

/// The gate in front of one file or device. Shared by all threads.
pub(crate) struct Admission {
    /// Whether somebody records: else nothing is locked.
    is_recording: AtomicBool,
    gate: Mutex<Gate>,
    /// Somebody was admitted.
    changed: Condvar,
    since: Instant,
}

/// Those that anybody has.
static GATES: LazyLock<Mutex<HashMap<FileIdentity, Weak<Admission>>>> = LazyLock::new(Mutex::default);

/// The gate of a file: the same for all who have it open in this process.
pub(crate) fn of(file: FileIdentity) -> Arc<Admission> {
    let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
    gates.retain(|_, gate| gate.strong_count() > 0);
    if let Some(gate) = gates.get(&file).and_then(Weak::upgrade) {
        return gate;
    }
    let gate = Arc::new(Admission::new());
    gates.insert(file, Arc::downgrade(&gate));
    gate
}

impl Admission {
    fn new() -> Admission {
        let (is_recording, gate, changed) = Default::default();
        Admission { is_recording, gate, changed, since: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    /// The writer says what it does from now on.
    pub(crate) fn record(&self, recording: Recording) {
        self.is_recording.store(recording != Recording::Absent, Ordering::Relaxed);
        let mut gate = self.lock();
        gate.record(recording);
        if gate.admit(self.now()) {
            self.changed.notify_all();
        }
    }

    /// Waits until a read may go.
    fn enter(&self, purpose: ReadPurpose, bytes: usize) -> Option<Pass<'_>> {
        if bytes <= FREE_BYTES || !self.is_recording.load(Ordering::Relaxed) {
            return None;
        }
        let mut gate = self.lock();
        let ticket = gate.ask(purpose, bytes, self.now());
        loop {
            let now = self.now();
            if gate.admit(now) {
                self.changed.notify_all();
            }
            if gate.is_admitted(ticket) {
                return Some(Pass { admission: self, ticket });
            }
            let wait =
                gate.look_again_in(now).unwrap_or(Duration::from_secs(1)).max(Duration::from_millis(1));
            gate = self.changed.wait_timeout(gate, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A read that was admitted; over when it is dropped.
struct Pass<'a> {
    admission: &'a Admission,
    ticket: Ticket,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut gate = self.admission.lock();
        let now = self.admission.now();
        gate.done(self.ticket, now);
        if gate.admit(now) {
            self.admission.changed.notify_all();
        }
    }
}

/// What is read only once it is admitted.
pub(crate) struct Admitted {
    pub(crate) disk: Arc<dyn ReadAt>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) purpose: ReadPurpose,
}

impl ReadAt for Admitted {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let _pass = self.admission.enter(self.purpose, buffer.len());
        self.disk.read_exact_at(buffer, offset)
    }

    fn read_remembered_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let _pass = self.admission.enter(self.purpose, buffer.len());
        self.disk.read_remembered_at(buffer, offset)
    }

    fn read_pieces_at(&self, lengths: &[usize], offset: u64) -> io::Result<Vec<Bytes>> {
        let bytes = lengths.iter().fold(0, |sum: usize, length| sum.saturating_add(*length));
        let _pass = self.admission.enter(self.purpose, bytes);
        self.disk.read_pieces_at(lengths, offset)
    }

    fn will_read(&self, offset: u64, bytes: usize) {
        self.disk.will_read(offset, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{Configuration, TrackConfiguration, TrackKind};
    use crate::create::{CreateOptions, create};
    use crate::disk::FileReader;
    use crate::reader::Volume;
    use crate::report::TimeRange;
    use crate::sample::{Anchor, ClockSource, Sample, SampleFlags};
    use crate::types::{RunId, StreamName, TrackNumber, WallTime};
    use crate::writer::{Writer, WriterOptions};
    use std::sync::mpsc::channel;

    #[test]
    fn who_has_the_same_file_open_has_the_same_gate_and_it_goes_with_the_last() {
        let file = |number| FileIdentity(u64::MAX, number);
        let (reader, writer, other) = (of(file(1)), of(file(1)), of(file(2)));
        assert!(Arc::ptr_eq(&reader, &writer) && !Arc::ptr_eq(&reader, &other));
        let gone = Arc::downgrade(&reader);
        drop((reader, writer));
        assert!(gone.upgrade().is_none());
        let _again = of(file(2));
        assert!(!GATES.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&file(1)));
    }

    /// Records a picture of this many bytes.
    fn record(writer: &Writer, bytes: usize) {
        let mut stream = writer.stream(&StreamName::new("front").expect("a constant")).expect("a stream");
        let (track, timescale) = (TrackNumber(1), 1000);
        let video = TrackConfiguration {
            track,
            kind: TrackKind::Video,
            codec: *b"avc1",
            timescale,
            width: 0,
            height: 0,
            channels: 0,
            sample_rate: 0,
            private: b"avcC".to_vec(),
        };
        stream.configure(&Configuration { tracks: vec![video], session: Vec::new() }).expect("configured");
        stream.begin_run(RunId::random());
        let (wall, source) = (WallTime(1_700_000_000_000_000_000), ClockSource::Arrival);
        let (ticks, uncertainty_us, arrival, camera_offset_ns) = (0, 0, wall, 0);
        stream.anchor(Anchor {
            track,
            timescale,
            ticks,
            wall,
            source,
            uncertainty_us,
            arrival,
            camera_offset_ns,
        });
        let data = vec![Bytes::from(vec![1; bytes])];
        stream.push(Sample { track, ticks: 0, flags: SampleFlags::SYNC, data }).expect("there is room");
    }

    fn read(volume: &Volume) {
        let stream = volume.streams().first().expect("a stream").id;
        let mut cursor = volume.read(stream, TimeRange::default()).expect("it is recorded");
        while cursor.next_item().expect("it is read").is_some() {}
    }

    #[test]
    fn readers_of_a_volume_ask_as_long_as_it_is_recorded_into_whoever_came_first_and_by_whatever_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, other) = (directory.path().join("a.ring"), directory.path().join("b.ring"));
        let options = CreateOptions { size_bytes: 24 << 20, ..CreateOptions::default() };
        create(&path, &options, &mut |_, _| std::ops::ControlFlow::Continue(())).expect("a volume");
        std::fs::hard_link(&path, &other).expect("a second name");
        let open = || Writer::open(&path, WriterOptions::default(), Box::new(|_| ())).expect("a writer");
        let writer = open();
        record(&writer, 200_000);
        writer.close().expect("it is closed");
        let volume = Volume::open(&other).expect("a volume");
        let identity = FileReader::open(&path).map(|file| file.identity().expect("it is open"));
        let gate = of(identity.expect("it opens"));
        read(&volume);
        assert_eq!(gate.lock().asked(), 0, "nobody records");
        let writer = open();
        read(&volume);
        assert_eq!(gate.lock().asked(), 1);
        read(&Volume::open(&other).expect("a volume").reading_for(ReadPurpose::Bulk));
        assert_eq!(gate.lock().asked(), 2);
        writer.close().expect("it is closed");
        read(&volume);
        assert_eq!(gate.lock().asked(), 2);
    }

    #[test]
    fn a_read_that_waits_goes_when_the_round_is_over_and_small_ones_do_not_wait() {
        let admission = Arc::new(Admission::new());
        admission.record(Recording::Round);
        assert!(admission.enter(ReadPurpose::Bulk, FREE_BYTES).is_none());
        let (reading, waits) = (Arc::clone(&admission), Arc::clone(&admission));
        let (went, goes) = channel();
        let reader = std::thread::spawn(move || {
            let pass = reading.enter(ReadPurpose::Playback, FREE_BYTES + 1);
            went.send(pass.is_some()).expect("somebody listens");
        });
        while waits.lock().look_again_in(waits.now()).is_none() {
            std::thread::yield_now();
        }
        admission.record(Recording::Resting);
        assert_eq!(goes.recv(), Ok(true));
        reader.join().expect("it ends");
        admission.record(Recording::Absent);
        assert!(admission.enter(ReadPurpose::Bulk, 1 << 30).is_none());
    }
}
