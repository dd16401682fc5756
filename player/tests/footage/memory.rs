//! Footage that several read comes from memory, a bounded amount of it.

use crate::recorded;
use crate::ring::{prepared, whole};
use crate::{FORMATS, h264_aac};
use keha_player::library::Library;
use std::time::Duration;

#[test]
fn what_is_asked_for_again_comes_from_memory_and_takes_no_more_of_it_than_it_may() {
    let ring = recorded(h264_aac());
    let plain = FORMATS.map(|format| whole(&prepared(&ring.volume(), &["front"], format), &ring.volume()));
    for bytes_max in [0, 100 << 10, 16 << 20] {
        let library = Library::keeping(bytes_max);
        library.set_volumes([("one".to_owned(), ring.path())]);
        for _ in 0..2 {
            for (format, plain) in FORMATS.iter().zip(&plain) {
                let snapshot = library.snapshot("one", Duration::ZERO).unwrap();
                let file = whole(&prepared(&snapshot.volume, &["front"], *format), &snapshot.volume);
                assert!(file == *plain, "{format:?} with {bytes_max} bytes");
            }
        }
        let usage = library.chunks();
        assert!(usage.bytes <= bytes_max, "{usage:?}");
        assert!(usage.misses > 0 && (usage.hits > 0) == (bytes_max > 1 << 20), "{usage:?}");
        let all_fits = usage.hits >= 5 * usage.misses;
        assert!(bytes_max < 16 << 20 || all_fits, "each chunk was read once: {usage:?}");
    }
}
