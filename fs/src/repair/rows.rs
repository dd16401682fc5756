//! What the row of a block shall say, given what it says and what stands in the block.
//!
//! | the row | the block's header | the row then |
//! |---|---|---|
//! | of any take | of a later take | found again from the block |
//! | live | of the same take | stays |
//! | live | of an earlier take, of another block or volume, or none | stays: what is missing is damage, and is told as such |
//! | holds nothing | of the same take or an earlier one, or none | stays: given up, erased and expired footage does not come back |
//! | was lost | cannot be read | withdrawn, so that nobody overwrites what may be there |
//!
//! A row that knows only a part of its take stays too: what stands behind its end may be what a crash discarded, and that must
//! never come back. A block whose row was lost (a table sector that does not verify) was found again from the block alone before, as at any
//! opening.

use crate::format::block::BlockHeader;
use crate::format::table::Row;
use crate::types::Sequence;

/// What is to be done about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays.
    Keep,
    /// It is found again from the block.
    Rebuild,
    /// Nothing is known of the block and nothing can be read of it: it is withdrawn.
    Withdraw,
}

/// What was read of a block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Neither copy verifies, or it is of another place.
    None,
    /// The disk does not give it.
    Unreadable,
    /// It stands, and is of this take.
    Of(Sequence),
}

impl Header {
    /// What a read came to.
    pub(super) fn of(read: &std::io::Result<Option<BlockHeader>>) -> Header {
        match read {
            Ok(Some(header)) => Header::Of(header.sequence),
            Ok(None) => Header::None,
            Err(_) => Header::Unreadable,
        }
    }
}

/// Decides about a row; `lost`: it did not stand in the table.
pub(super) fn judge(row: &Row, lost: bool, header: Header) -> Verdict {
    match header {
        Header::Of(sequence) if sequence > row.sequence => Verdict::Rebuild,
        Header::Unreadable if lost && !row.is_live() => Verdict::Withdraw,
        Header::Of(_) if !row.is_live() && planted!(GivenUpComesBack) => Verdict::Rebuild,
        _ => Verdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::BlockState;

    #[test]
    fn every_row_is_judged_as_the_table_above_says() {
        for state in BlockState::ALL {
            for chunks in [0, 3] {
                for lost in [false, true] {
                    let row = Row { state, chunks, sequence: Sequence(5), ..Row::default() };
                    let judged = |header| judge(&row, lost, header);
                    assert_eq!(judged(Header::Of(Sequence(6))), Verdict::Rebuild);
                    assert_eq!(judged(Header::Of(Sequence(4))), Verdict::Keep);
                    assert_eq!(judged(Header::None), Verdict::Keep);
                    assert_eq!(judged(Header::Of(Sequence(5))), Verdict::Keep);
                    let unknown = lost && !row.is_live();
                    let unreadable = if unknown { Verdict::Withdraw } else { Verdict::Keep };
                    assert_eq!(judged(Header::Unreadable), unreadable, "{state:?}");
                }
            }
        }
    }
}
