//! Inputs that once broke something, kept small: each must go through without harm for ever.

use super::images::goes_through;
use crate::disk::sim::SimImage;

/// What an input is, and its bytes: an image, up to its last byte that is not zero, and its whole length.
const FOUND: &[(&str, &[u8], usize)] = &[
    ("an empty file", &[], 0),
    ("shorter than a superblock", b"KEHA-VOL", 100),
    ("a magic and nothing else", b"KEHA-VOL", 1 << 16),
];

#[test]
fn what_once_broke_something_breaks_nothing_any_more() {
    for (what, bytes, length) in FOUND {
        let mut image = SimImage::zeroed(*length);
        image.write(0, bytes);
        goes_through(&image, 1).unwrap_or_else(|why| panic!("{what}: {why}"));
    }
}
