//! Collects samples and decides where they stand.

use crate::error::Result;
use crate::mp4::layout::head::{self, Laid};
use crate::mp4::layout::table::Table;
use crate::mp4::layout::{Chunk, LaidTrack, Layout};
use crate::mp4::track::Track;
use crate::mp4::{failed, init};

/// The span of a window: what players buffer and servers read at once.
const WINDOW_NS: i128 = 1_000_000_000;
/// The most bytes of a window, but for one sample that is larger.
const WINDOW_BYTES_MAX: u64 = 8 << 20;

/// A sample as far as a layout needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutSample {
    /// Its presentation time, in its track's ticks on the caller's axis.
    pub ticks: i64,
    /// Whether decoding can begin at it.
    pub sync: bool,
    /// The length of its [`Track::file_payload`], which [`Track::file_bytes`] tells without reading it where it can.
    pub bytes: u32,
}

/// Takes the samples of a file, without their bytes.
#[derive(Debug)]
pub struct LayoutBuilder {
    tables: Vec<Table>,
    /// For each track its first sample in the open window.
    open: Vec<usize>,
    window_began_ns: Option<i128>,
    window_bytes: u64,
    chunks: Vec<Chunk>,
    media_bytes: u64,
}

impl LayoutBuilder {
    /// Begins a file with these tracks. Errors: [`crate::Error::Mp4`] if there is none, or two have one number.
    pub fn new(tracks: Vec<Track>) -> Result<LayoutBuilder> {
        init::check(&tracks)?;
        let open = vec![0; tracks.len()];
        let tables = tracks.into_iter().map(Table::new).collect();
        Ok(LayoutBuilder { open, tables, ..LayoutBuilder::empty() })
    }

    /// Begins a file to which tracks are added as they turn up.
    pub fn empty() -> LayoutBuilder {
        LayoutBuilder {
            open: Vec::new(),
            tables: Vec::new(),
            window_began_ns: None,
            window_bytes: 0,
            chunks: Vec::new(),
            media_bytes: 0,
        }
    }

    /// Adds a track, and gives its index. Errors: [`crate::Error::Mp4`] if another one has its number.
    pub fn add(&mut self, track: Track) -> Result<usize> {
        if self.tables.iter().any(|table| table.track.id() == track.id()) {
            return Err(failed(format!("track {}", track.id()), "another track has that number"));
        }
        self.tables.push(Table::new(track));
        self.open.push(0);
        Ok(self.tables.len() - 1)
    }

    /// Describes a track anew, by a configuration that has all parameter sets of the one before. What was pushed stays.
    pub fn redescribe(&mut self, index: usize, track: Track) {
        if let Some(table) = self.tables.get_mut(index) {
            table.track = track;
        }
    }

    /// Takes a sample of the track with this index. Samples of a track come in decode order; those of different tracks
    /// about as they were recorded, so that sound and pictures of a second stand together.
    ///
    /// Errors: [`crate::Error::Mp4`] for a track that is not there, for more samples than MP4 can number (2³²), and for a
    /// clock that goes back or pauses by more than 32 bits of ticks.
    pub fn push(&mut self, track: usize, sample: LayoutSample) -> Result<()> {
        let table =
            self.tables.get(track).ok_or_else(|| failed("a file", format!("it has no track {track}")))?;
        let at_ns = i128::from(sample.ticks) * 1_000_000_000 / i128::from(table.track.timescale());
        let bytes = u64::from(sample.bytes);
        let began = *self.window_began_ns.get_or_insert(at_ns);
        let over = self.window_bytes > 0 && self.window_bytes + bytes > WINDOW_BYTES_MAX;
        if over || (at_ns - began).abs() >= WINDOW_NS {
            self.close_window()?;
            self.window_began_ns = Some(at_ns);
        }
        if let Some(table) = self.tables.get_mut(track) {
            table.push(sample.ticks, sample.sync, sample.bytes)?;
        }
        self.window_bytes += bytes;
        Ok(())
    }

    /// Makes chunks of the open window.
    fn close_window(&mut self) -> Result<()> {
        let tracks = (0u32..).zip(self.tables.iter().zip(&mut self.open));
        for (track, (table, open)) in tracks {
            let samples = table.sizes.get(*open..).unwrap_or_default();
            if samples.is_empty() {
                continue;
            }
            // A table numbers its samples with 32 bits.
            let (first, count) = (*open as u32, samples.len() as u32);
            self.chunks.push(Chunk { at: self.media_bytes, track, first, count });
            self.media_bytes += samples.iter().copied().map(u64::from).sum::<u64>();
            *open = table.sizes.len();
        }
        self.window_bytes = 0;
        Ok(())
    }

    /// Lays the file out. Errors: [`crate::Error::Mp4`] if there is no sample, or the head cannot be made.
    pub fn finish(mut self) -> Result<Layout> {
        self.close_window()?;
        let mut laid = Vec::with_capacity(self.tables.len());
        for (track, table) in (0u32..).zip(&mut self.tables) {
            if let Some(span) = table.finish()? {
                laid.push(Laid { track, span });
            }
        }
        if laid.is_empty() {
            return Err(failed("a file", "it has no samples; export a range that has footage"));
        }
        let head = head::encode(&self.tables, &laid, &self.chunks, self.media_bytes)?;
        // It is kept for as long as it is downloaded.
        self.chunks.shrink_to_fit();
        let tracks = self.tables.into_iter().map(|mut table| {
            table.sizes.shrink_to_fit();
            LaidTrack { track: table.track, sizes: table.sizes }
        });
        Ok(Layout {
            bytes: head.len() as u64 + self.media_bytes,
            head,
            tracks: tracks.collect(),
            chunks: self.chunks,
        })
    }
}
