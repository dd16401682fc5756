//! Sizes, and making a picture smaller. Pure.

use super::{PIXELS_MAX, Rgb};
use crate::error::{Error, Result};

/// A size of at most this width, in the picture's own proportions.
pub(super) fn fitted(width: u16, height: u16, widest: u16) -> Result<(u16, u16)> {
    if width == 0 || height == 0 || u32::from(width) * u32::from(height) > PIXELS_MAX {
        let text =
            format!("a picture of {width}x{height} pixels is not decoded; lower the camera's resolution");
        return Err(Error::Snapshot(text));
    }
    let made = width.min(widest);
    let high = (u32::from(height) * u32::from(made) + u32::from(width) / 2) / u32::from(width);
    Ok((made, u16::try_from(high.max(1)).unwrap_or(u16::MAX)))
}

/// A picture made smaller: each pixel is the mean of those that it stands for.
pub(super) fn shrunk(picture: Rgb, (width, height): (u16, u16)) -> Rgb {
    if (width, height) == (picture.width, picture.height) {
        return picture;
    }
    let mut data = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
    for y in 0..height {
        let rows = stands_for(y, height, picture.height);
        for x in 0..width {
            data.extend_from_slice(&mean(&picture, stands_for(x, width, picture.width), rows.clone()));
        }
    }
    Rgb { data, width, height }
}

/// The places of `whole` that place `at` of `made` stands for; at least one.
fn stands_for(at: u16, made: u16, whole: u16) -> std::ops::Range<usize> {
    let place = |at: u32| (at * u32::from(whole) / u32::from(made.max(1))) as usize;
    let (first, end) = (place(u32::from(at)), place(u32::from(at) + 1));
    first..end.max(first + 1)
}

fn mean(picture: &Rgb, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> [u8; 3] {
    let (mut sums, mut count) = ([0u32; 3], 0);
    let stride = usize::from(picture.width) * 3;
    for row in rows {
        let line = picture.data.get(row * stride + columns.start * 3..row * stride + columns.end * 3);
        for pixel in line.unwrap_or_default().chunks_exact(3) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
            count += 1;
        }
    }
    sums.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_size_keeps_its_proportions_and_is_never_larger(width in 16u16..4000, height in 16u16..4000, widest in 16u16..3840) {
            let (made, high) = fitted(width, height, widest).unwrap();
            prop_assert!(made <= width && high <= height && made <= widest);
            let exact = f64::from(height) * f64::from(made) / f64::from(width);
            prop_assert!((f64::from(high) - exact).abs() <= 1.0);
        }

        #[test]
        fn a_picture_of_one_colour_keeps_it(colour: [u8; 3], width in 1u16..60, height in 1u16..60, made in 1u16..60, high in 1u16..60) {
            let size = (made.min(width), high.min(height));
            let pixels = usize::from(width) * usize::from(height);
            let picture = Rgb { data: colour.repeat(pixels), width, height };
            let shrunk = shrunk(picture, size);
            prop_assert_eq!(shrunk.data, colour.repeat(usize::from(size.0) * usize::from(size.1)));
        }
    }

    #[test]
    fn pictures_without_a_size_or_beyond_all_sizes_are_refused() {
        assert!(fitted(0, 100, 100).is_err() && fitted(100, 0, 100).is_err());
        assert!(fitted(u16::MAX, u16::MAX, 100).is_err());
        assert_eq!(fitted(7680, 4320, 3840).unwrap(), (3840, 2160));
    }
}
