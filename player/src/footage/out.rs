//! Where a file's bytes go: to whoever asked, and of all the bytes those that were asked for. What was read is passed on where it lies in
//! memory, without copying it; only short pieces are put together.

use bytes::{Buf, Bytes, BytesMut};
use keha_fs::ChunkNumber;
use std::ops::{ControlFlow, Range};

/// Pieces of at least so many bytes are given as they are; shorter ones are put together to so many.
const PIECE_BYTES: usize = 16 << 10;

/// Takes bytes.
pub(crate) type Give<'a> = &'a mut dyn FnMut(Bytes) -> ControlFlow<()>;

/// Takes a file from its beginning, or from anywhere, and passes on a range of it.
pub(super) struct Out<'a> {
    wanted: Range<u64>,
    at: u64,
    /// Short pieces, together.
    short: BytesMut,
    give: Give<'a>,
    goes_on: &'a dyn Fn() -> bool,
    /// The chunk that was read last.
    chunk: Option<ChunkNumber>,
    given: u64,
    stopped: bool,
}

impl<'a> Out<'a> {
    /// What is written first stands at `at` in the file.
    pub(super) fn new(at: u64, wanted: Range<u64>, goes_on: &'a dyn Fn() -> bool, give: Give<'a>) -> Out<'a> {
        Out { wanted, at, short: BytesMut::new(), give, goes_on, chunk: None, given: 0, stopped: false }
    }

    /// A sample of a chunk was read. Breaks when nothing more is wanted, which is asked at every chunk: what is left out is given to
    /// nobody who could break it off.
    pub(super) fn reads(&mut self, chunk: ChunkNumber) -> ControlFlow<()> {
        if self.chunk.replace(chunk) != Some(chunk) && !(self.goes_on)() {
            self.stopped = true;
        }
        if self.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Takes the next bytes. Breaks when nothing behind them is wanted.
    pub(super) fn write(&mut self, mut data: Bytes) -> ControlFlow<()> {
        let begins = self.at;
        self.at = begins.saturating_add(data.len() as u64);
        let skip = self.wanted.start.saturating_sub(begins).min(data.len() as u64) as usize;
        let end = self.wanted.end.saturating_sub(begins).min(data.len() as u64) as usize;
        data.truncate(end.max(skip));
        data.advance(skip);
        if data.len() < PIECE_BYTES {
            self.put_together(&data);
        } else {
            self.pass_short_on();
            self.pass_on(data);
        }
        if self.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether nothing more is wanted.
    pub(super) fn is_done(&self) -> bool {
        self.stopped || self.at >= self.wanted.end
    }

    /// Where the next bytes stand in the file.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Passes on what is left: how many bytes were given in all, and whether whoever takes them stopped.
    pub(super) fn finish(mut self) -> (u64, bool) {
        self.pass_short_on();
        (self.given, self.stopped)
    }

    fn put_together(&mut self, data: &[u8]) {
        if self.short.len() + data.len() > PIECE_BYTES {
            self.pass_short_on();
        }
        if self.short.capacity() == 0 && !data.is_empty() {
            self.short.reserve(PIECE_BYTES);
        }
        self.short.extend_from_slice(data);
    }

    fn pass_short_on(&mut self) {
        if !self.short.is_empty() {
            let together = std::mem::take(&mut self.short).freeze();
            self.pass_on(together);
        }
    }

    fn pass_on(&mut self, piece: Bytes) {
        if !self.stopped {
            self.given += piece.len() as u64;
            self.stopped = (self.give)(piece).is_break();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn of_all_the_bytes_those_that_were_asked_for_come_out(
            pieces in proptest::collection::vec(prop_oneof![0..100usize, 0..20_000usize, 0..300_000usize], 0..12),
            from in 0..2_000_000u64,
            length in 0..2_000_000u64,
        ) {
            let whole: Bytes = (0..pieces.iter().sum::<usize>()).map(|at| (at % 251) as u8).collect();
            let mut found = Vec::new();
            let mut give = |piece: Bytes| {
                assert!(!piece.is_empty());
                found.extend_from_slice(&piece);
                ControlFlow::Continue(())
            };
            let mut out = Out::new(0, from..from + length, &|| true, &mut give);
            let mut rest = whole.clone();
            for piece in pieces {
                if out.write(rest.split_to(piece)).is_break() {
                    break;
                }
            }
            let (given, stopped) = out.finish();
            let end = ((from + length) as usize).min(whole.len());
            prop_assert_eq!(&found[..], &whole[(from as usize).min(end)..end]);
            prop_assert_eq!((given, stopped), (found.len() as u64, false));
        }
    }
}
