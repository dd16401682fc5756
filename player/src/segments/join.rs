//! From groups of pictures to segments. Pure.
//!
//! Groups that begin within the same stretch of wall time, of the target's length and counted from 1970, are one segment. So where a
//! segment begins does not depend on where somebody began to look: viewers of one camera share their segments, and so does a server with
//! the one that ran before it.

use super::gops::Gop;
use super::plan::PlannedSegment;
use super::{BYTES_MAX, LENGTH_MAX_NS, SegmentName};
use keha_fs::WallTime;

/// Joins groups.
#[derive(Debug)]
pub(crate) struct Joiner {
    target_ns: i64,
    open: Option<PlannedSegment>,
    done: Vec<PlannedSegment>,
    /// The end of the last segment, where the next one may go on.
    ended: Option<SegmentName>,
    first: bool,
    left_out: Vec<(WallTime, WallTime)>,
}

impl Joiner {
    /// Segments of about so many nanoseconds, where groups can be joined. `behind`: the segment that was the last one before.
    pub(crate) fn new(target_ns: i64, behind: Option<SegmentName>) -> Joiner {
        let first = behind.is_none();
        Joiner {
            target_ns: target_ns.max(1),
            open: None,
            done: Vec::new(),
            ended: behind,
            first,
            left_out: Vec::new(),
        }
    }

    /// Takes the next group.
    pub(crate) fn push(&mut self, gop: &Gop) {
        if gop.to.since_ns(gop.from) > LENGTH_MAX_NS || gop.bytes > BYTES_MAX as u64 {
            self.close();
            self.left_out.push((gop.from, gop.to));
            return;
        }
        match self.open.take().filter(|_| gop.joins) {
            Some(mut open) if self.can_grow(&open, gop) => {
                open.name.to = gop.to;
                open.bytes = open.bytes.saturating_add(gop.bytes);
                self.open = Some(open);
            }
            open => {
                self.open = open;
                self.close();
                self.begin(gop);
            }
        }
        let next = self.slot(gop.to);
        if gop.last || self.open.as_ref().is_some_and(|open| self.slot(open.name.from) != next) {
            self.close();
        }
    }

    fn can_grow(&self, open: &PlannedSegment, gop: &Gop) -> bool {
        let half = BYTES_MAX as u64 / 2;
        gop.to.since_ns(open.name.from) <= LENGTH_MAX_NS && open.bytes.saturating_add(gop.bytes) <= half
    }

    /// Which stretch of the target's length a moment lies in.
    fn slot(&self, wall: WallTime) -> i64 {
        wall.0.div_euclid(self.target_ns)
    }

    fn begin(&mut self, gop: &Gop) {
        let Gop { run, from, to, configuration, begins, .. } = *gop;
        let name = SegmentName { run, from, to, configuration, begins };
        let goes_on = self.ended.is_some_and(|ended| {
            (ended.run, ended.to, ended.configuration) == (name.run, name.from, name.configuration)
        });
        let discontinuity = !goes_on && !self.first;
        self.open = Some(PlannedSegment {
            name,
            discontinuity,
            bytes: gop.bytes,
            part: 0,
            block: gop.block,
            independent: false,
        });
    }

    /// Ends the segment that is being joined, if any.
    pub(crate) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.ended = Some(open.name);
            self.first = false;
            self.done.push(open);
        }
    }

    /// How many segments are done.
    pub(crate) fn count(&self) -> usize {
        self.done.len()
    }

    /// The segments that are done, and the groups that are too long or too large for one.
    pub(crate) fn finish(self) -> (Vec<PlannedSegment>, Vec<(WallTime, WallTime)>) {
        (self.done, self.left_out)
    }
}
