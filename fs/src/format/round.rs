//! The round log: what each flush round was about to do, in a small ring of slots, one copy at each end of the volume.
//!
//! ```text
//! | round header | named blocks | granted blocks | rows |
//! ```

use super::checksum::crc32c;
use super::table::Row;
use super::{Field, Framed, Zero, record};
use crate::types::{BlockIndex, ChunkNumber, Epoch, RoundNumber, Sequence, StreamId, VolumeId, WallTime};

record! {
    /// The head of a round record.
    pub(crate) struct RoundHeader {
        /// Format version.
        version: u16,
        /// 1: the volume was closed in this round and nothing is open.
        closed: bool,
        /// Reserved.
        zero: Zero<1>,
        /// The epoch.
        epoch: Epoch,
        /// The round.
        round: RoundNumber,
        /// The volume.
        volume: VolumeId,
        /// The highest sequence ever granted.
        highest: Sequence,
        /// When the record was made.
        at: WallTime,
        /// How many named blocks follow.
        named: u32,
        /// How many granted blocks follow them.
        granted: u32,
        /// How many rows follow them.
        rows: u32,
        /// The checksum of all that follows.
        body_checksum: u32,
        /// Seconds the volume has been open for writing, over its life.
        running_seconds: u64,
        /// The newest generation of the holds: one that stands nowhere any more was lost.
        holds_generation: u64,
        /// A moment that the synchronised clock has not fallen behind since, 0 = none.
        clock_mark: WallTime,
        /// How long the volume had been open for writing at that moment, in seconds.
        clock_mark_running_s: u64,
        /// When the day began in which the following were counted, in seconds the volume had been open for writing.
        faults_since: u64,
        /// How many blocks were withdrawn after write errors in that day.
        faults_blocks: u32,
    }
}

impl Framed for RoundHeader {
    const MAGIC: [u8; 8] = *b"KEHA-RND";
    const SIZE: usize = 128;
}

impl RoundHeader {
    /// The size of the record that it heads, in bytes.
    pub(crate) fn record_bytes(&self) -> usize {
        let part = |count: u32, bytes: usize| (count as usize).saturating_mul(bytes);
        RoundHeader::SIZE
            .saturating_add(part(self.named, NamedBlock::BYTES))
            .saturating_add(part(self.granted, GrantedBlock::BYTES))
            .saturating_add(part(self.rows, RoundRow::BYTES))
    }
}

record! {
    /// A block with writes that were not known to be durable when the record was made.
    pub(crate) struct NamedBlock {
        /// The block.
        block: BlockIndex,
        /// How much of it was durable, in bytes from its beginning.
        durable_end: u32,
        /// The take.
        sequence: Sequence,
        /// Whose it is.
        stream: StreamId,
        /// The last chunk of the stream that was durable.
        durable_chunk: ChunkNumber,
    }
}

record! {
    /// A block set aside for a coming take. What it held is given up.
    pub(crate) struct GrantedBlock {
        /// The block.
        block: BlockIndex,
        /// Reserved.
        zero: Zero<4>,
        /// The sequence it will have.
        sequence: Sequence,
    }
}

record! {
    /// A row that is not yet in the table.
    pub(crate) struct RoundRow {
        /// The block.
        block: BlockIndex,
        /// Reserved.
        zero: Zero<4>,
        /// Its row.
        row: Row,
    }
}

/// A whole round record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoundRecord {
    /// Its head; the counts and the checksum are filled in by [`RoundRecord::seal`].
    pub(crate) header: RoundHeader,
    /// Blocks to examine after a crash.
    pub(crate) named: Vec<NamedBlock>,
    /// Blocks set aside.
    pub(crate) granted: Vec<GrantedBlock>,
    /// Rows not yet in the table.
    pub(crate) rows: Vec<RoundRow>,
}

impl RoundRecord {
    /// Its size on disk in bytes, without padding.
    pub(crate) fn bytes(&self) -> usize {
        RoundHeader::SIZE
            + self.named.len() * NamedBlock::BYTES
            + self.granted.len() * GrantedBlock::BYTES
            + self.rows.len() * RoundRow::BYTES
    }

    /// Every block that it tells something of.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = BlockIndex> + '_ {
        let named = self.named.iter().map(|named| named.block);
        let granted = self.granted.iter().map(|granted| granted.block);
        named.chain(granted).chain(self.rows.iter().map(|row| row.block))
    }

    /// Writes it into `out`, which is zeroed and large enough.
    pub(crate) fn seal(&self, out: &mut [u8]) {
        let bytes = self.bytes();
        let mut at = RoundHeader::SIZE;
        put_all(&self.named, out, &mut at);
        put_all(&self.granted, out, &mut at);
        put_all(&self.rows, out, &mut at);
        let header = RoundHeader {
            named: self.named.len() as u32,
            granted: self.granted.len() as u32,
            rows: self.rows.len() as u32,
            body_checksum: crc32c(&out[RoundHeader::SIZE..bytes]),
            ..self.header.clone()
        };
        header.seal(out);
    }

    /// Reads a record from a slot; `None` if none stands there whole.
    pub(crate) fn unseal(slot: &[u8], volume: VolumeId) -> Option<RoundRecord> {
        let (header, _) = RoundHeader::unseal(slot)?;
        let mut rest = slot.get(RoundHeader::SIZE..)?;
        let all = rest;
        let named = get_all(&mut rest, header.named)?;
        let granted = get_all(&mut rest, header.granted)?;
        let rows = get_all(&mut rest, header.rows)?;
        let body = &all[..all.len() - rest.len()];
        let whole = header.volume == volume
            && (crc32c(body) == header.body_checksum || planted!(RecordBodyUnverified));
        whole.then_some(RoundRecord { header, named, granted, rows })
    }
}

fn put_all<T: Field>(values: &[T], out: &mut [u8], at: &mut usize) {
    for value in values {
        value.put(&mut out[*at..*at + T::BYTES]);
        *at += T::BYTES;
    }
}

fn get_all<T: Field>(rest: &mut &[u8], count: u32) -> Option<Vec<T>> {
    let bytes = (count as usize).checked_mul(T::BYTES)?;
    let (mine, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    mine.chunks_exact(T::BYTES).map(T::get).collect()
}
