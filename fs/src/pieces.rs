//! A sorted list that many looks at a volume share: a copy costs a count for each piece, and a change copies the piece it falls
//! into, not the list. So whoever keeps the list as it was pays for what differs.
//!
//! What must not live here: what the entries mean.

use std::sync::Arc;

/// How many entries a piece has at most: one more, and it is cut in two.
const PIECE_MAX: usize = 256;

/// What tells where an entry belongs.
pub(crate) trait Keyed {
    /// Sorts the list; no two entries have the same.
    type Key: Ord + Copy;

    /// That of this entry.
    fn key(&self) -> Self::Key;
}

/// The list. No piece is empty.
#[derive(Clone, Debug)]
pub(crate) struct Pieces<T> {
    pieces: Vec<Arc<Vec<T>>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Pieces<T> {
        Pieces { pieces: Vec::new() }
    }
}

impl<T: PartialEq> PartialEq for Pieces<T> {
    fn eq(&self, other: &Pieces<T>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Pieces<T> {}

impl<T> Pieces<T> {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The entries in their order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }
}

impl<T: Keyed + Clone> Pieces<T> {
    /// The list of these, which are in their order.
    pub(crate) fn of(sorted: impl IntoIterator<Item = T>) -> Pieces<T> {
        let mut pieces: Vec<Vec<T>> = Vec::new();
        for entry in sorted {
            match pieces.last_mut().filter(|piece| piece.len() < PIECE_MAX) {
                Some(piece) => piece.push(entry),
                None => {
                    let mut piece = Vec::with_capacity(PIECE_MAX);
                    piece.push(entry);
                    pieces.push(piece);
                }
            }
        }
        Pieces { pieces: pieces.into_iter().map(Arc::new).collect() }
    }

    /// The piece that has this key, or would.
    fn place(&self, key: T::Key) -> usize {
        let behind = |piece: &Arc<Vec<T>>| piece.first().is_some_and(|first| first.key() <= key);
        self.pieces.partition_point(behind).saturating_sub(1)
    }

    /// The entries before this key.
    pub(crate) fn before(&self, key: T::Key) -> impl DoubleEndedIterator<Item = &T> {
        let place = self.place(key);
        let whole = self.pieces.get(..place).unwrap_or_default().iter().flat_map(|piece| piece.iter());
        let part = self.pieces.get(place).map_or(&[][..], |piece| {
            piece.get(..piece.partition_point(|entry| entry.key() < key)).unwrap_or_default()
        });
        whole.chain(part)
    }

    /// Adds an entry, or replaces that of its key.
    pub(crate) fn insert(&mut self, entry: T) {
        let (key, place) = (entry.key(), self.place(entry.key()));
        let Some(piece) = self.pieces.get_mut(place).map(Arc::make_mut) else {
            self.pieces.push(Arc::new(vec![entry]));
            return;
        };
        match piece.binary_search_by(|other| other.key().cmp(&key)) {
            Ok(at) => {
                if let Some(other) = piece.get_mut(at) {
                    *other = entry;
                }
            }
            Err(at) => piece.insert(at, entry),
        }
        if piece.len() > PIECE_MAX {
            // What is recorded comes last: then the full piece stays as it is.
            let is_last = place + 1 == self.pieces.len();
            let cut = if is_last { PIECE_MAX } else { PIECE_MAX / 2 };
            if let Some(piece) = self.pieces.get_mut(place).map(Arc::make_mut) {
                let rest = piece.split_off(cut);
                self.pieces.insert(place + 1, Arc::new(rest));
            }
        }
    }

    /// Takes out the entry of a key.
    pub(crate) fn remove(&mut self, key: T::Key) {
        let place = self.place(key);
        let Some(piece) = self.pieces.get_mut(place) else { return };
        if let Ok(at) = piece.binary_search_by(|entry| entry.key().cmp(&key)) {
            let piece = Arc::make_mut(piece);
            piece.remove(at);
            if piece.is_empty() {
                self.pieces.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Keyed for (u16, u8) {
        type Key = u16;

        fn key(&self) -> u16 {
            self.0
        }
    }

    fn agree(list: &Pieces<(u16, u8)>, map: &BTreeMap<u16, u8>) {
        let all: Vec<(u16, u8)> = map.iter().map(|(key, value)| (*key, *value)).collect();
        assert!(list.iter().copied().eq(all.iter().copied()));
        assert!(list.iter().rev().copied().eq(all.iter().rev().copied()));
        assert_eq!(list.is_empty(), all.is_empty());
        assert!(list.pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE_MAX));
        for key in (0..=u16::MAX).step_by(997) {
            let before = map.range(..key).map(|(key, value)| (*key, *value));
            assert!(list.before(key).copied().eq(before.clone()));
            assert!(list.before(key).rev().copied().eq(before.rev()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_is_a_sorted_map_and_what_was_copied_stays(
            first in proptest::collection::btree_map(any::<u16>(), any::<u8>(), 0..1500),
            changes in proptest::collection::vec((any::<u16>(), proptest::option::of(any::<u8>())), 0..1500),
        ) {
            let mut list = Pieces::of(first.iter().map(|(key, value)| (*key, *value)));
            let (copy, mut map) = (list.clone(), first.clone());
            for (key, value) in changes {
                // Half of the keys are there.
                let key = if key % 2 == 0 { map.keys().nth(key as usize % 600).copied().unwrap_or(key) } else { key };
                match value {
                    Some(value) => {
                        list.insert((key, value));
                        map.insert(key, value);
                    }
                    None => {
                        list.remove(key);
                        map.remove(&key);
                    }
                }
            }
            agree(&list, &map);
            agree(&copy, &first);
        }
    }

    #[test]
    fn a_change_copies_one_piece() {
        let list = Pieces::of((0..10_000).map(|key| (key, 0)));
        let mut other = list.clone();
        other.insert((5000, 1));
        let same = list.pieces.iter().zip(&other.pieces).filter(|(one, other)| Arc::ptr_eq(one, other));
        assert_eq!(same.count(), list.pieces.len() - 1);
    }
}
