//! Verifying every live byte of a volume: what is damaged, and whether footage is lost by it.

use super::Volume;
use crate::format::block::{BlockHeader, second_header_at};
use crate::format::chunk::ChunkKind;
use crate::format::superblock::Superblock;
use crate::format::table::{NO_FOOTER, Row};
use crate::format::{Framed, is_zero};
use crate::progress::Progress;
use crate::recover::{Recovered, finding, newest_record, record_copies};
use crate::report::{BlockState, CheckReport, Finding};
use crate::scan::{Loaded, Located, Scanner, Take};
use crate::session::read_log;
use crate::types::BlockIndex;

/// Checks a volume.
pub(super) fn check(volume: &Volume, progress: &mut dyn FnMut(u32, u32)) -> CheckReport {
    let mut report = CheckReport { findings: volume.state.findings.clone(), ..CheckReport::default() };
    check_superblock_padding(volume, &mut report);
    check_round_log(volume, &mut report);
    let scanner = volume.scanner();
    read_log(scanner.disk, scanner.geometry, scanner.volume, &mut report.findings);
    let live: Vec<_> = volume.state.rows.iter().enumerate().filter(|(_, row)| row.is_live()).collect();
    let all = live.len() as u32;
    for (done, (index, row)) in (0..).zip(live) {
        progress(done, all);
        let mut block =
            BlockCheck::new(volume.scanner(), Recovered::take(BlockIndex(index as u32), row), row);
        block.run(&mut report);
        // Beside a live writer a block may be taken for something else while it is checked.
        let take = block.take;
        if block.findings.is_empty() || !volume.is_passed(&take) {
            report.findings.append(&mut block.findings);
            report.blocks += 1;
        }
    }
    progress(all, all);
    if planted!(CheckBlind) {
        report.findings.clear();
    }
    // Opening may have met the same damage on its way.
    report.findings.sort_by(|a, b| (a.at, a.what, b.footage_lost).cmp(&(b.at, b.what, a.footage_lost)));
    report.findings.dedup_by(|a, b| (a.at, a.what) == (b.at, b.what));
    report
}

fn check_superblock_padding(volume: &Volume, report: &mut CheckReport) {
    let scanner = volume.scanner();
    for at in scanner.geometry.copies_at {
        let mut page = vec![0; scanner.geometry.page_bytes];
        let read = scanner.disk.read_exact_at(&mut page, at).is_ok();
        if read && !page.get(Superblock::SIZE..).is_none_or(is_zero) {
            report.findings.push(finding("superblock", at, "the rest of its page is not zero".to_owned()));
        }
    }
}

/// Both copies of the newest record, after a clean end: a crash may leave either of them torn, and that is no damage.
fn check_round_log(volume: &Volume, report: &mut CheckReport) {
    let scanner = volume.scanner();
    let Some(newest) = newest_record(&scanner).filter(|newest| newest.header.closed == 1) else { return };
    for (at, copy) in record_copies(&scanner, newest.header.round) {
        // A live writer may be about to replace it with a newer one.
        if copy.is_none()
            && newest_record(&scanner).is_some_and(|now| now.header.round == newest.header.round)
        {
            report.findings.push(finding(
                "round record",
                at,
                "this copy does not verify; the other stands in".to_owned(),
            ));
        }
    }
}

struct BlockCheck<'a> {
    scanner: Scanner<'a>,
    take: Take,
    row: &'a Row,
    findings: Vec<Finding>,
}

impl<'a> BlockCheck<'a> {
    fn new(scanner: Scanner<'a>, take: Take, row: &'a Row) -> BlockCheck<'a> {
        BlockCheck { scanner, take, row, findings: Vec::new() }
    }

    fn run(&mut self, report: &mut CheckReport) {
        self.check_header();
        let mut sum = Progress::new(&self.take, self.scanner.geometry.page_bytes);
        let used = self.row.used_bytes as usize;
        let mut offset = self.scanner.geometry.page_bytes;
        while offset < used {
            let located = match self.scanner.chunk_at(&self.take, offset) {
                Some((located, _)) => located,
                None => match self.scanner.chunk_behind(&self.take, offset, used) {
                    Some(located) => {
                        self.chunk_lost(offset, Some(&located));
                        located
                    }
                    None => {
                        self.chunk_lost(offset, None);
                        break;
                    }
                },
            };
            offset = located.end();
            let loaded = self.scanner.load(&located);
            self.check_chunk(&loaded);
            report.chunks += 1;
            report.samples += u64::from(located.header.samples);
            report.bytes += loaded.bytes.len() as u64;
            sum.add(&located.header, located.checksum, &loaded.tables.unwrap_or_default());
        }
        self.check_sum(&sum);
    }

    fn found(&mut self, what: &'static str, offset: usize, footage_lost: bool, detail: String) {
        let at = self.scanner.geometry.block_at(self.take.block) + offset as u64;
        let (block, stream) = (Some(self.take.block), Some(self.take.stream));
        self.findings.push(Finding { what, at, block, stream, footage_lost, detail });
    }

    fn check_header(&mut self) {
        let page_bytes = self.scanner.geometry.page_bytes;
        let Ok(page) = self.scanner.read(self.take.block, 0, page_bytes) else {
            return self.found("block header", 0, false, "its page cannot be read".to_owned());
        };
        let second = second_header_at(page_bytes);
        for at in [0, second] {
            let mine = BlockHeader::unseal(&page[at..]).is_some_and(|(header, _)| {
                (header.volume, header.block, header.sequence, header.stream)
                    == (self.scanner.volume, self.take.block, self.take.sequence, self.take.stream)
            });
            if !mine {
                self.found("block header", at, false, "this copy does not verify".to_owned());
            }
            let rest = at + BlockHeader::SIZE..if at == 0 { second } else { page_bytes };
            if !is_zero(&page[rest.clone()]) {
                self.found("block header", rest.start, false, "the rest of its page is not zero".to_owned());
            }
        }
    }

    fn chunk_lost(&mut self, offset: usize, next: Option<&Located>) {
        match next {
            Some(located) if located.header.offset as usize == offset => {}
            Some(located) => {
                let bytes = located.header.offset as usize - offset;
                self.found("chunk", offset, true, format!("neither header verifies; {bytes} bytes are lost"));
            }
            None => self.found(
                "chunk",
                offset,
                true,
                "neither header verifies; the rest of the block is lost".to_owned(),
            ),
        }
    }

    fn check_chunk(&mut self, loaded: &Loaded) {
        let header = loaded.header();
        let media = header.kind == ChunkKind::MEDIA;
        let lost_twice = !media && loaded.payloads().iter().all(|payload| payload.data.is_none());
        for (what, at) in loaded.problems() {
            let lost = match what {
                "sample" => media || lost_twice,
                "sample table" | "second sample table" => loaded.tables.is_none(),
                _ => false,
            };
            let what = if what == "sample" && !media { "configuration or gap record" } else { what };
            let detail = format!("does not verify, in chunk {}", header.number);
            self.found(what, header.offset as usize + at, lost, detail);
        }
    }

    /// What the chunks add up to, against row, footer and trailer.
    fn check_sum(&mut self, sum: &Progress) {
        let (row, sum_row) = (self.row, &sum.row);
        let damaged = !self.findings.is_empty();
        if !damaged
            && (row.chunks, row.samples, row.last_checksum)
                != (sum_row.chunks, sum_row.samples, sum_row.last_checksum)
        {
            self.found(
                "block table",
                0,
                false,
                format!(
                    "the row says {} chunks with {} samples, the last with checksum {:08x}; there are {} with {}, the last {:08x}",
                    row.chunks,
                    row.samples,
                    row.last_checksum,
                    sum_row.chunks,
                    sum_row.samples,
                    sum_row.last_checksum
                ),
            );
        }
        if row.state != BlockState::Sealed || row.flags & NO_FOOTER != 0 {
            return;
        }
        let trailer_at = self.scanner.geometry.block_bytes - self.scanner.geometry.page_bytes;
        match self.scanner.trailer(&self.take) {
            None => self.found("block trailer", trailer_at, false, "does not verify".to_owned()),
            Some(trailer) => match self.scanner.footer(&self.take) {
                None => self.found("footer", trailer.footer_at as usize, false, "does not verify".to_owned()),
                Some((_, footer)) if !damaged && footer != sum.footer => {
                    self.found(
                        "footer",
                        trailer.footer_at as usize,
                        false,
                        "is not what the chunks add up to".to_owned(),
                    );
                }
                Some(_) => {}
            },
        }
    }
}
