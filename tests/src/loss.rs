//! What was lost when a recorder died: the camera's send log against the footage that is left.
//!
//! Each life of the recorder is a session of each camera. What is left of a session must be a prefix of it: complete up
//! to the point where the loss begins. Everything else is a hole, and an error.

use crate::server::Sent;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, HashSet};

/// The loss at the end of one session of one track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// The camera's session.
    pub session: u32,
    /// Samples sent up to the end.
    pub sent: u64,
    /// Samples kept.
    pub kept: u64,
    /// From the first lost sample to the end, seconds; 0 if none is lost.
    pub lost_s: f64,
    /// Samples missing at the beginning of the session.
    pub head_missing: u64,
}

/// Judges every session of a track. `ends` says when each session ended by death or by order, Unix nanoseconds:
/// the end of a session is the first of them after its first sample.
pub fn by_session(sent: &[Sent], kept: &[u64], ends: &[u64]) -> Result<Vec<Loss>> {
    let kept: HashSet<u64> = kept.iter().copied().collect();
    let mut sessions: BTreeMap<u32, Vec<&Sent>> = BTreeMap::new();
    for line in sent {
        sessions.entry(line.session).or_default().push(line);
    }
    let mut losses = Vec::new();
    let mut explained = 0;
    for (session, lines) in sessions {
        let first_ns = lines.first().map_or(0, |line| line.wall_ns);
        // What was sent into a dead recorder's socket is nobody's loss, but none of it can have been kept either.
        let end_ns = ends.iter().copied().find(|end| *end > first_ns).unwrap_or(u64::MAX);
        let head_missing = lines.iter().take_while(|line| !kept.contains(&line.number)).count();
        let left = lines.iter().filter(|line| kept.contains(&line.number)).count();
        explained += left;
        let in_time: Vec<&&Sent> = lines.iter().filter(|line| line.wall_ns <= end_ns).collect();
        if left == 0 {
            let lost_s = if end_ns == u64::MAX { 0.0 } else { (end_ns - first_ns) as f64 / 1e9 };
            losses.push(Loss { session, sent: in_time.len() as u64, kept: 0, lost_s, head_missing: 0 });
            continue;
        }
        let hole = lines[head_missing..head_missing + left].iter().find(|line| !kept.contains(&line.number));
        if let Some(hole) = hole {
            bail!("a hole in session {session} at sample {}: the footage goes on behind it", hole.number);
        }
        let first_lost = in_time.get(head_missing + left);
        let lost_s = match first_lost {
            Some(line) if end_ns != u64::MAX => (end_ns - line.wall_ns) as f64 / 1e9,
            _ => 0.0,
        };
        losses.push(Loss {
            session,
            sent: in_time.len() as u64,
            kept: left as u64,
            lost_s,
            head_missing: head_missing as u64,
        });
    }
    if explained != kept.len() {
        bail!("{} samples in the footage were never sent", kept.len() - explained);
    }
    Ok(losses)
}

/// What of one session is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Holes {
    /// Samples between the first and the last that were kept.
    pub missing: u64,
    /// The first kept sample behind each hole.
    pub resumed_at: Vec<u64>,
    /// From the first sample behind the last one kept up to the end, seconds; 0 if there is none.
    pub at_end_s: f64,
}

/// Judges a track of a camera that was connected once, from its first sample on: what is missing up to `end_ns`.
pub fn holes(sent: &[Sent], kept: &[u64], end_ns: u64) -> Result<Holes> {
    let (Some(first), Some(last)) = (sent.first(), kept.last()) else { bail!("nothing was sent, or kept") };
    if let Some(again) = sent.iter().find(|line| line.session != first.session) {
        bail!("the camera was connected again at sample {}", again.number);
    }
    if kept.first() != Some(&first.number) {
        bail!("the first sample sent is {}, the first kept {:?}", first.number, kept.first());
    }
    if sent.last().is_none_or(|line| line.number < *last) {
        bail!("sample {last} is in the footage and was never sent");
    }
    let resumed_at: Vec<u64> =
        kept.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|pair| pair[1]).collect();
    let behind = sent.iter().find(|line| line.number > *last && line.wall_ns <= end_ns);
    Ok(Holes {
        missing: last - first.number + 1 - kept.len() as u64,
        resumed_at,
        at_end_s: behind.map_or(0.0, |line| (end_ns - line.wall_ns) as f64 / 1e9),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(session: u32, numbers: std::ops::Range<u64>, from_s: u64) -> Vec<Sent> {
        numbers
            .clone()
            .map(|number| Sent {
                wall_ns: from_s * 1_000_000_000 + (number - numbers.start) * 100_000_000,
                mount: "cam".to_owned(),
                session,
                track: 0,
                number,
                running_ns: 0,
            })
            .collect()
    }

    #[test]
    fn the_loss_is_counted_from_the_first_lost_sample_to_the_death() {
        let log = sent(1, 0..30, 10);
        let kept: Vec<u64> = (0..15).collect();
        let losses = by_session(&log, &kept, &[12_000_000_000]).unwrap();
        assert_eq!(losses, [Loss { session: 1, sent: 21, kept: 15, lost_s: 0.5, head_missing: 0 }]);
    }

    #[test]
    fn a_session_of_which_nothing_is_left_counts_whole() {
        let log = [sent(1, 0..20, 10), sent(2, 25..35, 20)].concat();
        let kept: Vec<u64> = (0..20).collect();
        let losses = by_session(&log, &kept, &[13_000_000_000, 20_700_000_000]).unwrap();
        assert_eq!((losses[0].lost_s, losses[1].lost_s, losses[1].kept), (0.0, 0.7, 0));
    }

    #[test]
    fn holes_are_counted_between_the_first_and_the_last_that_is_kept() {
        let log = sent(1, 0..30, 10);
        let kept: Vec<u64> = (0..10).chain(15..20).chain(21..27).collect();
        let found = holes(&log, &kept, 12_900_000_000).unwrap();
        assert_eq!(found, Holes { missing: 6, resumed_at: vec![15, 21], at_end_s: 0.2 });
        assert!(holes(&log, &[1, 2, 3], 12_900_000_000).is_err(), "it began late");
        assert!(holes(&[log, sent(2, 30..40, 13)].concat(), &kept, 13_900_000_000).is_err());
    }

    #[test]
    fn a_hole_and_a_sample_never_sent_are_errors() {
        let log = sent(1, 0..30, 10);
        assert!(by_session(&log, &[0, 1, 2, 4, 5], &[13_000_000_000]).is_err());
        assert!(by_session(&log, &[0, 1, 2, 77], &[13_000_000_000]).is_err());
    }
}
