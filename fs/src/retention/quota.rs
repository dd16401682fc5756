//! Quotas: how many blocks a stream may have.
//!
//! A quota is a limit in bytes of blocks, not of footage: a block counts whole from when it is taken. Counted are the blocks that
//! a stream writes, parks or has sealed; not those that a hold keeps (evidence must not push out what is new), not withdrawn
//! ones. A stream comes to one block more than its quota while it writes the last one. Quotas need not add up to the volume:
//! what is more than there is never comes to bear, what is less stays free.

/// The fewest blocks of a quota: one that is written, one that is full, one to turn over.
pub(super) const BLOCKS_MIN: u32 = 3;

/// Whole blocks that a quota comes to; `None` if there is none.
pub(crate) fn blocks_of(quota_bytes: u64, block_bytes: usize) -> Option<u32> {
    let blocks = u32::try_from(quota_bytes / block_bytes.max(1) as u64).unwrap_or(u32::MAX);
    (quota_bytes > 0).then_some(blocks.max(BLOCKS_MIN))
}

/// Whether a stream with so many blocks has more than its quota.
pub(crate) fn is_over(quota_blocks: Option<u32>, blocks: u32) -> bool {
    quota_blocks.is_some_and(|quota| blocks > quota) && !planted!(QuotaIgnored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_whole_blocks_and_none_is_none() {
        for (bytes, blocks) in [
            (0, None),
            (1, Some(3)),
            (3 * 1024, Some(3)),
            (5 * 1024 - 1, Some(4)),
            (5 * 1024, Some(5)),
            (u64::MAX, Some(u32::MAX)),
        ] {
            assert_eq!(blocks_of(bytes, 1024), blocks, "{bytes}");
        }
    }

    #[test]
    fn a_stream_is_over_its_quota_with_one_block_more() {
        for (quota, blocks, over) in
            [(None, u32::MAX, false), (Some(3), 0, false), (Some(3), 3, false), (Some(3), 4, true)]
        {
            assert_eq!(is_over(quota, blocks), over, "{quota:?} {blocks}");
        }
    }
}
