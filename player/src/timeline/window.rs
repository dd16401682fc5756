//! Which rows of a stream matter for a range. Pure.

use keha_fs::{BlockState, StreamRow, TimeRange, WallTime};

/// The earliest and latest moment of a row's samples.
pub(super) fn samples_of(row: &StreamRow) -> Option<(WallTime, WallTime)> {
    row.wall.filter(|_| row.samples > 0 && !is_void(row))
}

/// Whether nothing is left of a block.
pub(super) fn is_void(row: &StreamRow) -> bool {
    matches!(row.state, BlockState::Erased | BlockState::Expired)
}

fn overlaps(range: TimeRange, (min, max): (WallTime, WallTime)) -> bool {
    range.from.is_none_or(|from| max >= from) && range.to.is_none_or(|to| min < to)
}

/// Marks the rows with something in a range; the rows on both sides of a hole that reaches into it, and what lies between them
/// in the order of recording; the first and the last row of the stream where the range goes beyond them.
pub(super) fn window(rows: &[StreamRow], range: TimeRange) -> Vec<bool> {
    let mut marked: Vec<bool> =
        rows.iter().map(|row| row.wall.is_some_and(|wall| overlaps(range, wall))).collect();
    let mut before: Option<(usize, WallTime)> = None;
    for (place, row) in rows.iter().enumerate() {
        let Some((min, max)) = samples_of(row) else { continue };
        let reached = before.map_or(WallTime::MIN, |(_, reached)| reached);
        let first = before.map_or(0, |(before, _)| before);
        let is_marked = |at: usize| marked.get(at).copied().unwrap_or(false);
        if min > reached && overlaps(range, (reached, min)) || is_marked(first) && is_marked(place) {
            mark(&mut marked, first, place);
        }
        before = Some((place, max));
    }
    let beyond = before.is_none_or(|(_, reached)| range.to.is_none_or(|to| to > reached));
    if let Some(last) = rows.len().checked_sub(1).filter(|_| beyond) {
        mark(&mut marked, before.map_or(0, |(before, _)| before), last);
    }
    // What is void at the end of a block decides where the next one begins.
    for place in 1..rows.len() {
        if marked.get(place) == Some(&true) && rows.get(place - 1).is_some_and(|row| row.part_void) {
            mark(&mut marked, place - 1, place);
        }
    }
    marked
}

fn mark(marked: &mut [bool], first: usize, last: usize) {
    marked.get_mut(first..=last).unwrap_or_default().fill(true);
}

/// Marks the rows with the footage next before and behind a moment.
pub(super) fn mark_nearest(rows: &[StreamRow], wall: WallTime, marked: &mut [bool]) {
    let samples = || rows.iter().enumerate().filter_map(|(place, row)| Some((place, samples_of(row)?)));
    let before = samples().filter(|(_, (_, max))| *max < wall).max_by_key(|(_, (_, max))| *max);
    let behind = samples().filter(|(_, (min, _))| *min > wall).min_by_key(|(_, (min, _))| *min);
    for (place, _) in before.into_iter().chain(behind) {
        mark(marked, place, place);
    }
}
