//! Verifying one block, chunk by chunk: every byte of it that lives, and what its row, footer and trailer say of it.
//!
//! One step reads one chunk, or a piece of a large void one, so that who verifies beside a recorder can pause between any two.
//! Knows one block and its row;
//! whether the ring has taken the block meanwhile is for the caller to find out before it believes a finding.

use crate::format::block::{BlockHeader, second_header_at};
use crate::format::chunk::ChunkKind;
use crate::format::table::{NO_FOOTER, Row};
use crate::format::{Framed, is_zero};
use crate::progress::Progress;
use crate::report::{BlockState, Finding};
use crate::scan::{Loaded, Located, Scanner, Take};
use crate::types::{Sequence, WallTime};

/// A void chunk that is not zeros.
pub(super) const NOT_WIPED: &str = "erased chunk";

/// What was verified so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) chunks: u64,
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
}

/// The verification of a block on its way.
pub(crate) struct BlockCheck {
    pub(crate) take: Take,
    row: Row,
    sum: Progress,
    /// Where the next chunk is looked for; 0: the header page was not looked at.
    offset: usize,
    /// A void chunk of which pieces are verified, and where the next one begins.
    void: Option<(Located, usize)>,
    done: bool,
    pub(crate) findings: Vec<Finding>,
    /// From the earliest to the latest moment of the chunks in which something was found, and around those lost whole.
    pub(crate) hit: Option<(WallTime, WallTime)>,
    pub(crate) verified: Verified,
}

impl BlockCheck {
    /// Begins to verify a block.
    pub(crate) fn new(scanner: &Scanner<'_>, take: Take, row: &Row) -> BlockCheck {
        BlockCheck {
            take,
            row: row.clone(),
            sum: Progress::new(&take, scanner.geometry.page_bytes),
            offset: 0,
            void: None,
            done: false,
            findings: Vec::new(),
            hit: None,
            verified: Verified::default(),
        }
    }

    /// Verifies all of it.
    pub(crate) fn run(&mut self, scanner: &Scanner<'_>) {
        while self.step(scanner) {}
    }

    /// Verifies the header page, the next chunk or piece of a void one, or what comes last; whether there is more to do.
    pub(crate) fn step(&mut self, scanner: &Scanner<'_>) -> bool {
        if self.done {
            return false;
        }
        let used = self.row.used_bytes as usize;
        if self.offset == 0 {
            self.offset = scanner.geometry.page_bytes;
            self.done = !self.check_header(scanner);
        } else if let Some((located, at)) = self.void.take() {
            self.check_void(scanner, located, at);
        } else if self.offset < used {
            self.next_chunk(scanner, used);
        } else {
            self.check_sum(scanner);
            self.done = true;
        }
        !self.done
    }

    fn next_chunk(&mut self, scanner: &Scanner<'_>, used: usize) {
        let offset = self.offset;
        let located = match scanner.chunk_at(&self.take, offset) {
            Some((located, _)) => located,
            None => match scanner.chunk_behind(&self.take, offset, used) {
                Some(located) => {
                    self.chunk_lost(scanner, offset, Some(&located));
                    located
                }
                None => {
                    self.chunk_lost(scanner, offset, None);
                    self.offset = used;
                    return;
                }
            },
        };
        // What says of itself that it ends where it began would be met for ever.
        self.offset = located.end().max(offset + 1);
        if located.header.kind.is_void() {
            let begin = located.header.offset as usize;
            self.check_void(scanner, located, begin);
            return;
        }
        let loaded = scanner.load(&located);
        self.check_chunk(scanner, &loaded);
        self.verified.chunks += 1;
        self.verified.samples += u64::from(located.header.samples);
        self.verified.bytes += loaded.bytes.len() as u64;
        self.sum.add(&located.header, located.checksum, &loaded.tables.unwrap_or_default());
    }

    /// What was overwritten must be zeros: verifies the piece of it that begins at `at`.
    fn check_void(&mut self, scanner: &Scanner<'_>, located: Located, at: usize) {
        let header = &located.header;
        let piece = scanner.wiped_piece(header, at);
        if piece.is_none() {
            let detail = "what was overwritten here is not zeros to its end";
            self.found(scanner, NOT_WIPED, header.offset as usize, false, detail.to_owned());
        }
        let next = piece.unwrap_or(located.end());
        self.verified.bytes += next.saturating_sub(at) as u64;
        if next < located.end() && !planted!(VoidVerifiedByHalf) {
            self.void = Some((located, next));
            return;
        }
        self.verified.chunks += 1;
        self.sum.add(header, located.checksum, &Default::default());
    }

    fn found(
        &mut self,
        scanner: &Scanner<'_>,
        what: &'static str,
        offset: usize,
        footage_lost: bool,
        detail: String,
    ) {
        let at = scanner.geometry.block_at(self.take.block) + offset as u64;
        let (block, stream) = (Some(self.take.block), Some(self.take.stream));
        self.findings.push(Finding { what, at, block, stream, footage_lost, detail });
    }

    /// Whether it is worth looking at the chunks.
    fn check_header(&mut self, scanner: &Scanner<'_>) -> bool {
        let page_bytes = scanner.geometry.page_bytes;
        let begins = scanner.geometry.block_at(self.take.block);
        if begins >= scanner.disk.size_bytes() {
            self.found(scanner, "block", 0, true, "lies behind the end of what is there".to_owned());
            return false;
        }
        let Ok(page) = scanner.read(self.take.block, 0, page_bytes) else {
            self.found(scanner, "block header", 0, false, "its page cannot be read".to_owned());
            return true;
        };
        if let Some((what, detail)) = foreign(scanner, &self.take, &page) {
            self.found(scanner, what, 0, true, detail);
            self.hit = Some((self.row.wall_min, self.row.wall_max));
            return false;
        }
        let second = second_header_at(page_bytes);
        for at in [0, second] {
            let mine = page.get(at..).and_then(BlockHeader::unseal).is_some_and(|(header, _)| {
                (header.volume, header.block, header.sequence, header.stream)
                    == (scanner.volume, self.take.block, self.take.sequence, self.take.stream)
            });
            if !mine {
                self.found(scanner, "block header", at, false, "this copy does not verify".to_owned());
            }
            let rest = at + BlockHeader::SIZE..if at == 0 { second } else { page_bytes };
            if !page.get(rest.clone()).is_some_and(is_zero) {
                let detail = "the rest of its page is not zero".to_owned();
                self.found(scanner, "block header", rest.start, false, detail);
            }
        }
        true
    }

    fn chunk_lost(&mut self, scanner: &Scanner<'_>, offset: usize, next: Option<&Located>) {
        // Where exactly in time it was can not be known: it was in this block.
        let detail = match next {
            Some(located) if located.header.offset as usize == offset => return,
            Some(located) => {
                let bytes = located.header.offset as usize - offset;
                format!("neither header verifies; {bytes} bytes are lost")
            }
            None => "neither header verifies; the rest of the block is lost".to_owned(),
        };
        self.found(scanner, "chunk", offset, true, detail);
        self.hit = Some((self.row.wall_min, self.row.wall_max));
    }

    fn check_chunk(&mut self, scanner: &Scanner<'_>, loaded: &Loaded) {
        let header = loaded.header();
        let media = header.kind == ChunkKind::MEDIA;
        // The first and the last entry are the same; what keeps them apart holds nothing.
        let payloads = loaded.payloads();
        let mut copies = [payloads.first(), payloads.last()].into_iter().flatten();
        let lost_twice = !media && copies.all(|payload| payload.data.is_none());
        let problems = loaded.problems();
        if !problems.is_empty() && media {
            let (from, to) = self.hit.unwrap_or((header.wall_min, header.wall_max));
            self.hit = Some((from.min(header.wall_min), to.max(header.wall_max)));
        }
        for (what, at) in problems {
            let lost = match what {
                "sample" => media || lost_twice,
                "sample table" | "second sample table" => loaded.tables.is_none(),
                _ => false,
            };
            let what = if what == "sample" && !media { "configuration or gap record" } else { what };
            let detail = format!("does not verify, in chunk {}", header.number);
            self.found(scanner, what, header.offset as usize + at, lost, detail);
        }
    }

    /// What the chunks add up to, against row, footer and trailer.
    fn check_sum(&mut self, scanner: &Scanner<'_>) {
        let (row, sum) = (&self.row, &self.sum.row);
        let damaged = !self.findings.is_empty();
        // Of a block that is being written nobody has counted what is durable.
        let counted = row.state != BlockState::Open || row.chunks > 0;
        if !damaged
            && counted
            && (row.chunks, row.samples, row.last_checksum) != (sum.chunks, sum.samples, sum.last_checksum)
        {
            let detail = format!(
                "the row says {} chunks with {} samples, the last with checksum {:08x}; there are {} with {}, the last {:08x}",
                row.chunks, row.samples, row.last_checksum, sum.chunks, sum.samples, sum.last_checksum
            );
            self.found(scanner, "block table", 0, false, detail);
        }
        if self.row.state != BlockState::Sealed || self.row.flags & NO_FOOTER != 0 {
            return;
        }
        let trailer_at = scanner.geometry.block_bytes - scanner.geometry.page_bytes;
        let Some(trailer) = scanner.trailer(&self.take) else {
            return self.found(scanner, "block trailer", trailer_at, false, "does not verify".to_owned());
        };
        let footer_at = trailer.footer_at as usize;
        match scanner.footer(&self.take) {
            None => self.found(scanner, "footer", footer_at, false, "does not verify".to_owned()),
            Some((_, footer)) if !damaged && footer != self.sum.footer => {
                let detail = "is not what the chunks add up to".to_owned();
                self.found(scanner, "footer", footer_at, false, detail);
            }
            Some(_) => {}
        }
    }
}

/// What stands in the place of a take, if its header verifies and is of another one: which structure is wrong, and why.
///
/// | the header that stands there | is wrong |
/// |---|---|
/// | of another volume | the block |
/// | of another block | the block: blocks were swapped, or written to the wrong place |
/// | of an earlier take | the block: an older copy of it was put back |
/// | of a later take | the table: the row is of an earlier time |
/// | of another stream | the block |
fn foreign(scanner: &Scanner<'_>, take: &Take, page: &[u8]) -> Option<(&'static str, String)> {
    let copies = [page, page.get(second_header_at(page.len())..)?];
    let headers: Vec<BlockHeader> =
        copies.into_iter().filter_map(BlockHeader::unseal).map(|(header, _)| header).collect();
    let is_mine = |header: &BlockHeader| {
        (header.volume, header.block, header.sequence, header.stream)
            == (scanner.volume, take.block, take.sequence, take.stream)
    };
    if headers.iter().any(is_mine) {
        return None;
    }
    let header = headers.first()?;
    if header.volume != scanner.volume {
        return Some(("block", format!("a block of another volume, {}, stands here", header.volume)));
    }
    if header.block != take.block {
        return Some(("block", format!("block {} of this volume stands here", header.block)));
    }
    Some(match header.sequence.cmp(&take.sequence) {
        std::cmp::Ordering::Less => (
            "block",
            format!("an older take of it, {}, stands here instead of {}", header.sequence, take.sequence),
        ),
        std::cmp::Ordering::Greater => ("block table", outdated(take.sequence, header.sequence)),
        std::cmp::Ordering::Equal => ("block", format!("it is of stream {}", header.stream)),
    })
}

/// What is said of a row that is of an earlier time than its block.
pub(super) fn outdated(row: Sequence, block: Sequence) -> String {
    format!("the row is of an earlier time: it knows of take {row}, the block is of take {block}")
}
