//! A row of the table held against the header of its block: which of the two counts. Asked wherever the two meet: at an opening
//! with and without a round record, by a repair, and before a block is taken.
//!
//! | the row | the block's header | the row then |
//! |---|---|---|
//! | any | of a later take | found again from the block |
//! | was lost, and nothing was found again | cannot be read | withdrawn, so that nobody overwrites what may be there |
//! | any, and a round record tells what it cannot | of the same take, an earlier one, another block or volume, or none | stays: what is missing is damage, and told as such; what was given up, erased or has expired does not come back |
//!
//! Where no round record stands, the table alone tells what the block cannot:
//!
//! | the row | the block's header | the row then |
//! |---|---|---|
//! | withdrawn, free | of the same take, an earlier one, or none | stays |
//! | erased, expired | of an earlier take, or none | stays |
//! | erased, expired, in place | of the same take | found again from the block: what a crash left of it is to be finished |
//! | parked or sealed, with footage | of an earlier take, or none | stays |
//! | parked or sealed, with footage | of the same take | found again from the block, that may hold more; what the row knows is durable |
//! | open, granted, parked or sealed without footage, lost | of the same take or an earlier one, or none | found again from the block |
//!
//! A row that knows only a part of its take stays where a record stands: what stands behind its end may be what a crash discarded,
//! and that must never come back.

use crate::format::block::BlockHeader;
use crate::format::table::{PART_VOID, Row};
use crate::report::BlockState;
use crate::types::Sequence;

/// What is to be done about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays.
    Keep,
    /// It is found again from the block.
    Rebuild,
    /// Nothing is known of the block and nothing can be read of it: it is withdrawn.
    Withdraw,
}

/// What was read of a block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Neither copy verifies, or it is of another place.
    None,
    /// The disk does not give it.
    Unreadable,
    /// It stands, and is of this take.
    Of(Sequence),
}

impl Header {
    /// What a read came to.
    pub(crate) fn of(read: &std::io::Result<Option<BlockHeader>>) -> Header {
        match read {
            Ok(Some(header)) => Header::Of(header.sequence),
            Ok(None) => Header::None,
            Err(_) => Header::Unreadable,
        }
    }
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The table and a round record, or the writer's memory.
    Known,
    /// The block alone: the table had lost it.
    Block,
    /// The table, without a round record.
    TableAlone,
}

/// Decides about a row.
pub(crate) fn judge(row: &Row, source: Source, header: Header) -> Verdict {
    let same = header == Header::Of(row.sequence);
    match (header, source) {
        (Header::Of(sequence), _) if sequence > row.sequence => Verdict::Rebuild,
        (Header::Unreadable, Source::Block) if !row.is_live() => Verdict::Withdraw,
        (Header::Of(_), Source::Block | Source::Known) if !row.is_live() && planted!(GivenUpComesBack) => {
            Verdict::Rebuild
        }
        (_, Source::TableAlone) if !stays(row, same || planted!(StaleErasureComesBack)) => Verdict::Rebuild,
        _ => Verdict::Keep,
    }
}

/// Whether a row of a table without a record stays, beside a header that is or is not of the same take.
fn stays(row: &Row, same: bool) -> bool {
    match row.state {
        BlockState::Bad | BlockState::Free => true,
        BlockState::Erased | BlockState::Expired => !same || row.flags & PART_VOID == 0,
        BlockState::Parked | BlockState::Sealed => row.is_live() && !same,
        BlockState::Open | BlockState::Granted => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [Header; 4] =
        [Header::None, Header::Unreadable, Header::Of(Sequence(4)), Header::Of(Sequence(5))];

    fn rows() -> impl Iterator<Item = Row> {
        let states = BlockState::ALL.into_iter().flat_map(|state| [0, 3].map(|chunks| (state, chunks)));
        let all = states.flat_map(|(state, chunks)| [0, PART_VOID].map(|flags| (state, chunks, flags)));
        all.map(|(state, chunks, flags)| Row {
            state,
            chunks,
            flags,
            sequence: Sequence(5),
            ..Row::default()
        })
    }

    #[test]
    fn beside_a_record_every_row_is_judged_as_the_first_table_says() {
        for row in rows() {
            for source in [Source::Known, Source::Block] {
                for header in HEADERS {
                    let unknown = source == Source::Block && !row.is_live() && header == Header::Unreadable;
                    let expected = if unknown { Verdict::Withdraw } else { Verdict::Keep };
                    assert_eq!(judge(&row, source, header), expected, "{row:?} {source:?} {header:?}");
                }
                assert_eq!(judge(&row, source, Header::Of(Sequence(6))), Verdict::Rebuild, "{row:?}");
            }
        }
    }

    #[test]
    fn without_a_record_every_row_is_judged_as_the_second_table_says() {
        use BlockState::*;
        for row in rows() {
            for header in HEADERS {
                let same = header == Header::Of(Sequence(5));
                let stays = match row.state {
                    Bad | Free => true,
                    Erased | Expired => !(same && row.flags == PART_VOID),
                    Parked | Sealed => row.chunks > 0 && !same,
                    Open | Granted => false,
                };
                let expected = if stays { Verdict::Keep } else { Verdict::Rebuild };
                assert_eq!(judge(&row, Source::TableAlone, header), expected, "{row:?} {header:?}");
            }
            assert_eq!(judge(&row, Source::TableAlone, Header::Of(Sequence(6))), Verdict::Rebuild);
        }
    }
}
