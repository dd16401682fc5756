//! The segments of a stream of which several volumes have something: each volume's, put in the order of runs. Pure but for the plans.
//!
//! A segment stands in one volume whole, and its name is that which it has there: it says nothing of volumes, so that whoever has it finds it
//! wherever its run is. Another volume is a discontinuity.

use super::SEGMENTS_MAX;
use super::plan::{Plan, PlannedSegment, plan, too_many};
use crate::error::Result;
use crate::runs::in_order;
use crate::timeline::Holding;
use keha_fs::TimeRange;
use std::time::Duration;

/// As [`super::plan()`] of each volume, together: [`PlannedSegment::part`] says of which one a segment is.
///
/// # Errors
/// As [`super::plan()`], where there are too many also of all together.
pub fn plan_of(holdings: &[Holding<'_>], range: TimeRange, target: Duration) -> Result<Plan> {
    if let [Holding { index, source, stream }] = holdings {
        return plan(index, *source, *stream, range, target);
    }
    let (mut each, mut left_out) = (Vec::new(), Vec::new());
    for Holding { index, source, stream } in holdings {
        let planned = plan(index, *source, *stream, range, target)?;
        each.push(planned.segments);
        left_out.extend(planned.left_out);
    }
    left_out.sort_unstable();
    let segments = joined(each);
    if segments.len() > SEGMENTS_MAX {
        return Err(too_many(target));
    }
    Ok(Plan { segments, left_out })
}

/// Puts the segments of several volumes in their order.
fn joined(each: Vec<Vec<PlannedSegment>>) -> Vec<PlannedSegment> {
    let mut segments: Vec<PlannedSegment> = Vec::new();
    for (part, segment) in in_order(each, |segment| (segment.name.run, segment.name.from)) {
        let before = segments.last();
        let elsewhere = before.is_some_and(|before| before.part != part);
        let first = before.is_none();
        let discontinuity = !first && (segment.discontinuity || elsewhere);
        segments.push(PlannedSegment { part, discontinuity, ..segment });
    }
    segments
}
