//! Number and time of a picture of the built-in camera, readable by a program from the decoded luma plane.
//!
//! Layout: the lowest 16 rows of the picture hold one row of [`CELLS`] cells, from the left, each `width / CELLS` pixels
//! wide (rounded down); what remains at the right is black. White (luma 235) is 1, black (luma 16) is 0, most significant
//! bit first:
//!
//! ```text
//! cells   0..8     start pattern 1 0 1 1 0 0 1 0
//! cells   8..40    number of the picture, u32
//! cells  40..88    time of the picture, u48: milliseconds since 1970-01-01T00:00:00Z
//! cells  88..104   checksum, u16: Fletcher-16 of the ten bytes of number and time
//! ```

/// How many cells the row has.
pub const CELLS: usize = 104;
/// How many pixels the row is high.
pub const ROWS: usize = 16;

const START: u8 = 0b1011_0010;
/// Rows in the middle of a cell that are averaged; its edges suffer from coding.
const SAMPLED_ROWS: std::ops::Range<usize> = 4..12;

/// The cells for a picture, first to last.
pub fn cells(number: u32, unix_ms: i64) -> [bool; CELLS] {
    let payload = payload(number, unix_ms);
    let checksum = fletcher16(&payload).to_be_bytes();
    let mut bytes = [0; CELLS / 8];
    for (to, from) in bytes.iter_mut().zip(std::iter::once(START).chain(payload).chain(checksum)) {
        *to = from;
    }
    std::array::from_fn(|cell| bytes[cell / 8] >> (7 - cell % 8) & 1 == 1)
}

/// Reads number and time (in milliseconds since 1970) from a picture's luma plane, of which each row is `stride` bytes.
/// `None` if there is no bar code in it, or it cannot be read without doubt.
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<(u32, i64)> {
    let cell_width = width / CELLS;
    let top = height.checked_sub(ROWS)?;
    let mut bytes = [0_u8; CELLS / 8];
    for (cell, byte) in (0..CELLS).map(|cell| (cell, cell / 8)) {
        // The middle third of the cell, at least one pixel.
        let left = cell * cell_width + cell_width / 3;
        let right = left + (cell_width / 3).max(1);
        let (mut sum, mut count) = (0_usize, 0_usize);
        for row in SAMPLED_ROWS {
            let begin = (top + row) * stride;
            let pixels = luma.get(begin + left..begin + right)?;
            sum += pixels.iter().map(|&pixel| usize::from(pixel)).sum::<usize>();
            count += pixels.len();
        }
        if sum > 125 * count {
            *bytes.get_mut(byte)? |= 1 << (7 - cell % 8);
        }
    }
    let number = u32::from_be_bytes(bytes[1..5].try_into().ok()?);
    let unix_ms = bytes[5..11].iter().fold(0_i64, |time, &byte| time << 8 | i64::from(byte));
    let checksum = u16::from_be_bytes(bytes[11..13].try_into().ok()?);
    (bytes[0] == START && checksum == fletcher16(&payload(number, unix_ms))).then_some((number, unix_ms))
}

fn payload(number: u32, unix_ms: i64) -> [u8; 10] {
    let mut payload = [0; 10];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload[4..].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
    payload
}

/// Fletcher's checksum modulo 255 (RFC 905, annex B, in its plain form).
fn fletcher16(bytes: &[u8]) -> u16 {
    let (low, high) = bytes.iter().fold((1_u16, 0_u16), |(low, high), &byte| {
        let low = (low + u16::from(byte)) % 255;
        (low, (high + low) % 255)
    });
    high << 8 | low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drawn(number: u32, unix_ms: i64, width: usize, height: usize) -> Vec<u8> {
        let mut luma = vec![90; width * height];
        for (cell, white) in cells(number, unix_ms).into_iter().enumerate() {
            for row in height - ROWS..height {
                let begin = row * width + cell * (width / CELLS);
                luma[begin..begin + width / CELLS].fill(if white { 235 } else { 16 });
            }
        }
        luma
    }

    proptest! {
        #[test]
        fn what_is_drawn_is_read(number: u32, unix_ms in 0_i64..1 << 48, width in 320_usize..700) {
            let luma = drawn(number, unix_ms, width, 40);
            prop_assert_eq!(read(&luma, width, width, 40), Some((number, unix_ms)));
        }

        #[test]
        fn nothing_is_read_from_other_pictures_and_no_size_panics(
            luma in proptest::collection::vec(any::<u8>(), 0..4_000), stride in 0_usize..300, width in 0_usize..300,
            height in 0_usize..60,
        ) {
            prop_assert_eq!(read(&luma, stride, width, height), None);
        }
    }

    #[test]
    fn one_wrong_cell_is_found_out() {
        for cell in 0..CELLS {
            let mut luma = drawn(77, 1_700_000_000_123, 416, 16);
            for row in 0..ROWS {
                for pixel in &mut luma[row * 416 + cell * 4..row * 416 + cell * 4 + 4] {
                    *pixel = 251 - *pixel;
                }
            }
            assert_eq!(read(&luma, 416, 416, 16), None, "cell {cell}");
        }
    }
}
