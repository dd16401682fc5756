//! How much may wait in memory for the disk, of each stream and of all together. Pure counting: a sample is counted in before it is
//! handed over, and out once the engine says that it is safe; whoever has no room is told so at once. What becomes of the samples is
//! not known here.

use super::Rejected;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Of all streams together, in bytes, shared among those that are recorded.
    pub(crate) bytes: usize,
    /// Of each, however many there are, in bytes.
    pub(crate) stream_bytes_min: usize,
}

/// Which part of the budget what is carried over from other volumes may take: the rest is for what is sent now.
const CARRIED_PART: usize = 2;

/// What a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was sent just now.
    Own,
    /// It is carried over from another volume, where so many streams come over at the same time.
    Carried { together: usize },
}

/// What waits of each stream, in bytes ([`crate::sample::Sample::queued_bytes`]), and of all.
#[derive(Default)]
pub(crate) struct Room {
    streams: Vec<usize>,
    all: usize,
    /// What of it is carried over. It came first: it goes first.
    carried: Vec<usize>,
    carried_all: usize,
}

impl Room {
    /// There is a stream of this index.
    pub(crate) fn admit(&mut self, index: usize) {
        if self.streams.len() <= index {
            self.streams.resize(index + 1, 0);
            self.carried.resize(index + 1, 0);
        }
    }

    /// [`Room::take`] for a sample of any standing. All that is carried has a part of the budget, of which each stream has as much as the
    /// others, whichever comes first.
    pub(crate) fn take_as(
        &mut self,
        standing: Standing,
        index: usize,
        bytes: usize,
        budget: Budget,
        recorded: usize,
    ) -> Result<(), Rejected> {
        let Standing::Carried { together } = standing else {
            return self.take(index, bytes, budget, recorded);
        };
        let carried = self.carried.get(index).copied().unwrap_or_default();
        let part = budget.bytes / CARRIED_PART;
        let share = part / recorded.max(together).max(1);
        let full = carried.saturating_add(bytes) > share || self.carried_all.saturating_add(bytes) > part;
        if carried > 0 && full {
            return Err(Rejected::Full);
        }
        self.take(index, bytes, budget, recorded)?;
        if let Some(carried) = self.carried.get_mut(index) {
            *carried = carried.saturating_add(bytes);
            self.carried_all = self.carried_all.saturating_add(bytes);
        }
        Ok(())
    }

    /// Counts a sample in if its stream has room for it while so many are `recorded`.
    pub(crate) fn take(
        &mut self,
        index: usize,
        bytes: usize,
        budget: Budget,
        recorded: usize,
    ) -> Result<(), Rejected> {
        let waiting = self.streams.get_mut(index).ok_or(Rejected::Stopped)?;
        let after = waiting.saturating_add(bytes);
        let share = (budget.bytes / recorded.max(1)).max(budget.stream_bytes_min);
        // What streams left behind that are not recorded any more still waits.
        let all = self.all.saturating_add(bytes) > budget.bytes && after > budget.stream_bytes_min;
        let full = after > share || all && !planted!(BudgetForEachStream);
        // A sample larger than its share must get through an empty queue.
        if *waiting > 0 && full && !planted!(QueueUnbounded) {
            return Err(Rejected::Full);
        }
        *waiting = after;
        self.all = self.all.saturating_add(bytes);
        Ok(())
    }

    /// So many bytes of a stream wait no more.
    pub(crate) fn give_back(&mut self, index: usize, bytes: usize) {
        if let Some(waiting) = self.streams.get_mut(index) {
            let bytes = bytes.min(*waiting);
            *waiting -= bytes;
            self.all = self.all.saturating_sub(bytes);
        }
        if let Some(carried) = self.carried.get_mut(index) {
            let bytes = bytes.min(*carried);
            *carried -= bytes;
            self.carried_all = self.carried_all.saturating_sub(bytes);
        }
    }

    /// How many bytes wait.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// How many bytes of a stream wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self, index: usize) -> usize {
        self.streams.get(index).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures of a group, a second's.
    const GROUP: u64 = 25;

    /// A camera that does as it is told when there is no room: it leaves out what follows up to its next keyframe.
    struct Camera {
        picture_bytes: usize,
        /// Where in its group it begins.
        phase: u64,
        leaving_out: bool,
        left_out: u64,
        /// What it handed over since the round under way began, in bytes.
        since: usize,
    }

    impl Camera {
        fn picture(&mut self, number: u64, index: usize, room: &mut Room, budget: Budget, recorded: usize) {
            let keyframe = (number + self.phase).is_multiple_of(GROUP);
            let bytes = self.picture_bytes * if keyframe { 4 } else { 1 };
            let taken = (keyframe || !self.leaving_out) && room.take(index, bytes, budget, recorded).is_ok();
            self.since += if taken { bytes } else { 0 };
            self.left_out += u64::from(!taken);
            self.leaving_out = !taken;
        }
    }

    /// For so many pictures of cameras with pictures of these sizes, a round is over every `round` pictures, and makes what came
    /// before it durable. How many pictures each camera leaves out.
    fn record(sizes: &[usize], budget: Budget, pictures: u64, round: u64) -> Vec<u64> {
        let mut room = Room::default();
        let camera = |(phase, &picture_bytes)| Camera {
            picture_bytes,
            phase,
            leaving_out: false,
            left_out: 0,
            since: 0,
        };
        let mut cameras: Vec<Camera> = (0..).step_by(7).zip(sizes).map(camera).collect();
        let mut writing = vec![0; cameras.len()];
        for index in 0..cameras.len() {
            room.admit(index);
        }
        for number in 0..pictures {
            if number % round == 0 {
                for (index, (camera, writing)) in cameras.iter_mut().zip(&mut writing).enumerate() {
                    room.give_back(index, std::mem::replace(writing, std::mem::take(&mut camera.since)));
                }
            }
            for (index, camera) in cameras.iter_mut().enumerate() {
                camera.picture(number, index, &mut room, budget, sizes.len());
            }
            let most = budget.bytes.max(sizes.len() * budget.stream_bytes_min) + sizes.len() * 4 * sizes[0];
            assert!(room.all() <= most, "{} bytes wait", room.all());
        }
        cameras.iter().map(|camera| camera.left_out).collect()
    }

    /// Forty streams come over, each with more than there is room for, and no round ends. Each gets in as much as the others; those that
    /// were here before have their share as if nobody had come, and what is sent now of those that came has room, too.
    #[test]
    fn what_is_carried_over_takes_no_room_from_what_is_sent() {
        const OWN: usize = 4;
        const COME: usize = 40;
        const BYTES: usize = 4_000;
        let mut room = Room::default();
        let fill = |room: &mut Room, standing, index, recorded| {
            room.admit(index);
            let most = 2 * BUDGET.bytes / BYTES;
            (0..most).take_while(|_| room.take_as(standing, index, BYTES, BUDGET, recorded).is_ok()).count()
                * BYTES
        };
        // They are admitted one after the other, and the first ones do not know of how many there will be but by being told.
        let standing = Standing::Carried { together: COME };
        let carried: Vec<usize> =
            (OWN..OWN + COME).map(|index| fill(&mut room, standing, index, index + 1)).collect();
        let (least, most) = (carried.iter().min().unwrap(), carried.iter().max().unwrap());
        assert!(*least > 150_000 && most - least <= most / 8, "{carried:?}");
        assert!(carried.iter().sum::<usize>() <= BUDGET.bytes / CARRIED_PART, "{carried:?}");
        let share = BUDGET.bytes / (OWN + COME);
        for index in 0..OWN {
            assert!(fill(&mut room, Standing::Own, index, OWN + COME) > share - BYTES);
        }
        for index in OWN..OWN + COME {
            let sent = fill(&mut room, Standing::Own, index, OWN + COME);
            assert!(sent > share / 3, "{sent} bytes of {share}");
        }
        // What is durable makes room for more that is carried.
        room.give_back(OWN, usize::MAX);
        assert!(fill(&mut room, standing, OWN, OWN + COME) > 0);
    }

    const BUDGET: Budget = Budget { bytes: 16 << 20, stream_bytes_min: 64 << 10 };

    #[test]
    fn of_cameras_alike_each_leaves_out_as_much_as_the_others_when_the_disk_is_too_slow() {
        for round in [60, 118, 263] {
            let left_out = record(&[17_500; 32], BUDGET, 20_000, round);
            let (least, most) = (left_out.iter().min().unwrap(), left_out.iter().max().unwrap());
            assert!(*least > 2_000, "the disk was fast enough: {left_out:?}");
            assert!(most - least <= most / 20, "rounds of {round} pictures: {left_out:?}");
        }
    }

    #[test]
    fn a_camera_that_sends_more_than_its_share_costs_the_others_nothing() {
        let mut sizes = [7_000; 16];
        sizes[5] = 140_000;
        let left_out = record(&sizes, BUDGET, 5_000, 60);
        let others = left_out.iter().enumerate().filter(|(index, _)| *index != 5);
        assert_eq!(others.map(|(_, count)| count).sum::<u64>(), 0, "{left_out:?}");
        assert!(left_out[5] > 1_000, "it kept within its share: {left_out:?}");
    }
}
