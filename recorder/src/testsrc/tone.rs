//! The built-in camera's sound: a quiet 440 Hz tone with a louder 1 kHz beep in the first 100 ms of every UTC second, as
//! G.711 mu-law (ITU-T G.711, table 2a/2b), 8,000 samples a second.

/// Audio samples per second.
pub(super) const RATE: u32 = 8_000;
/// Audio samples in one packet: 20 ms.
pub(super) const PACKET_SAMPLES: u32 = 160;

const BEEP_MS: i64 = 100;

/// The packet that begins at `unix_us`, microseconds since 1970.
pub(super) fn packet(unix_us: i64) -> Vec<u8> {
    (0..i64::from(PACKET_SAMPLES))
        .map(|index| {
            let in_second_us = (unix_us + index * 1_000_000 / i64::from(RATE)).rem_euclid(1_000_000);
            let seconds = in_second_us as f64 / 1e6;
            let (hertz, volume) =
                if in_second_us < BEEP_MS * 1_000 { (1_000.0, 12_000.0) } else { (440.0, 1_500.0) };
            mu_law((f64::sin(std::f64::consts::TAU * hertz * seconds) * volume) as i16)
        })
        .collect()
}

/// Compresses a 16-bit sample.
fn mu_law(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(32_635) + BIAS;
    // The bias sets bit 7 at least, and the clip keeps bit 15 clear: the segment is 0 to 7.
    let segment = (24 - magnitude.leading_zeros() as i32).clamp(0, 7);
    let mantissa = magnitude >> (segment + 3) & 0x0f;
    !(sign | (segment << 4) as u8 | mantissa as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(code: u8) -> i32 {
        let code = !code;
        let magnitude = (((i32::from(code & 0x0f) << 3) + 0x84) << (code >> 4 & 7)) - 0x84;
        if code & 0x80 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn compression_keeps_every_sample_within_its_step() {
        assert_eq!((mu_law(0), mu_law(32_767), mu_law(-32_768)), (0xff, 0x80, 0x00));
        for sample in (-32_000..32_000).step_by(7) {
            let error = (expanded(mu_law(sample)) - i32::from(sample)).abs();
            assert!(error <= i32::from(sample).abs() / 16 + 8, "{sample}: off by {error}");
        }
    }

    #[test]
    fn the_beep_stands_at_the_full_second() {
        let loudest = |unix_us| packet(unix_us).into_iter().map(|code| expanded(code).abs()).max().unwrap();
        assert!(loudest(5_000_000) > 10_000 && loudest(5_500_000) < 2_000);
    }
}
