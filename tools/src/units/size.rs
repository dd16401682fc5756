//! Sizes in bytes: `10GiB`, `64MiB`, `512KiB`, `4096`. Written with powers of two only, so that a volume never has another
//! size than its operator thinks.

/// The units, from the largest.
const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// Reads a size.
///
/// # Errors
/// A sentence that says what is wrong and how to write it.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("a size is a whole number and a unit, such as 10GiB or 64MiB".into());
    }
    if unit.starts_with(['.', ',']) {
        return Err(
            "a size is a whole number: take the smaller unit, such as 1536MiB for one and a half GiB".into(),
        );
    }
    let shift = match UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name)) {
        Some((_, shift)) => *shift,
        None if unit.is_empty() => 0,
        None => return Err(unknown_unit(number, unit)),
    };
    let too_large = || format!("{text} is more than 16777215TiB");
    let number: u64 = number.parse().map_err(|_| too_large())?;
    number.checked_mul(1 << shift).ok_or_else(too_large)
}

fn unknown_unit(number: &str, unit: &str) -> String {
    let initial = unit.trim_start().chars().next().map(|c| c.to_ascii_uppercase());
    match UNITS.iter().find(|(name, _)| name.chars().next() == initial && name.len() > 1) {
        Some((name, _)) => format!("unknown unit {unit:?}: write {number}{name} (1024-based)"),
        None => format!("unknown unit {unit:?}: the units are KiB, MiB, GiB and TiB, or none for bytes"),
    }
}

/// A size for people: three digits at most, or exact where it is a whole number of its unit.
pub(crate) fn show(bytes: u64) -> String {
    let Some((unit, shift)) = UNITS.iter().find(|(_, shift)| bytes >> shift > 0) else {
        return "0 B".into();
    };
    let whole = bytes >> shift;
    if whole << shift == bytes {
        return format!("{whole} {unit}");
    }
    let value = bytes as f64 / (1_u64 << shift) as f64;
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_to_the_byte() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            ("1KiB", 1 << 10),
            ("64MiB", 64 << 20),
            ("64mib", 64 << 20),
            ("10GiB", 10 << 30),
            ("16TiB", 16 << 40),
            ("16777215TiB", 16_777_215 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_way_to_write_it() {
        for (text, says) in [
            ("", "whole number and a unit"),
            ("GiB", "whole number and a unit"),
            ("-1", "whole number and a unit"),
            ("ten", "whole number and a unit"),
            ("1.5GiB", "1536MiB"),
            ("10G", "write 10GiB"),
            ("10GB", "write 10GiB"),
            ("10 GiB", "write 10GiB"),
            ("5m", "write 5MiB"),
            ("5x", "the units are KiB"),
            ("99999999999999999999", "more than"),
            ("16777216TiB", "more than"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_shown_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1, "1 B"),
            (1024, "1 KiB"),
            (1536, "1.50 KiB"),
            ((10 << 30) + 1, "10.0 GiB"),
            (10 << 30, "10 GiB"),
            (123_456_789_012, "115 GiB"),
        ] {
            assert_eq!(show(bytes), text);
        }
    }
}
