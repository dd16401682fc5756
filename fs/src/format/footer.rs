//! The footer of a sealed block: where its chunks and video sync samples are. A cache: a block without one is read by its
//! chunk headers.
//!
//! ```text
//! | footer header | chunk entries | sync entries |
//! ```

use super::checksum::crc32c;
use super::chunk::ChunkKind;
use super::{Field, Framed, Zero, record};
use crate::types::{BlockIndex, ConfigurationHash, RunId, Sequence, TrackNumber, VolumeId, WallTime};

record! {
    /// The head of a footer.
    pub(crate) struct FooterHeader {
        /// The volume.
        volume: VolumeId,
        /// This block.
        block: BlockIndex,
        /// How many chunk entries follow.
        chunks: u32,
        /// The take.
        sequence: Sequence,
        /// How many sync entries follow them.
        syncs: u32,
        /// The checksum of all that follows.
        body_checksum: u32,
    }
}

impl Framed for FooterHeader {
    const MAGIC: [u8; 8] = *b"KEHA-FTR";
    const SIZE: usize = 64;
}

record! {
    /// A chunk of the block.
    pub(crate) struct ChunkPlace {
        /// Where it begins, in bytes from the block's beginning.
        offset: u32,
        /// Its length in bytes.
        bytes: u32,
        /// The checksum of its header.
        checksum: u32,
        /// Its kind.
        kind: ChunkKind,
        /// Reserved.
        zero: Zero<2>,
        /// Its run.
        run: RunId,
        /// Its configuration.
        configuration: ConfigurationHash,
        /// The earliest moment in it.
        wall_min: WallTime,
        /// The latest moment in it.
        wall_max: WallTime,
    }
}

record! {
    /// A place where decoding can start.
    pub(crate) struct SyncPlace {
        /// Which chunk of the block, from 0.
        chunk: u32,
        /// Which entry of its sample table, from 0.
        entry: u32,
        /// The wall time of the sample.
        wall: WallTime,
        /// Its track.
        track: TrackNumber,
        /// Reserved.
        zero: Zero<7>,
    }
}

/// A whole footer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The chunks in order.
    pub(crate) chunks: Vec<ChunkPlace>,
    /// The sync samples in order.
    pub(crate) syncs: Vec<SyncPlace>,
}

impl Footer {
    /// The size of a footer with so many entries, in bytes.
    pub(crate) fn bytes_for(chunks: usize, syncs: usize) -> usize {
        FooterHeader::SIZE + chunks * ChunkPlace::BYTES + syncs * SyncPlace::BYTES
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        Footer::bytes_for(self.chunks.len(), self.syncs.len())
    }

    /// Writes it into the beginning of `out` and returns the checksum of the whole.
    pub(crate) fn seal(
        &self,
        volume: VolumeId,
        block: BlockIndex,
        sequence: Sequence,
        out: &mut [u8],
    ) -> u32 {
        let mut at = FooterHeader::SIZE;
        for chunk in &self.chunks {
            chunk.put(&mut out[at..at + ChunkPlace::BYTES]);
            at += ChunkPlace::BYTES;
        }
        for sync in &self.syncs {
            sync.put(&mut out[at..at + SyncPlace::BYTES]);
            at += SyncPlace::BYTES;
        }
        let header = FooterHeader {
            volume,
            block,
            chunks: self.chunks.len() as u32,
            sequence,
            syncs: self.syncs.len() as u32,
            body_checksum: crc32c(&out[FooterHeader::SIZE..at]),
        };
        header.seal(out);
        crc32c(&out[..at])
    }

    /// Reads the footer of this block and take.
    pub(crate) fn unseal(
        bytes: &[u8],
        volume: VolumeId,
        block: BlockIndex,
        sequence: Sequence,
    ) -> Option<Footer> {
        let (header, _) = FooterHeader::unseal(bytes)?;
        if (header.volume, header.block, header.sequence) != (volume, block, sequence) {
            return None;
        }
        let body = bytes.get(FooterHeader::SIZE..)?;
        let chunk_bytes = (header.chunks as usize).checked_mul(ChunkPlace::BYTES)?;
        let (chunks, syncs) = body.split_at_checked(chunk_bytes)?;
        let syncs = syncs.get(..(header.syncs as usize).checked_mul(SyncPlace::BYTES)?)?;
        if crc32c(&body[..chunk_bytes + syncs.len()]) != header.body_checksum {
            return None;
        }
        Some(Footer {
            chunks: chunks.chunks_exact(ChunkPlace::BYTES).map(ChunkPlace::get).collect::<Option<_>>()?,
            syncs: syncs.chunks_exact(SyncPlace::BYTES).map(SyncPlace::get).collect::<Option<_>>()?,
        })
    }
}
