//! G.711 to linear samples of 16 bits (ITU-T G.711, tables 1a to 2b), as every decoder scales them.

/// Which of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    /// A-law: 13 bits of a sample, in the upper bits of 16.
    A,
    /// µ-law: 14 bits of a sample, in the upper bits of 16.
    Mu,
}

/// Decodes one sample.
pub(crate) fn decode(law: Law, code: u8) -> i16 {
    match law {
        Law::A => decode_a(code),
        Law::Mu => decode_mu(code),
    }
}

/// Even bits are sent inverted; the sign bit is set for positive values.
fn decode_a(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = ((code >> 4) & 0x07, i16::from(code & 0x0f) << 4);
    let magnitude = match segment {
        0 => step + 0x08,
        _ => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// All bits are sent inverted; the sign bit is set for negative values.
fn decode_mu(code: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let code = !code;
    let magnitude = (((i16::from(code & 0x0f) << 3) + BIAS) << ((code >> 4) & 0x07)) - BIAS;
    if code & 0x80 != 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_and_the_middle_of_both_laws_are_those_of_the_recommendation() {
        // Decision values of G.711 in 16 bits: 32256 and 8 for A-law, 32124 and 0 for µ-law.
        assert_eq!([0xAA, 0x2A, 0xD5, 0x55].map(|code| decode(Law::A, code)), [32256, -32256, 8, -8]);
        assert_eq!([0x80, 0x00, 0xFF, 0x7F].map(|code| decode(Law::Mu, code)), [32124, -32124, 0, 0]);
    }

    #[test]
    fn both_laws_fit_into_the_bits_they_say() {
        for code in 0..=255 {
            assert_eq!(decode(Law::A, code) % 8, 0);
            assert_eq!(decode(Law::Mu, code) % 4, 0);
        }
    }
}
