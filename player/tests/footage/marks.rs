//! Marks: a range that is made from the last mark before it is the same range of the whole file, and costs no more than that.

use super::*;
use keha_player::footage::Marks;
use std::cell::Cell;

const MARKED: [Format; 2] = [Format::Mkv, Format::FragmentedMp4];

/// A ring, a file of it, all of its bytes, and its marks.
struct Marked {
    volume: Volume,
    prepared: Prepared,
    file: Vec<u8>,
    marks: Marks,
    _ring: Ring,
}

impl Marked {
    fn of(ring: Ring, streams: &[&str], format: Format, apart: u64) -> Marked {
        let volume = ring.volume();
        let prepared = prepared(&volume, streams, format);
        let file = whole(&prepared, &volume);
        let (measured, marks) = prepared.measure_while(&volume, apart, &|| true).unwrap();
        assert_eq!((measured.bytes, measured.hash), (file.len() as u64, blake3::hash(&file)));
        assert_eq!(prepared.measure(&volume).unwrap(), measured);
        Marked { volume, prepared, file, marks, _ring: ring }
    }

    /// A range made from marks, and how many chunks were read for it.
    fn bytes(&self, marks: &Marks, range: Range<u64>) -> (Vec<u8>, usize) {
        let (mut out, chunks) = (Vec::new(), Cell::new(0));
        let goes_on = || {
            chunks.set(chunks.get() + 1);
            true
        };
        let written = self.prepared.write_while(&self.volume, range, Some(marks), &goes_on, &mut |piece| {
            out.extend_from_slice(&piece);
            ControlFlow::Continue(())
        });
        assert_eq!(written.unwrap().bytes, out.len() as u64);
        (out, chunks.get())
    }
}

/// Two cameras out of step with reordered pictures, sound, gaps, as two streams.
fn crowd() -> Ring {
    let ring = Ring::new(64 << 20, 1 << 20);
    ring.record(&["front", "yard"], |cameras| {
        for lap in 0..4 {
            let at = NOON.plus_ns(lap * 7 * SECOND_NS);
            cameras[0].run(h264_aac(), 2 * lap as u128 + 1, at);
            cameras[1].run(h265_mulaw(), 2 * lap as u128 + 2, at.plus_ns(1_300_000_000));
        }
    });
    ring
}

fn marked() -> &'static Vec<Marked> {
    static MARKED_FILES: OnceLock<Vec<Marked>> = OnceLock::new();
    MARKED_FILES.get_or_init(|| {
        let of = |format| {
            [
                Marked::of(recorded(h264_aac()), &["front"], format, 1),
                Marked::of(crowd(), &["front", "yard"], format, 1),
                Marked::of(crowd(), &["yard"], format, 30_000),
            ]
        };
        MARKED.into_iter().flat_map(of).collect()
    })
}

#[test]
fn the_end_of_a_file_costs_what_lies_behind_the_last_mark() {
    for format in MARKED {
        let ring = Ring::new(64 << 20, 1 << 20);
        ring.record(&["front"], |cameras| {
            for lap in 0..12 {
                cameras[0].run(h264_aac(), lap as u128 + 1, NOON.plus_ns(lap * 4 * SECOND_NS));
            }
        });
        let marked = Marked::of(ring, &["front"], format, 1);
        let none = marked.prepared.measure_while(&marked.volume, u64::MAX, &|| true).unwrap().1;
        assert!(none.is_empty() && marked.marks.len() >= 12, "{}", marked.marks.len());
        let end = marked.file.len() as u64;
        let (expected, all) = marked.bytes(&none, end - 100..end);
        let (found, few) = marked.bytes(&marked.marks, end - 100..end);
        assert!(found == expected && found == marked.file[marked.file.len() - 100..], "{format:?}");
        assert!(few * 4 < all, "{format:?}: {few} of {all} chunks");
    }
}

#[test]
fn marks_are_good_for_one_file_and_come_back_from_where_they_were_kept() {
    for marked in marked() {
        let text = serde_json::to_string(&marked.marks).unwrap();
        assert!(text.len() < 1000 * marked.marks.len() + 100, "{text}");
        let again: Marks = serde_json::from_str(&text).unwrap();
        assert_eq!(again, marked.marks);
    }
    // Those of any other file are as good as none.
    for (one, other) in marked().iter().zip(marked().iter().rev()) {
        let end = one.file.len() as u64;
        let found = one.bytes(&other.marks, end / 2..end).0;
        assert!(found == one.file[one.file.len() / 2..]);
    }
}

#[test]
fn a_range_that_nobody_wants_any_more_is_not_made() {
    for marked in marked() {
        let end = marked.file.len() as u64;
        let gone = |_: Bytes| -> ControlFlow<()> { panic!("nothing is wanted") };
        let written = marked
            .prepared
            .write_while(&marked.volume, end - 1..end, None, &|| false, &mut { gone })
            .unwrap();
        assert_eq!((written.bytes, written.stopped), (0, true));
        let measured = marked.prepared.measure_while(&marked.volume, 1, &|| false);
        assert!(matches!(measured, Err(Error::Cancelled)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_range_through_marks_is_that_range_of_the_whole_file(
        which in 0..6_usize, from in 0..1_000_000_u64, length in 1..300_000_u64,
    ) {
        let marked = &marked()[which];
        let end = marked.file.len() as u64;
        let from = from % end;
        let to = (from + length).min(end);
        let (found, _) = marked.bytes(&marked.marks, from..to);
        prop_assert!(found == marked.file[from as usize..to as usize], "{which} {from}..{to}");
    }

    /// To the end of the file, so that whatever a mark left out would show.
    #[test]
    fn the_rest_of_a_file_from_any_byte_is_the_rest_of_the_whole_file(
        which in 0..6_usize, from in 0..1_000_000_u64,
    ) {
        let marked = &marked()[which];
        let end = marked.file.len() as u64;
        let from = from % end;
        let (found, _) = marked.bytes(&marked.marks, from..end);
        prop_assert!(found == marked.file[from as usize..], "{which} {from}..");
    }
}
