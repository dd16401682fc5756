//! How many blocks faults may take: a bad cable must not make the ring run faster than recording does. Pure counting.

/// How many blocks were withdrawn after write errors within a day of running time. Kept in the round log: whoever starts a
/// recorder again and again starts no new day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FaultBudget {
    /// When the day began, in seconds the volume had been open for writing.
    pub(crate) since_s: u64,
    /// How many blocks since then.
    pub(crate) blocks: u32,
}

impl FaultBudget {
    /// How many there were in the day that goes on; a new one begins if that is over.
    pub(crate) fn spent(&mut self, now_s: u64) -> u32 {
        const DAY_S: u64 = 24 * 3600;
        if now_s.saturating_sub(self.since_s) >= DAY_S {
            *self = FaultBudget { since_s: now_s, blocks: 0 };
        }
        self.blocks
    }

    /// Another one.
    pub(crate) fn count(&mut self, now_s: u64) {
        self.blocks = self.spent(now_s).saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_running_time_is_counted_together() {
        let mut budget = FaultBudget::default();
        budget.count(10);
        budget.count(86_000);
        assert_eq!(budget.spent(86_399), 2);
        assert_eq!(budget.spent(86_400), 0);
        budget.count(86_500);
        assert_eq!(budget.spent(86_500), 1);
    }
}
