//! Where recorded samples go: a stream of a volume, or a list in a test.
//!
//! The recorder's logic knows only this trait, so that it can be driven without a disk.

use keha_fs::{Anchor, Configuration, Gap, Rejected, RunId, Sample, StreamWriter};

/// The way into one stream. Nothing here blocks.
pub(crate) trait Sink {
    /// What the following samples need.
    fn configure(&mut self, configuration: &Configuration) -> Result<(), keha_fs::Error>;
    /// Following samples belong to a new run.
    fn begin_run(&mut self, run: RunId);
    /// The clock anchor of a track for the following samples.
    fn anchor(&mut self, anchor: Anchor);
    /// Takes a sample, in decode order.
    fn push(&mut self, sample: Sample) -> Result<(), Rejected>;
    /// Records a gap.
    fn gap(&mut self, gap: &Gap);
    /// No samples will come for a while.
    fn park(&mut self);
    /// Whether somebody has waited for the next sample since this was asked last.
    fn was_waited_for(&self) -> bool;
}

impl Sink for StreamWriter {
    fn configure(&mut self, configuration: &Configuration) -> Result<(), keha_fs::Error> {
        StreamWriter::configure(self, configuration).map(drop)
    }

    fn begin_run(&mut self, run: RunId) {
        StreamWriter::begin_run(self, run);
    }

    fn anchor(&mut self, anchor: Anchor) {
        StreamWriter::anchor(self, anchor);
    }

    fn push(&mut self, sample: Sample) -> Result<(), Rejected> {
        StreamWriter::push(self, sample)
    }

    fn gap(&mut self, gap: &Gap) {
        StreamWriter::gap(self, gap);
    }

    fn park(&mut self) {
        StreamWriter::park(self);
    }

    fn was_waited_for(&self) -> bool {
        StreamWriter::was_waited_for(self)
    }
}
