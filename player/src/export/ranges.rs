//! The hashes of a stream's samples as they go into a file: one for each stretch of about a minute.

use crate::export::manifest::SampleRange;
use crate::time::rfc3339;
use keha_fs::{ChunkNumber, RunId, StoredSample, WallTime};

/// A stretch ends at the first place to begin another once it spans this.
const SPAN_NS_MAX: i64 = 60_000_000_000;

/// What is hashed at once. BLAKE3 works on many of its 1 KiB leaves at a time only where they are given together and
/// aligned: single samples cost it several times as much.
const STAGED_BYTES: usize = 128 << 10;

/// Hashes samples in the order given.
#[derive(Default)]
pub(crate) struct Ranges {
    done: Vec<SampleRange>,
    staged: Vec<u8>,
    open: Option<Open>,
}

struct Open {
    run: RunId,
    first: WallTime,
    last: WallTime,
    first_chunk: ChunkNumber,
    last_chunk: ChunkNumber,
    samples: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Ranges {
    /// Takes a sample; `may_begin` says that a stretch may begin with it.
    pub(crate) fn push(&mut self, sample: &StoredSample, may_begin: bool) {
        let ends = self.open.as_ref().is_some_and(|open| {
            open.run != sample.run || (may_begin && sample.wall.since_ns(open.first) >= SPAN_NS_MAX)
        });
        if ends {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| Open {
            run: sample.run,
            first: sample.wall,
            last: sample.wall,
            first_chunk: sample.chunk,
            last_chunk: sample.chunk,
            samples: 0,
            bytes: 0,
            hasher: blake3::Hasher::new(),
        });
        (open.last, open.last_chunk) = (sample.wall, sample.chunk);
        open.samples += 1;
        open.bytes += sample.data.len() as u64;
        let mut data = &sample.data[..];
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(STAGED_BYTES - self.staged.len()));
            self.staged.extend_from_slice(now);
            data = later;
            if self.staged.len() == STAGED_BYTES {
                open.hasher.update(&self.staged);
                self.staged.clear();
            }
        }
    }

    fn close(&mut self) {
        if let Some(mut open) = self.open.take() {
            open.hasher.update(&self.staged);
            self.staged.clear();
            self.done.push(SampleRange {
                run: open.run.to_string(),
                first: rfc3339(open.first),
                last: rfc3339(open.last),
                first_chunk: open.first_chunk.0,
                last_chunk: open.last_chunk.0,
                samples: open.samples,
                bytes: open.bytes,
                blake3: open.hasher.finalize().to_hex().to_string(),
            });
        }
    }

    /// All stretches.
    pub(crate) fn finish(mut self) -> Vec<SampleRange> {
        self.close();
        self.done
    }
}
