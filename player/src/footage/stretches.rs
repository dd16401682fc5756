//! Where the samples of a track stand: chunk by chunk, so that an hour costs some tens of KiB.
//!
//! Where a stream stands in several volumes, its samples come in *pieces*, each of one volume: a chunk is named by its piece and its number.
//!
//! Invariant: the samples of a stretch follow each other among the entries of their track in one chunk. Where one between is left out,
//! another stretch begins.

use blake3::Hasher;
use keha_fs::{ChunkNumber, SampleRow};

/// Consecutive samples of a track that end in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The first of them, counted in the track from 0.
    pub sample: u32,
    /// The chunk, and the checksum of its header.
    chunk: ChunkNumber,
    pub checksum: u32,
    /// Where the first of them is among the entries of the track in the chunk.
    place: u32,
    /// How many chunks earlier the first of them begins.
    split_over: u16,
    /// The piece of its stream.
    piece: u16,
}

/// Where a chunk of a stream is: its piece, counted from 0 in the file, and its number there.
pub(super) type At = (u16, ChunkNumber);

impl Stretch {
    /// The chunk from which on has to be read.
    pub(super) fn begins(&self) -> At {
        (self.piece, ChunkNumber(self.chunk.0.saturating_sub(u64::from(self.split_over))))
    }

    /// Its chunk.
    pub(super) fn at(&self) -> At {
        (self.piece, self.chunk)
    }
}

// What is prepared of an hour is to cost some tens of KiB.
const _: () = assert!(size_of::<Stretch>() == 24);

/// The samples of a track, in decode order.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretches {
    all: Vec<Stretch>,
    samples: u32,
    /// The place behind the last sample.
    next_place: u32,
}

impl Stretches {
    /// Takes the next sample, of this piece or a later one than the last. `None` if there are more than can be numbered.
    pub(super) fn push(&mut self, piece: u16, row: &SampleRow) -> Option<()> {
        let goes_on = self.all.last().is_some_and(|last| {
            (last.at(), last.checksum) == ((piece, row.chunk), row.chunk_checksum) && row.begins == row.chunk
        });
        if !goes_on || row.place != self.next_place {
            self.all.push(Stretch {
                sample: self.samples,
                chunk: row.chunk,
                checksum: row.chunk_checksum,
                place: row.place,
                split_over: u16::try_from(row.chunk.0.saturating_sub(row.begins.0)).ok()?,
                piece,
            });
        }
        self.next_place = row.place.saturating_add(1);
        self.samples = self.samples.checked_add(1)?;
        Some(())
    }

    /// How many bytes of memory they take.
    pub(super) fn memory_bytes(&self) -> u64 {
        (self.all.capacity() * size_of::<Stretch>()) as u64
    }

    /// How many stretches there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many samples there are.
    pub(super) fn samples(&self) -> u32 {
        self.samples
    }

    /// Of each piece that it has something of, in their order, the first and the last chunk that are needed.
    pub(super) fn chunks(&self) -> Vec<(u16, ChunkNumber, ChunkNumber)> {
        let mut pieces: Vec<(u16, ChunkNumber, ChunkNumber)> = Vec::new();
        for stretch in &self.all {
            let (piece, begins) = stretch.begins();
            match pieces.last_mut().filter(|last| last.0 == piece) {
                Some((_, first, last)) => {
                    (*first, *last) = ((*first).min(begins), (*last).max(stretch.chunk))
                }
                None => pieces.push((piece, begins, stretch.chunk)),
            }
        }
        pieces
    }

    /// The stretch of a sample.
    pub(super) fn of(&self, sample: u32) -> Option<&Stretch> {
        let behind = self.all.partition_point(|stretch| stretch.sample <= sample);
        self.all.get(behind.checked_sub(1)?).filter(|_| sample < self.samples)
    }

    /// Which sample a row is, if it is one of these, and its stretch.
    pub(super) fn find(&self, piece: u16, row: &SampleRow) -> Option<(u32, &Stretch)> {
        let at = (piece, row.chunk);
        let begin = self.all.partition_point(|stretch| stretch.at() < at);
        let mine = self.all.get(begin..).unwrap_or_default().iter().enumerate();
        let mut mine = mine.take_while(|(_, stretch)| stretch.at() == at);
        mine.find_map(|(index, stretch)| {
            let end = self.all.get(begin + index + 1).map_or(self.samples, |next| next.sample);
            let sample = stretch.sample.checked_add(row.place.checked_sub(stretch.place)?)?;
            (sample < end).then_some((sample, stretch))
        })
    }

    /// Adds all of it to a hash.
    pub(super) fn hash(&self, hasher: &mut Hasher) {
        hasher.update(&self.samples.to_le_bytes());
        for stretch in &self.all {
            hasher.update(&stretch.sample.to_le_bytes());
            hasher.update(&stretch.chunk.0.to_le_bytes());
            hasher.update(&stretch.checksum.to_le_bytes());
            hasher.update(&stretch.place.to_le_bytes());
            if stretch.piece > 0 {
                hasher.update(&stretch.piece.to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::{ConfigurationHash, RunId, SampleFlags, TrackNumber, WallTime};

    fn row(chunk: u64, place: u32, begins: u64) -> SampleRow {
        SampleRow {
            track: TrackNumber(1),
            ticks: 0,
            wall: WallTime(0),
            flags: SampleFlags::default(),
            bytes: 1,
            run: RunId::default(),
            configuration: ConfigurationHash::default(),
            begins: ChunkNumber(begins),
            chunk: ChunkNumber(chunk),
            chunk_checksum: chunk as u32,
            place,
        }
    }

    #[test]
    fn each_sample_is_found_by_its_place_and_no_other() {
        let rows = [
            row(5, 2, 5),
            row(5, 3, 5),
            row(7, 0, 6),
            row(7, 1, 7),
            row(7, 4, 7),
            row(7, 5, 7),
            row(9, 0, 9),
        ];
        let mut stretches = Stretches::default();
        rows.iter().for_each(|row| stretches.push(0, row).unwrap());
        assert_eq!((stretches.samples(), stretches.all.len()), (7, 4));
        assert_eq!(stretches.chunks(), [(0, ChunkNumber(5), ChunkNumber(9))]);
        for (sample, row) in (0..).zip(&rows) {
            let (found, stretch) = stretches.find(0, row).unwrap();
            assert_eq!((found, stretch), (sample, stretches.of(sample).unwrap()));
        }
        for other in [row(5, 1, 5), row(5, 4, 5), row(6, 0, 6), row(7, 2, 7), row(7, 3, 7), row(9, 1, 9)] {
            assert_eq!(stretches.find(0, &other), None, "{other:?}");
        }
        assert_eq!(stretches.of(2).unwrap().begins(), (0, ChunkNumber(6)));
        assert!(stretches.of(7).is_none());
    }

    #[test]
    fn chunks_of_the_same_number_in_two_volumes_are_two() {
        let mut stretches = Stretches::default();
        for piece in [0, 1, 3] {
            [row(5, 0, 5), row(5, 1, 5), row(6, 0, 6)]
                .iter()
                .for_each(|row| stretches.push(piece, row).unwrap());
        }
        let (five, six) = (ChunkNumber(5), ChunkNumber(6));
        assert_eq!(stretches.chunks(), [(0, five, six), (1, five, six), (3, five, six)]);
        for (piece, first) in [(0, 0), (1, 3), (3, 6)] {
            assert_eq!(stretches.find(piece, &row(5, 1, 5)).map(|(sample, _)| sample), Some(first + 1));
            assert_eq!(stretches.find(piece, &row(6, 0, 6)).map(|(sample, _)| sample), Some(first + 2));
        }
        assert_eq!(stretches.find(2, &row(5, 1, 5)), None);
    }
}
