//! What of a short read or write counts: the rule that both engines go on by.

use std::io;

use crate::disk::OperationKind;

/// The unit in which a transfer can be taken up again.
#[derive(Copy, Clone, Debug)]
pub(super) struct Transfer {
    unit_bytes: usize,
}

impl Transfer {
    /// Where the page cache is not there to help, the rest of a transfer has to begin aligned.
    pub(super) fn new(direct: bool, alignment_bytes: u32) -> Self {
        Self { unit_bytes: if direct { alignment_bytes as usize } else { 1 } }
    }

    /// How many of `moved` bytes count, of `wanted` that were left; the rest is to be moved from there on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] or [`io::ErrorKind::WriteZero`] where nothing counts: it would never end.
    pub(super) fn counted(self, moved: usize, wanted: usize, kind: OperationKind) -> io::Result<usize> {
        let counted = if moved < wanted { moved / self.unit_bytes * self.unit_bytes } else { wanted };
        if counted == 0 {
            let none = match kind {
                OperationKind::Read => io::ErrorKind::UnexpectedEof,
                OperationKind::Write | OperationKind::Flush => io::ErrorKind::WriteZero,
            };
            return Err(io::Error::new(none, format!("{moved} of {wanted} bytes moved")));
        }
        Ok(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_page_cache_only_whole_units_count() {
        let direct = Transfer::new(true, 512);
        assert_eq!(direct.counted(700, 4096, OperationKind::Read).unwrap(), 512);
        assert_eq!(direct.counted(4096, 4096, OperationKind::Read).unwrap(), 4096);
        let none = |kind| direct.counted(511, 4096, kind).unwrap_err().kind();
        assert_eq!(none(OperationKind::Read), io::ErrorKind::UnexpectedEof);
        assert_eq!(none(OperationKind::Write), io::ErrorKind::WriteZero);
    }

    #[test]
    fn through_the_page_cache_each_byte_counts() {
        let buffered = Transfer::new(false, 512);
        assert_eq!(buffered.counted(1, 4096, OperationKind::Write).unwrap(), 1);
        let none = buffered.counted(0, 4096, OperationKind::Read).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::UnexpectedEof);
    }
}
