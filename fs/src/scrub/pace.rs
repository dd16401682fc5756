//! How long the scrub rests after a read.

use std::time::Duration;

/// For each moment of reading so many moments of rest.
const RESTS: u32 = 19;
/// However long a read took, longer is not rested: a sector that the disk tries for half a minute must not hold a pass up for days.
const REST_MAX: Duration = Duration::from_secs(60);

/// The rest after so many bytes were read in this time, where `pace` bytes a second may be.
pub(crate) fn rest_after(took: Duration, bytes: u64, pace: u64) -> Duration {
    let whole = Duration::try_from_secs_f64(bytes as f64 / pace.max(1) as f64).unwrap_or(REST_MAX);
    whole.saturating_sub(took).max(took.saturating_mul(RESTS)).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_takes_a_twentieth_of_the_time_at_most_and_keeps_to_the_pace() {
        let ms = Duration::from_millis;
        for (took, bytes, pace, rest) in [
            (ms(10), 1 << 20, u64::MAX, ms(190)),
            (ms(10), 1 << 20, 1 << 20, ms(990)),
            (ms(10), 1 << 20, 100 << 20, ms(190)),
            (ms(0), 0, 1 << 20, ms(0)),
            (ms(30_000), 1 << 20, 1 << 20, REST_MAX),
            (Duration::MAX, u64::MAX, 0, REST_MAX),
        ] {
            assert_eq!(rest_after(took, bytes, pace), rest, "{took:?} {bytes} {pace}");
        }
    }
}
