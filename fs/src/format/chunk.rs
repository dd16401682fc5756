//! Chunks: the unit of write, durability and loss. Header and tables stand twice, at the head and at the tail, so that no
//! single bad sector costs more than one sample.
//!
//! ```text
//! | header | anchors | entries | payloads, back to back | zeros to the page | anchors | entries | header (tail magic) |
//! ```
//!
//! An entry is one sample, or a fragment of one. Configuration and event chunks hold their content as two equal entries, with
//! one of zeros between them where both would have bytes in the same page.

use super::checksum::{Crc32c, crc32c};
use super::{Field, Framed, Spare, Zero, record, round_up};
use crate::disk::copy_past_cache;
use crate::sample::{Anchor, ClockSource, SampleFlags};
use crate::types::{
    BlockIndex, ChunkNumber, ConfigurationHash, Epoch, RunId, Sequence, StreamId, TrackNumber, VolumeId,
    WallTime,
};
use bytes::Bytes;

/// What a chunk holds. Unknown kinds are skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ChunkKind(pub(crate) u16);

impl ChunkKind {
    /// Samples.
    pub(crate) const MEDIA: ChunkKind = ChunkKind(1);
    /// A configuration, twice.
    pub(crate) const CONFIGURATION: ChunkKind = ChunkKind(2);
    /// A gap record, twice.
    pub(crate) const EVENT: ChunkKind = ChunkKind(3);
    /// Zeros, where chunks were overwritten on request.
    pub(crate) const ERASED: ChunkKind = ChunkKind(4);
    /// Zeros, where chunks were overwritten that were past their stream's maximum age.
    pub(crate) const EXPIRED: ChunkKind = ChunkKind(5);

    /// Whether nothing is left of what stood here.
    pub(crate) fn is_void(self) -> bool {
        matches!(self, ChunkKind::ERASED | ChunkKind::EXPIRED)
    }
}

impl Field for ChunkKind {
    const BYTES: usize = 2;

    fn put(&self, out: &mut [u8]) {
        self.0.put(out);
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        u16::get(bytes).map(ChunkKind)
    }
}

/// The track number of the entries of chunks that hold no samples.
pub(crate) const NO_TRACK: TrackNumber = TrackNumber(255);

record! {
    /// The header of a chunk.
    pub(crate) struct ChunkHeader {
        /// Format version.
        version: u16,
        /// What it holds.
        kind: ChunkKind,
        /// Its whole length in bytes, a multiple of the page.
        bytes: u32,
        /// The volume.
        volume: VolumeId,
        /// The block.
        block: BlockIndex,
        /// Where it begins, in bytes from the block's beginning.
        offset: u32,
        /// The block's take.
        sequence: Sequence,
        /// The stream.
        stream: StreamId,
        /// The epoch.
        epoch: Epoch,
        /// The checksum of the stream's previous chunk header.
        previous: u32,
        /// Its number in the stream.
        number: ChunkNumber,
        /// The run its samples belong to.
        run: RunId,
        /// The configuration its samples need.
        configuration: ConfigurationHash,
        /// How many anchors it has.
        anchors: u32,
        /// How many entries it has.
        entries: u32,
        /// How many of them are video sync samples.
        sync_samples: u32,
        /// How many samples end in it.
        samples: u32,
        /// The bytes of all payloads.
        payload_bytes: u32,
        /// The checksum of anchors and entries.
        table_checksum: u32,
        /// The earliest moment in it.
        wall_min: WallTime,
        /// The latest moment in it.
        wall_max: WallTime,
        /// The highest sequence granted when it was made.
        rank: Sequence,
        /// A digest chain, zero = none.
        digest: Spare<32>,
        /// Transform id, key id and tag for encryption, zero = none.
        encryption: Zero<32>,
        /// How long the volume had been open for writing when it was made, in seconds.
        running_s: u64,
        /// How many further chunks stood here, whose numbers follow its own; 0 but where chunks were overwritten.
        covers: u32,
        /// Where chunks were overwritten: the checksum of the last one's header, to which the next chunk links.
        replaced: u32,
        /// Bit 0: the wall clock was synchronised when it was made, and within half a day of these moments.
        flags: u8,
    }
}

/// Set in [`ChunkHeader::flags`] where the moments were vouched for by a synchronised clock: only such prove an age.
pub(crate) const VOUCHED: u8 = 1;

impl Framed for ChunkHeader {
    const MAGIC: [u8; 8] = *b"KEHA-CHK";
    const SIZE: usize = 256;
}

/// What the second copy of the header begins with.
pub(crate) const TAIL_MAGIC: [u8; 8] = *b"KEHA-CHT";

record! {
    /// A clock anchor for the entries of its track from `first_entry` on, up to the track's next anchor, and the base from
    /// which they count.
    pub(crate) struct AnchorRecord {
        /// The track.
        track: TrackNumber,
        /// Where the wall time comes from.
        source: ClockSource,
        /// Reserved.
        zero: Zero<2>,
        /// Ticks per second.
        timescale: u32,
        /// The ticks from which these entries count.
        base: i64,
        /// A moment on the media clock.
        ticks: i64,
        /// Its wall time.
        wall: WallTime,
        /// When the packet that gave it arrived.
        arrival: WallTime,
        /// The camera's clock minus the recorder's, in nanoseconds.
        camera_offset_ns: i64,
        /// How far off the wall time may be, in microseconds.
        uncertainty_us: u32,
        /// The first entry it holds for. Anchors stand in the order of these.
        first_entry: u32,
    }
}

impl Field for ClockSource {
    const BYTES: usize = 1;

    fn put(&self, out: &mut [u8]) {
        out[0] = *self as u8;
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        ClockSource::from_byte(*bytes.first()?)
    }
}

impl AnchorRecord {
    /// The stored form of an anchor that holds from an entry on.
    pub(crate) fn new(anchor: &Anchor, base: i64, first_entry: u32) -> AnchorRecord {
        AnchorRecord {
            track: anchor.track,
            source: anchor.source,
            zero: Zero,
            timescale: anchor.timescale,
            base,
            ticks: anchor.ticks,
            wall: anchor.wall,
            arrival: anchor.arrival,
            camera_offset_ns: if planted!(CameraClockForgotten) { 0 } else { anchor.camera_offset_ns },
            uncertainty_us: anchor.uncertainty_us,
            first_entry,
        }
    }

    /// The anchor.
    pub(crate) fn anchor(&self) -> Anchor {
        Anchor {
            track: self.track,
            timescale: self.timescale,
            ticks: self.ticks,
            wall: self.wall,
            source: self.source,
            uncertainty_us: self.uncertainty_us,
            arrival: self.arrival,
            camera_offset_ns: self.camera_offset_ns,
        }
    }
}

record! {
    /// A sample, or a fragment of one.
    pub(crate) struct Entry {
        /// Ticks since the base of its anchor.
        delta: i32,
        /// The payload's length in bytes.
        bytes: u32,
        /// The payload's checksum.
        checksum: u32,
        /// Its properties.
        flags: SampleFlags,
        /// The track.
        track: TrackNumber,
        /// Reserved.
        zero: Zero<1>,
    }
}

const _: () = assert!(Entry::BYTES == 16 && AnchorRecord::BYTES == 56);

impl Field for SampleFlags {
    const BYTES: usize = 2;

    fn put(&self, out: &mut [u8]) {
        self.0.put(out);
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        u16::get(bytes).filter(|bits| bits & !SampleFlags::KNOWN.0 == 0).map(SampleFlags)
    }
}

/// The bytes of a chunk before padding.
pub(crate) fn bytes_unpadded(anchors: usize, entries: usize, payload: usize) -> usize {
    2 * payload_at(anchors, entries) + payload
}

/// An entry and the pieces of its payload.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// The entry; length and checksum are filled in when the chunk is sealed.
    pub(crate) entry: Entry,
    /// Its payload.
    pub(crate) data: Vec<Bytes>,
}

/// Writes a chunk into `out`, whose length is the chunk's, every byte of it, and returns the header as written with its
/// checksum.
pub(crate) fn seal(
    header: &ChunkHeader,
    anchors: &[AnchorRecord],
    pieces: &[Piece],
    out: &mut [u8],
) -> (ChunkHeader, u32) {
    let table = ChunkHeader::SIZE
        ..ChunkHeader::SIZE + anchors.len() * AnchorRecord::BYTES + pieces.len() * Entry::BYTES;
    let mut place = table.start;
    for anchor in anchors {
        anchor.put(&mut out[place..place + AnchorRecord::BYTES]);
        place += AnchorRecord::BYTES;
    }
    let mut at = table.end;
    for piece in pieces {
        let (begin, mut checksum) = (at, Crc32c::new());
        for data in &piece.data {
            // What has just been read for its checksum is in the cache, the copy is not.
            checksum.add(data);
            copy_past_cache(data, &mut out[at..at + data.len()]);
            at += data.len();
        }
        let entry = Entry { bytes: (at - begin) as u32, checksum: checksum.value(), ..piece.entry.clone() };
        entry.put(&mut out[place..place + Entry::BYTES]);
        place += Entry::BYTES;
    }
    let header = ChunkHeader {
        bytes: out.len() as u32,
        anchors: anchors.len() as u32,
        entries: pieces.len() as u32,
        payload_bytes: (at - table.end) as u32,
        table_checksum: crc32c(&out[table.clone()]),
        ..header.clone()
    };
    let tail_table = out.len() - ChunkHeader::SIZE - table.len();
    out[at..tail_table].fill(0);
    out.copy_within(table, tail_table);
    let checksum = reseal(&header, out);
    (header, checksum)
}

/// Replaces both headers of a sealed chunk that goes to another place.
pub(crate) fn reseal(header: &ChunkHeader, out: &mut [u8]) -> u32 {
    let tail = out.len() - ChunkHeader::SIZE;
    header.seal_as(TAIL_MAGIC, &mut out[tail..]);
    header.seal(out)
}

/// The header at the head of these bytes.
pub(crate) fn head(bytes: &[u8]) -> Option<(ChunkHeader, u32)> {
    ChunkHeader::unseal(bytes).filter(|(header, _)| header.is_sane())
}

/// The header at the tail of these bytes.
pub(crate) fn tail(bytes: &[u8]) -> Option<(ChunkHeader, u32)> {
    let at = bytes.len().checked_sub(ChunkHeader::SIZE)?;
    ChunkHeader::unseal_as(TAIL_MAGIC, &bytes[at..]).filter(|(header, _)| header.is_sane())
}

impl ChunkHeader {
    /// The bytes of one copy of the tables.
    pub(crate) fn table_bytes(&self) -> usize {
        self.anchors as usize * AnchorRecord::BYTES + self.entries as usize * Entry::BYTES
    }

    /// Where the payloads begin, in bytes from the chunk's beginning.
    pub(crate) fn payload_at(&self) -> usize {
        ChunkHeader::SIZE + self.table_bytes()
    }

    /// The number of the last chunk that it stands for: its own, but where several were overwritten.
    pub(crate) fn last_number(&self) -> ChunkNumber {
        ChunkNumber(self.number.0.saturating_add(u64::from(self.covers)))
    }

    /// The checksum to which the next chunk links, given that of this header.
    pub(crate) fn link(&self, checksum: u32) -> u32 {
        if self.kind.is_void() { self.replaced } else { checksum }
    }

    fn is_sane(&self) -> bool {
        const MANY: u32 = 1 << 24;
        // Each chunk that was overwritten had a sector at least.
        let covers = u64::from(self.covers) * super::SECTOR_BYTES as u64;
        (self.kind.is_void() || self.covers == 0)
            && covers <= u64::from(self.bytes)
            && self.anchors < MANY
            && self.entries < MANY
            && self.bytes <= 1 << 28
            && bytes_unpadded(self.anchors as usize, self.entries as usize, self.payload_bytes as usize)
                <= self.bytes as usize
    }
}

/// The tables of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tables {
    /// Its entries.
    pub(crate) entries: Vec<Entry>,
    anchors: Vec<Anchor>,
    /// For each entry when it is presented; `None` if its track has no anchor.
    times: Vec<Option<EntryTime>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EntryTime {
    anchor: usize,
    ticks: i64,
}

impl Tables {
    /// Reads one copy of the tables.
    pub(crate) fn read(header: &ChunkHeader, copy: &[u8]) -> Option<Tables> {
        if copy.len() != header.table_bytes()
            || (crc32c(copy) != header.table_checksum && !planted!(SampleTableUnverified))
        {
            return None;
        }
        let (anchors, entries) = copy.split_at_checked(header.anchors as usize * AnchorRecord::BYTES)?;
        let anchors: Vec<AnchorRecord> =
            anchors.chunks_exact(AnchorRecord::BYTES).map(AnchorRecord::get).collect::<Option<_>>()?;
        let entries: Vec<Entry> =
            entries.chunks_exact(Entry::BYTES).map(Entry::get).collect::<Option<_>>()?;
        let payload: u64 = entries.iter().map(|entry| u64::from(entry.bytes)).sum();
        if payload != u64::from(header.payload_bytes)
            || !anchors.is_sorted_by_key(|record| record.first_entry)
        {
            return None;
        }
        let times = times(&anchors, &entries);
        Some(Tables { entries, anchors: anchors.iter().map(AnchorRecord::anchor).collect(), times })
    }

    /// The copy at the head of a whole chunk.
    pub(crate) fn at_head(header: &ChunkHeader, chunk: &[u8]) -> Option<Tables> {
        Tables::read(header, chunk.get(ChunkHeader::SIZE..header.payload_at())?)
    }

    /// The copy at the tail of a whole chunk.
    pub(crate) fn at_tail(header: &ChunkHeader, chunk: &[u8]) -> Option<Tables> {
        let end = (header.bytes as usize).checked_sub(ChunkHeader::SIZE)?;
        Tables::read(header, chunk.get(end.checked_sub(header.table_bytes())?..end)?)
    }

    /// Its anchors, in the order of the entries they hold for.
    pub(crate) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// The anchor of an entry; `None` if its track has none.
    pub(crate) fn anchor_of(&self, entry: u32) -> Option<&Anchor> {
        self.anchors.get(self.time(entry)?.anchor)
    }

    /// Ticks and wall time of an entry; `None` if its track has no anchor.
    pub(crate) fn time_of(&self, entry: u32) -> Option<(i64, WallTime)> {
        let ticks = self.time(entry)?.ticks;
        Some((ticks, self.anchor_of(entry)?.wall_of(ticks)))
    }

    /// Track and ticks of the last sample that ends here.
    pub(crate) fn last_sample(&self) -> Option<(TrackNumber, i64)> {
        let goes_on = |flags: SampleFlags| {
            flags.contains(SampleFlags::FIRST_FRAGMENT) || flags.contains(SampleFlags::MORE_FRAGMENT)
        };
        let mut both = self.entries.iter().zip(&self.times);
        let (entry, time) = both.rfind(|(entry, _)| !goes_on(entry.flags))?;
        Some((entry.track, time.as_ref()?.ticks))
    }

    fn time(&self, entry: u32) -> Option<EntryTime> {
        self.times.get(entry as usize).copied().flatten()
    }
}

/// The anchor and ticks of each entry, in one pass over both tables.
fn times(anchors: &[AnchorRecord], entries: &[Entry]) -> Vec<Option<EntryTime>> {
    let mut in_force: [Option<usize>; 256] = [None; 256];
    let mut next = 0;
    let mut out = Vec::with_capacity(entries.len());
    for (index, entry) in (0..).zip(entries) {
        while let Some(record) = anchors.get(next).filter(|record| record.first_entry <= index) {
            in_force[usize::from(record.track.0)] = Some(next);
            next += 1;
        }
        out.push(in_force[usize::from(entry.track.0)].and_then(|anchor| {
            let ticks = anchors[anchor].base.checked_add(i64::from(entry.delta))?;
            Some(EntryTime { anchor, ticks })
        }));
    }
    out
}

/// Where the payloads begin, in bytes from the chunk's beginning.
pub(crate) fn payload_at(anchors: usize, entries: usize) -> usize {
    ChunkHeader::SIZE + anchors * AnchorRecord::BYTES + entries * Entry::BYTES
}

/// The padded length of a chunk in bytes: such that no page holds bytes of both tables, unless it holds all of the chunk.
pub(crate) fn bytes_padded(anchors: usize, entries: usize, payload: usize, page_bytes: usize) -> usize {
    let padded = round_up(bytes_unpadded(anchors, entries, payload), page_bytes);
    let head = payload_at(anchors, entries);
    let shared = padded > page_bytes && (head - 1) / page_bytes == (padded - head) / page_bytes;
    if shared && !planted!(TablesTogether) { padded + page_bytes } else { padded }
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
