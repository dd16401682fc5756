//! Places side by side of which the same is to be said, so that a wiped region is one finding and not a thousand.

/// Places side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch<W> {
    /// The first of them.
    pub(crate) first: u32,
    /// How many.
    pub(crate) count: u32,
    /// What is to be said of them.
    pub(crate) what: W,
}

/// Adds a place to the last stretch, if it continues it, else begins a new one. Places come in their order.
pub(crate) fn note<W: PartialEq>(all: &mut Vec<Stretch<W>>, place: u32, what: W) {
    match all.last_mut().filter(|last| last.first + last.count == place && last.what == what) {
        Some(last) => last.count += 1,
        None => all.push(Stretch { first: place, count: 1, what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_side_by_side_of_one_kind_are_one_stretch() {
        let mut all = Vec::new();
        for (place, what) in [(0, 'a'), (1, 'a'), (2, 'b'), (4, 'b'), (5, 'b')] {
            note(&mut all, place, what);
        }
        let told: Vec<_> = all.iter().map(|stretch| (stretch.first, stretch.count, stretch.what)).collect();
        assert_eq!(told, [(0, 2, 'a'), (2, 1, 'b'), (4, 2, 'b')]);
    }
}
