//! A block's header and trailer. The header stands twice in the block's first page, the trailer in its last.
//!
//! ```text
//! | header page | chunk | chunk | ... (room) | footer | trailer page |
//! ```

use super::table::Row;
use super::{Framed, Spare, Zero, record};
use crate::types::{BlockIndex, ChunkNumber, Epoch, RoundNumber, Sequence, StreamId, VolumeId, WallTime};

record! {
    /// Whose a block is and which chunk comes first in it.
    pub(crate) struct BlockHeader {
        /// Format version.
        version: u16,
        /// Reserved.
        zero: Zero<2>,
        /// This block.
        block: BlockIndex,
        /// The volume.
        volume: VolumeId,
        /// The take.
        sequence: Sequence,
        /// Whose it is.
        stream: StreamId,
        /// The epoch of the take.
        epoch: Epoch,
        /// The checksum of the stream's last chunk header before this block.
        previous: u32,
        /// The number of the first chunk.
        first_chunk: ChunkNumber,
        /// The round whose record granted the block.
        granted_in: RoundNumber,
        /// When the block was taken.
        taken: WallTime,
        /// Transform and key ids for encryption, zero = none.
        encryption: Zero<36>,
        /// The stream's maximum age when the block was taken, in seconds, 0 = none: for where the stream directory is lost.
        maximum_age_s: u64,
        /// Features of the volume that every user must know: for where no superblock stands.
        incompat: u64,
        /// Features of the volume that a writer must know.
        ro_compat: u64,
    }
}

impl Framed for BlockHeader {
    const MAGIC: [u8; 8] = *b"KEHA-BLK";
    const SIZE: usize = 256;
}

record! {
    /// What stands in a sealed block, and where its footer is. A cache.
    pub(crate) struct BlockTrailer {
        /// This block.
        block: BlockIndex,
        /// Where the footer begins, in bytes from the block's beginning.
        footer_at: u32,
        /// Its length in bytes, without padding.
        footer_bytes: u32,
        /// Its checksum.
        footer_checksum: u32,
        /// The volume.
        volume: VolumeId,
        /// The block's row in the table.
        row: Row,
        /// Signature over the digest chain, zero = none.
        signature: Spare<64>,
        /// The key of that signature, zero = none.
        signature_key: Spare<16>,
    }
}

impl Framed for BlockTrailer {
    const MAGIC: [u8; 8] = *b"KEHA-END";
    const SIZE: usize = 512;
}

/// Where the second copy of the header stands in the header page.
pub(crate) fn second_header_at(page_bytes: usize) -> usize {
    page_bytes / 2
}

/// The header page.
pub(crate) fn seal_header_page(header: &BlockHeader, page: &mut [u8]) {
    page.fill(0);
    let second = second_header_at(page.len());
    header.seal(page);
    header.seal(&mut page[second..]);
}

/// The header from either copy, if it belongs to this place.
pub(crate) fn unseal_header_page(page: &[u8], volume: VolumeId, block: BlockIndex) -> Option<BlockHeader> {
    let second = page.get(second_header_at(page.len())..)?;
    [page, second]
        .into_iter()
        .take(if planted!(SecondBlockHeaderIgnored) { 1 } else { 2 })
        .filter_map(BlockHeader::unseal)
        .map(|(header, _)| header)
        .find(|header| {
            let here = header.block == block || planted!(BlockUnchecked);
            (header.volume == volume || planted!(VolumeUnchecked)) && here
        })
}
