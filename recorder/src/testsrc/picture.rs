//! Draws the built-in camera's pictures, only what changes from one to the next: a still background, a square that moves,
//! three lines of text, the bar code.

use super::barcode;
use font8x8::UnicodeFonts;
use openh264::formats::YUVSource;

const BLACK: u8 = 16;
const WHITE: u8 = 235;
const MARGIN: usize = 8;
const GLYPH: usize = 8;

/// A picture in I420, and what is drawn on it.
pub(super) struct Picture {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    /// Both chroma planes, half the size each.
    chroma: [Vec<u8>; 2],
    scale: usize,
    lines: [String; 3],
    cells: Option<[bool; barcode::CELLS]>,
    square: Option<(usize, usize)>,
}

impl Picture {
    pub(super) fn new(width: u16, height: u16, name: &str) -> Picture {
        let (width, height) = (usize::from(width), usize::from(height));
        let mut picture = Picture {
            width,
            height,
            luma: vec![BLACK; width * height],
            chroma: [vec![128; width * height / 4], vec![128; width * height / 4]],
            scale: (width / 320).min(height / 90).max(1),
            lines: Default::default(),
            cells: None,
            square: None,
        };
        for y in 0..height.saturating_sub(barcode::ROWS) {
            picture.background(0, width, y);
        }
        picture.write(0, name);
        picture
    }

    /// Draws the picture of this number and time.
    pub(super) fn draw(&mut self, number: u32, unix_ms: i64) {
        self.move_square(number);
        self.write(1, &clock_text(unix_ms));
        self.write(2, &format!("#{number}"));
        self.draw_cells(barcode::cells(number, unix_ms));
    }

    fn background(&mut self, left: usize, right: usize, y: usize) {
        let (width, height) = (self.width, self.height);
        if let Some(row) = self.luma.get_mut(y * width..(y + 1) * width) {
            for (x, pixel) in row.iter_mut().enumerate().take(right).skip(left) {
                *pixel = (60 + 90 * x / width + 40 * y / height) as u8;
            }
        }
    }

    /// A square bounces between text and bar code.
    fn move_square(&mut self, number: u32) {
        let top = MARGIN + 3 * self.line_height();
        let bottom = self.height.saturating_sub(barcode::ROWS + MARGIN);
        let side = (bottom.saturating_sub(top) / 3).min(self.width / 6) & !1;
        if side < 4 {
            return;
        }
        let step = (self.width / 160).max(2);
        let x = bounce(number as usize * step, self.width - side) & !1;
        let y = (top + bounce(number as usize * step * 2 / 3, bottom - top - side)) & !1;
        if let Some((old_x, old_y)) = self.square.replace((x, y)) {
            for row in old_y..old_y + side {
                self.background(old_x, old_x + side, row);
            }
            self.tint(old_x, old_y, side, [128, 128]);
        }
        for row in y..y + side {
            self.fill(x, row, side, 200);
        }
        self.tint(x, y, side, [90, 190]);
    }

    fn tint(&mut self, x: usize, y: usize, side: usize, colours: [u8; 2]) {
        let stride = self.width / 2;
        for (plane, colour) in self.chroma.iter_mut().zip(colours) {
            for row in y / 2..(y + side) / 2 {
                if let Some(pixels) = plane.get_mut(row * stride + x / 2..row * stride + (x + side) / 2) {
                    pixels.fill(colour);
                }
            }
        }
    }

    fn write(&mut self, line: usize, text: &str) {
        let old = self.lines.get(line).cloned().unwrap_or_default();
        let mut before = old.chars();
        for (column, character) in text.chars().enumerate() {
            if before.next() != Some(character) {
                self.glyph(line, column, character);
            }
        }
        for column in text.chars().count()..old.chars().count() {
            self.glyph(line, column, ' ');
        }
        if let Some(kept) = self.lines.get_mut(line) {
            text.clone_into(kept);
        }
    }

    fn glyph(&mut self, line: usize, column: usize, character: char) {
        let bitmap = font8x8::BASIC_FONTS.get(character).unwrap_or_default();
        let (scale, left) = (self.scale, MARGIN + column * GLYPH * self.scale);
        let top = MARGIN + line * self.line_height();
        for (row, bits) in bitmap.into_iter().enumerate() {
            for y in 0..scale {
                for bit in 0..GLYPH {
                    let colour = if bits >> bit & 1 == 1 { WHITE } else { BLACK };
                    self.fill(left + bit * scale, top + row * scale + y, scale, colour);
                }
            }
        }
    }

    fn draw_cells(&mut self, cells: [bool; barcode::CELLS]) {
        let before = self.cells.replace(cells);
        let width = self.width / barcode::CELLS;
        for (cell, white) in cells.into_iter().enumerate() {
            if before.and_then(|before| before.get(cell).copied()) != Some(white) {
                for row in self.height.saturating_sub(barcode::ROWS)..self.height {
                    self.fill(cell * width, row, width, if white { WHITE } else { BLACK });
                }
            }
        }
    }

    /// Fills part of a row; what lies outside of the picture is left out.
    fn fill(&mut self, x: usize, y: usize, width: usize, colour: u8) {
        let end = (x + width).min(self.width);
        if let Some(pixels) = self.luma.get_mut(y * self.width + x.min(end)..y * self.width + end) {
            pixels.fill(colour);
        }
    }

    fn line_height(&self) -> usize {
        (GLYPH + 2) * self.scale
    }
}

impl YUVSource for Picture {
    fn dimensions(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
    }

    fn y(&self) -> &[u8] {
        &self.luma
    }

    fn u(&self) -> &[u8] {
        &self.chroma[0]
    }

    fn v(&self) -> &[u8] {
        &self.chroma[1]
    }
}

/// A position that goes forth and back between 0 and `room`.
fn bounce(travelled: usize, room: usize) -> usize {
    let room = room.max(1);
    let at = travelled % (2 * room);
    if at < room { at } else { 2 * room - at }
}

fn clock_text(unix_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(unix_ms) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S.%3f UTC").to_string(),
        Err(_) => format!("{unix_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_carries_its_bar_code_whatever_the_size() {
        for (width, height) in [(320, 120), (640, 360), (1280, 720), (1918, 1078)] {
            let mut picture = Picture::new(width, height, "front");
            for number in 0..40 {
                let unix_ms = 1_763_680_000_000 + i64::from(number) * 40;
                picture.draw(number, unix_ms);
                let read = barcode::read(picture.y(), picture.width, picture.width, picture.height);
                assert_eq!(read, Some((number, unix_ms)), "{width}x{height}");
            }
        }
    }

    #[test]
    fn drawing_what_changed_gives_the_same_as_drawing_anew() {
        let mut kept = Picture::new(640, 360, "front");
        for number in 0..30 {
            kept.draw(number, i64::from(number) * 40);
        }
        let mut anew = Picture::new(640, 360, "front");
        anew.draw(29, 29 * 40);
        assert!(kept.luma == anew.luma && kept.chroma == anew.chroma);
    }

    #[test]
    fn the_clock_is_utc_to_the_millisecond() {
        assert_eq!(clock_text(1_763_680_000_040), "2025-11-20 23:06:40.040 UTC");
    }
}
