//! How codecs are named in playlists and to browsers (RFC 6381; ISO/IEC 14496-15, annex E).

use mp4_atom::{Avcc, Hvcc};

/// `avc1.640028`: profile, constraints and level in hexadecimal digits.
pub(crate) fn avc(entry: &str, avcc: &Avcc) -> String {
    let Avcc { avc_profile_indication, profile_compatibility, avc_level_indication, .. } = avcc;
    format!("{entry}.{avc_profile_indication:02X}{profile_compatibility:02X}{avc_level_indication:02X}")
}

/// `hvc1.1.6.L93.B0`: profile, compatibility flags in reverse order, tier and level, constraints without trailing zeros.
pub(crate) fn hevc(entry: &str, hvcc: &Hvcc) -> String {
    let space = ["", "A", "B", "C"].get(usize::from(hvcc.general_profile_space)).copied().unwrap_or_default();
    let compatibility = u32::from_be_bytes(hvcc.general_profile_compatibility_flags).reverse_bits();
    let tier = if hvcc.general_tier_flag { 'H' } else { 'L' };
    let mut text = format!(
        "{entry}.{space}{}.{compatibility:X}.{tier}{}",
        hvcc.general_profile_idc, hvcc.general_level_idc
    );
    let constraints = &hvcc.general_constraint_indicator_flags;
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(used) {
        text.push_str(&format!(".{byte:X}"));
    }
    text
}

/// `mp4a.40.2`: the audio object type of an AudioSpecificConfig.
pub(crate) fn aac(configuration: &[u8]) -> Option<String> {
    Some(format!("mp4a.40.{}", object_type(configuration)?))
}

/// The audio object type of an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
pub(crate) fn object_type(configuration: &[u8]) -> Option<u8> {
    let first = *configuration.first()?;
    Some(match first >> 3 {
        31 => 32 + ((first & 0x07) << 3 | configuration.get(1)? >> 5),
        short => short,
    })
}

/// FLAC in MP4 has no parameters.
pub(crate) const FLAC: &str = "fLaC";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_named_as_the_standards_print_them() {
        let avcc = Avcc { avc_profile_indication: 0x64, avc_level_indication: 0x28, ..Avcc::default() };
        assert_eq!(avc("avc1", &avcc), "avc1.640028");
        // Annex E.3 of ISO/IEC 14496-15 has these two.
        let mut hvcc = Hvcc::new();
        (hvcc.general_profile_idc, hvcc.general_level_idc) = (1, 93);
        hvcc.general_profile_compatibility_flags = [0x60, 0, 0, 0];
        hvcc.general_constraint_indicator_flags = [0xB0, 0, 0, 0, 0, 0];
        assert_eq!(hevc("hev1", &hvcc), "hev1.1.6.L93.B0");
        (hvcc.general_profile_space, hvcc.general_profile_idc, hvcc.general_tier_flag) = (1, 4, true);
        hvcc.general_level_idc = 120;
        hvcc.general_profile_compatibility_flags = [0x08, 0, 0, 0];
        hvcc.general_constraint_indicator_flags = [0xB0, 0x23, 0, 0, 0, 0];
        assert_eq!(hevc("hvc1", &hvcc), "hvc1.A4.10.H120.B0.23");
        assert_eq!(aac(&[0x11, 0x90]).as_deref(), Some("mp4a.40.2"));
        assert_eq!(aac(&[0xF9, 0x46]).as_deref(), Some("mp4a.40.42"));
        assert_eq!(aac(&[]), None);
    }
}
