//! Verifying every live byte of a volume: what is damaged, and whether footage is lost by it.

use super::Volume;
use super::recheck::check_again;
use super::verify::{BlockCheck, outdated};
use crate::format::superblock::Superblock;
use crate::format::table::Row;
use crate::format::{Framed, is_zero};
use crate::recover::{Recovered, finding, lost_record_copy, recover};
use crate::report::{CheckReport, Finding};
use crate::session::read_log;
use crate::types::BlockIndex;

/// Checks a volume.
pub(super) fn check(volume: &Volume, progress: &mut dyn FnMut(u32, u32)) -> CheckReport {
    let mut report = CheckReport { findings: volume.state.findings.clone(), ..CheckReport::default() };
    check_superblock_padding(volume, &mut report);
    check_round_log(volume, &mut report);
    let scanner = volume.scanner();
    read_log(scanner.disk, scanner.geometry, scanner.volume, &mut report.findings);
    check_scrub(volume, &mut report);
    check_directories(volume, &mut report);
    let live: Vec<_> = volume.state.rows.iter().enumerate().filter(|(_, row)| row.is_linked()).collect();
    let all = live.len() as u32;
    for (done, (index, row)) in (0..).zip(live) {
        progress(done, all);
        let take = Recovered::take(BlockIndex(index as u32), row);
        let mut block = BlockCheck::new(&scanner, take, row);
        block.run(&scanner);
        let overwriting = !block.findings.is_empty() && check_again(volume, &mut block, row);
        // What is torn of chunks that nobody is given is no loss.
        block.findings.iter_mut().for_each(|finding| finding.footage_lost &= row.withheld == 0);
        // Beside a live writer a block may be taken for something else while it is checked.
        if block.findings.is_empty() || !volume.is_passed(&take) {
            report.findings.append(&mut block.findings);
            report.overwriting += u32::from(overwriting);
            report.blocks += 1;
            report.chunks += block.verified.chunks;
            report.samples += block.verified.samples;
            report.bytes += block.verified.bytes;
        }
    }
    check_rows(volume, &mut report);
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
    for at in scanner.geometry.copies_at.iter().copied() {
        let mut page = vec![0; scanner.geometry.page_bytes];
        let read = scanner.disk.read_exact_at(&mut page, at).is_ok();
        if read && !page.get(Superblock::SIZE..).is_none_or(is_zero) {
            report.findings.push(finding("superblock", at, "the rest of its page is not zero".to_owned()));
        }
    }
}

/// Both copies of the newest record, after a clean end.
fn check_round_log(volume: &Volume, report: &mut CheckReport) {
    let lost = lost_record_copy(&volume.scanner());
    let detail = "this copy does not verify; the other stands in";
    report.findings.extend(lost.map(|at| finding("round record", at, detail.to_owned())));
}

fn check_scrub(volume: &Volume, report: &mut CheckReport) {
    let scanner = volume.scanner();
    let copies = crate::scrub::copies(scanner.disk, scanner.geometry, scanner.volume);
    let bad = copies.into_iter().filter(|(_, copy)| copy.is_none());
    report
        .findings
        .extend(bad.map(|(at, _)| finding("scrub", at, "this copy of its place does not verify".to_owned())));
}

/// That a copy is older than the other, after a clean end: a crash may come between the two, and that is no damage.
fn check_directories(volume: &Volume, report: &mut CheckReport) {
    let [Some(front), Some(back)] = &volume.state.directories else { return };
    if volume.state.after_crash || front == back || planted!(OlderCopyUnnoticed) {
        return;
    }
    let older = usize::from(front.generation >= back.generation);
    let at = volume.scanner().geometry.directories_at()[older];
    // A live writer may have been between the two.
    let settled = recover(&*volume.disk, &volume.path).is_ok_and(|now| {
        let [front, back] = &now.directories;
        front != back && !now.after_crash
    });
    if settled {
        let detail = "this copy is older than the other, which stands in".to_owned();
        report.findings.push(finding("stream directory", at, detail));
    }
}

/// Rows of an earlier time than their blocks, of those that hold nothing by their row. Of the others the verification of the
/// block tells.
fn check_rows(volume: &Volume, report: &mut CheckReport) {
    let scanner = volume.scanner();
    let rows = &volume.state.rows;
    let mut suspects = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let block = BlockIndex(index as u32);
        let found = if row.is_live() { None } else { holds_more(volume, block, row) };
        suspects.extend(found.map(|detail| (block, row, detail)));
    }
    if suspects.is_empty() || planted!(OutdatedRowUnnoticed) {
        return;
    }
    // A live writer has gone on since the table was read.
    let Ok(now) = recover(&*volume.disk, &volume.path) else { return };
    for (block, _, detail) in suspects.into_iter().filter(|(block, row, _)| now.row(*block) == **row) {
        let at = scanner.geometry.block_at(block);
        let what = "block table";
        report.findings.push(Finding {
            what,
            at,
            block: Some(block),
            stream: None,
            footage_lost: true,
            detail,
        });
    }
}

/// Whether a take stands in a block of which the row knows only an earlier one.
fn holds_more(volume: &Volume, block: BlockIndex, row: &Row) -> Option<String> {
    let header = volume.scanner().block_header(block).ok().flatten()?;
    let later = header.sequence > row.sequence && !volume.state.given_up.contains(&block);
    later.then(|| outdated(row.sequence, header.sequence))
}
