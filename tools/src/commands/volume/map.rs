//! The ring as a map: a character a block, in the order of blocks, wrapped to the width.
//!
//! The letter says whose block it is; a small letter is full, a capital is being written or waits for its stream.

use crate::output::style::Style;
use keha_fs::{BlockState, BlockSummary, StreamId, StreamName};
use std::collections::{BTreeMap, HashMap};

/// More rows than these, and a character stands for several blocks.
const ROWS_MAX: usize = 64;
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// Which letter stands for which stream, in the order of their names; from the 27th on the letters come again.
pub(super) struct Letters(HashMap<StreamId, (usize, char)>);

impl Letters {
    pub(super) fn new(names: &HashMap<StreamId, StreamName>) -> Letters {
        let mut sorted: Vec<_> = names.iter().map(|(id, name)| (name, *id)).collect();
        sorted.sort();
        Letters(
            sorted
                .into_iter()
                .zip(LETTERS.chars().cycle())
                .enumerate()
                .map(|(i, ((_, id), c))| (id, (i, c)))
                .collect(),
        )
    }

    fn of(&self, stream: Option<StreamId>) -> (usize, char) {
        stream.and_then(|id| self.0.get(&id).copied()).unwrap_or((0, '?'))
    }

    fn cell(&self, block: &BlockSummary, colour: bool) -> String {
        let (number, letter) = self.of(block.stream);
        let owned = |c: char| Style::Palette(number).paint(&c.to_string(), colour);
        match block.state {
            BlockState::Free => Style::Dim.paint(".", colour),
            BlockState::Granted => Style::Yellow.paint("+", colour),
            BlockState::Open | BlockState::Parked => owned(letter.to_ascii_uppercase()),
            BlockState::Sealed => owned(letter),
            BlockState::Bad => Style::Red.paint("!", colour),
            BlockState::Expired => Style::Dim.paint("~", colour),
            BlockState::Erased => Style::Dim.paint("_", colour),
        }
    }
}

/// Draws the map and what its characters mean.
pub(super) fn draw(
    blocks: &[BlockSummary],
    names: &HashMap<StreamId, StreamName>,
    width: usize,
    colour: bool,
) -> String {
    let letters = Letters::new(names);
    let margin = blocks.len().to_string().len();
    let columns = width.saturating_sub(margin + 2).max(10);
    let per_cell = blocks.len().div_ceil(columns * ROWS_MAX).max(1);
    let mut text = String::new();
    for (row, line) in blocks.chunks(columns * per_cell).enumerate() {
        text.push_str(&format!("{:>margin$}  ", row * columns * per_cell));
        // Of several blocks the newest is shown: the seam of the ring is what one looks for.
        let newest = line.chunks(per_cell).filter_map(|cell| cell.iter().max_by_key(|block| block.sequence));
        text.extend(newest.map(|block| letters.cell(block, colour)));
        text.push('\n');
    }
    if per_cell > 1 {
        text.push_str(&format!("each character stands for {per_cell} blocks and shows the newest of them\n"));
    }
    text.push('\n');
    text.push_str(&legend(blocks, names, &letters, colour));
    text
}

fn legend(
    blocks: &[BlockSummary],
    names: &HashMap<StreamId, StreamName>,
    letters: &Letters,
    colour: bool,
) -> String {
    let mut by_stream: BTreeMap<&StreamName, (StreamId, u32, u32)> = BTreeMap::new();
    let mut by_state: BTreeMap<BlockState, u32> = BTreeMap::new();
    for block in blocks {
        *by_state.entry(block.state).or_default() += 1;
        if let Some((id, name)) = block.stream.and_then(|id| names.get_key_value(&id)) {
            let entry = by_stream.entry(name).or_insert((*id, 0, 0));
            match block.state {
                BlockState::Open | BlockState::Parked => entry.2 += 1,
                _ => entry.1 += 1,
            }
        }
    }
    let mut text = String::new();
    for (name, (id, full, open)) in by_stream {
        let (number, letter) = letters.of(Some(id));
        let letter = Style::Palette(number).paint(&letter.to_string(), colour);
        text.push_str(&format!("{letter} {name}: {full} full, {open} open or parked (capital)\n"));
    }
    let others = [
        (BlockState::Free, ". never used"),
        (BlockState::Granted, "+ set aside for a coming take"),
        (BlockState::Bad, "! withdrawn after write errors"),
        (BlockState::Expired, "~ past its maximum age"),
        (BlockState::Erased, "_ erased on request"),
    ];
    for (state, meaning) in others {
        if let Some(count) = by_state.get(&state) {
            text.push_str(&format!("{meaning}: {count}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn names() -> HashMap<StreamId, StreamName> {
        example::volume().2.into_iter().map(|stream| (stream.id, stream.name)).collect()
    }

    #[test]
    fn the_map_is_as_published() {
        insta::assert_snapshot!(draw(&example::volume().1, &names(), 80, false));
    }

    #[test]
    fn the_map_wraps_to_the_width_and_stays_short() {
        let (_, blocks, _) = example::volume();
        let many: Vec<BlockSummary> = blocks.iter().cycle().take(1 << 18).copied().collect();
        let drawn = draw(&many, &names(), 80, false);
        assert!(drawn.lines().count() <= ROWS_MAX + 10);
        assert!(drawn.lines().all(|line| line.len() <= 80), "{drawn}");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let (_, blocks, _) = example::volume();
        let plain = draw(&blocks, &names(), 80, false);
        let mut bare = String::new();
        let coloured = draw(&blocks, &names(), 80, true);
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            bare.push_str(before);
            rest = after.split_once('m').expect("a code ends with m").1;
        }
        assert_eq!(bare + rest, plain);
    }
}
