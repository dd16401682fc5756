//! The BLAKE3 of a file whose beginning is written last.
//!
//! BLAKE3 is a tree, so the file is hashed in groups of the header's size while it is written, and the header's own
//! group is put in at the end: no second pass over hours of video. The result is the plain BLAKE3 of the whole file.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Hashes everything behind the first group.
pub(crate) struct TreeHash {
    group_bytes: usize,
    groups: u64,
    /// Complete subtrees that wait for their right neighbour: (level, value), highest first.
    waiting: Vec<(u32, ChainingValue)>,
    /// The right neighbours of the subtrees that hold the first group, lowest first.
    spine: Vec<ChainingValue>,
}

impl TreeHash {
    /// `group_bytes` is the header's size: a power of two of at least 1,024.
    pub(crate) fn new(group_bytes: usize) -> TreeHash {
        debug_assert!(group_bytes.is_power_of_two() && group_bytes >= blake3::CHUNK_LEN);
        TreeHash { group_bytes, groups: 1, waiting: Vec::new(), spine: Vec::new() }
    }

    /// Takes what follows; all but the last call give a multiple of the group's size.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for group in bytes.chunks(self.group_bytes) {
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(self.groups * self.group_bytes as u64).update(group);
            self.add(hasher.finalize_non_root());
        }
    }

    fn add(&mut self, mut value: ChainingValue) {
        let (mut level, mut index) = (0, self.groups);
        self.groups += 1;
        while index % 2 == 1 && index > 1 {
            let Some((_, left)) = self.waiting.pop_if(|(waiting, _)| *waiting == level) else { break };
            value = merge_subtrees_non_root(&left, &value, Mode::Hash);
            (level, index) = (level + 1, index / 2);
        }
        if index == 1 { self.spine.push(value) } else { self.waiting.push((level, value)) }
    }

    /// The hash of the file that begins with `header`, which has the group's size.
    pub(crate) fn finish(mut self, header: &[u8]) -> blake3::Hash {
        let rest = self.waiting.into_iter().map(|(_, value)| value).rev();
        self.spine.extend(rest.reduce(|right, left| merge_subtrees_non_root(&left, &right, Mode::Hash)));
        let Some((last, between)) = self.spine.split_last() else { return blake3::hash(header) };
        let first = blake3::Hasher::new().update(header).finalize_non_root();
        let left =
            between.iter().fold(first, |left, right| merge_subtrees_non_root(&left, right, Mode::Hash));
        merge_subtrees_root(&left, last, Mode::Hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_hashed_header_last_has_its_plain_blake3() {
        const GROUP: usize = 2048;
        let bytes: Vec<u8> = (0..GROUP * 37 + 5).map(|i| (i * 31 % 251) as u8).collect();
        let lengths = (1..=37).flat_map(|groups| [groups * GROUP, groups * GROUP + 1, groups * GROUP + 5]);
        for length in lengths {
            let file = &bytes[..length];
            let mut hash = TreeHash::new(GROUP);
            for piece in file[GROUP..].chunks(GROUP * 3) {
                hash.update(piece);
            }
            assert_eq!(hash.finish(&file[..GROUP]), blake3::hash(file), "{length} bytes");
        }
    }
}
