//! The order of what several volumes have of a stream: run by run. Pure.
//!
//! Within a volume the order of recording holds, whatever clocks say. Between volumes the next run is the one that begins earliest; of those
//! that begin at one moment, that of the volume which stands first. A run is never torn: where two overlap, as at the seam of a camera that
//! went over to another volume, one follows the other whole, like two runs of one volume between which a clock was set back.
//!
//! A run whose clock was ahead keeps what its volume recorded behind it waiting until its moment comes.

use keha_fs::{RunId, WallTime};
use std::collections::VecDeque;

/// All of some lists in their order, each with the number of its list. `of`: the run of something, and its moment.
pub(crate) fn in_order<T>(lists: Vec<Vec<T>>, of: impl Fn(&T) -> (RunId, WallTime)) -> Vec<(usize, T)> {
    let mut lists: Vec<VecDeque<T>> = lists.into_iter().map(VecDeque::from).collect();
    let mut all = Vec::with_capacity(lists.iter().map(VecDeque::len).sum());
    loop {
        let heads = lists.iter().enumerate();
        let heads = heads.filter_map(|(number, list)| list.front().map(|head| (of(head).1, number)));
        let Some((_, number)) = heads.min() else { return all };
        let Some(list) = lists.get_mut(number) else { return all };
        let run = list.front().map(|head| of(head).0);
        while let Some(next) = list.pop_front_if(|next| Some(of(next).0) == run) {
            all.push((number, next));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::Uuid;
    use proptest::prelude::*;

    type Made = (RunId, WallTime);

    /// Runs of a volume: how long after the one before each begins, and its moments.
    fn volume(number: u128) -> impl Strategy<Value = Vec<Made>> {
        let run = (0i64..50, prop::collection::vec(0i64..20, 1..5));
        prop::collection::vec(run, 0..6).prop_map(move |runs| {
            let (mut at, mut made) = (0, Vec::new());
            for (place, (later, steps)) in (0..).zip(runs) {
                at += later;
                let run = RunId(Uuid::from_u128(number << 64 | place));
                for step in steps {
                    made.push((run, WallTime(at)));
                    at += step;
                }
            }
            made
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_no_run_is_torn_and_each_volume_keeps_its_order(
            one in volume(1), two in volume(2), three in volume(3),
        ) {
            let lists = vec![one, two, three];
            let ordered = in_order(lists.clone(), |made| *made);
            for (number, list) in lists.iter().enumerate() {
                let mine = ordered.iter().filter(|(of, _)| *of == number).map(|(_, made)| *made);
                prop_assert!(mine.eq(list.iter().copied()));
            }
            let mut begins: Vec<Made> = Vec::new();
            for (_, made) in &ordered {
                if begins.last().map(|last| last.0) != Some(made.0) {
                    prop_assert!(begins.iter().all(|begun| begun.0 != made.0), "it was torn");
                    begins.push(*made);
                }
            }
            // No clock was set back here.
            prop_assert!(begins.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        }
    }

    #[test]
    fn a_camera_that_went_and_came_back_is_in_the_order_in_which_it_was_recorded() {
        let run = |number| RunId(Uuid::from_u128(number));
        let at = |number, seconds: &[i64]| seconds.iter().map(move |s| (run(number), WallTime(*s))).collect();
        let (first, back): (Vec<Made>, Vec<Made>) = (at(1, &[0, 5, 12]), at(3, &[30, 35]));
        let other: Vec<Made> = at(2, &[10, 15, 20]);
        let ordered = in_order(vec![[first, back].concat(), other], |made| *made);
        let runs: Vec<u128> = ordered.iter().map(|(_, (run, _))| run.0.as_u128()).collect();
        assert_eq!(runs, [1, 1, 1, 2, 2, 2, 3, 3], "the overlap at the seam tears nothing");
    }
}
