//! Footers that are kept in memory tell every later look what it would have read: whatever was erased, or overwritten by the ring, since
//! they were; and they spare the reads that they are kept for.

use super::driver::{Cuts, Driver};
use super::erase_tests::range;
use super::hold_tests::lapped;
use super::kept_tests::{live, rest};
use super::{Verdict, demand, for_seeds};
use crate::reader::Volume;
use crate::report::{BlockState, Item, TimeRange};
use crate::types::{StreamId, WallTime};

/// Demands that a look that knows footers gives of all streams what one gives that knows nothing.
fn gives_the_same(knowing: &Volume, driver: &Driver, from: Option<WallTime>) -> Verdict<u64> {
    let fresh = live(driver)?;
    let mut items = 0;
    for stream in fresh.streams() {
        let wanted = TimeRange { from, to: None };
        let [known, new] = [knowing, &fresh].map(|volume| volume.read(stream.id, wanted).ok());
        let [known, new] = [known, new].map(|cursor| cursor.map(|mut cursor| rest(&mut cursor)));
        items += new.as_ref().map_or(0, |new| new.0.len() as u64);
        let differs = known.iter().zip(&new).flat_map(|(known, new)| known.0.iter().zip(&new.0));
        let differs = differs.into_iter().find(|(known, new)| known != new);
        demand!(known == new, "with footers and without, {from:?}: {differs:?}");
    }
    Ok(items)
}

/// Looks that follow each other while footage is erased and the ring goes on, each with the footers of those before.
pub(super) fn of_what_goes(seed: u64) -> Verdict<u64> {
    let mut driver: Driver = lapped(seed, Cuts::NONE)?;
    let mut look = live(&driver)?;
    let mut items = gives_the_same(&look, &driver, None)?;
    let before = look.clone();
    let (from, to) = range(&driver, "cam0", 40 + seed as usize % 40, 30)?;
    demand!(driver.erase("cam0", from, to)?, "it is erased");
    for _ in 0..8 {
        look = look.renewed().map_err(|error| error.to_string())?;
        items += gives_the_same(&look, &driver, None)?;
        items += gives_the_same(&look, &driver, Some(from))?;
        // Nor does one that saw nothing of that find the later ones' footers.
        for stream in before.streams() {
            let Ok(mut cursor) = before.read(stream.id, TimeRange::default()) else { continue };
            let damage = rest(&mut cursor).0.into_iter().find(|item| matches!(item, Item::Damage(_)));
            demand!(damage.is_none(), "an older look meets damage: {damage:?}");
        }
        driver.lap()?;
    }
    Ok(items)
}

#[test]
fn what_is_kept_of_footers_is_never_said_of_what_was_erased_or_overwritten() {
    for_seeds("footers that are kept", 9800, 4, of_what_goes);
}

/// How many reads the keyframe before a moment takes.
fn seek(volume: &Volume, driver: &Driver, stream: StreamId, at: WallTime) -> Verdict<u64> {
    let before = driver.disk.reader_reads();
    let wanted = TimeRange { from: Some(at), to: None };
    let mut cursor = volume.read(stream, wanted).map_err(|error| error.to_string())?;
    while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
        if matches!(item, Item::Sample(_)) {
            break;
        }
    }
    Ok(driver.disk.reader_reads() - before)
}

#[test]
fn a_keyframe_is_two_reads_away_and_one_in_a_block_into_which_anybody_looked() {
    for_seeds("reads of a seek", 9850, 3, |seed| {
        let driver: Driver = lapped(seed, Cuts::NONE)?;
        let stream = driver.id_of("cam0");
        let (mut seeks, mut as_promised) = (0, 0);
        let look = live(&driver)?;
        let mut rows = look.stream_rows(stream);
        rows.retain(|row| row.state == BlockState::Sealed && row.sync_samples > 0);
        // The configuration is known from then on.
        let first = rows.pop().and_then(|row| row.wall).ok_or("nothing is recorded")?;
        seek(&look, &driver, stream, first.1)?;
        for (_, last) in rows.into_iter().filter_map(|row| row.wall) {
            let other = look.renewed().map_err(|error| error.to_string())?;
            let cold = seek(&look, &driver, stream, last)?;
            let warm = [&look, &other, &look.clone()].map(|look| seek(look, &driver, stream, last));
            for warm in warm {
                let warm = warm?;
                demand!(warm < cold, "{cold} reads at first, then {warm}");
                as_promised += u64::from(cold == 2 && warm == 1);
                seeks += 1;
            }
        }
        // A keyframe may stand in several chunks, or its run begin in the block before.
        demand!(seeks > 20 && 2 * as_promised > seeks, "{as_promised} of {seeks} seeks");
        Ok(seeks)
    });
}
