//! Sound that is none: a frame to fill a hole with, where one track has nothing and another has. A player that plays its sound frame
//! behind frame would otherwise be early by that hole from there on.

use crate::mp4::codec_string::object_type;
use crate::mp4::entry::Coding;
use crate::mp4::g711::Law;
use crate::mp4::track::Track;
use bytes::Bytes;

/// How long a packet of G.711 is made, in samples of a channel: as cameras send it, 20 ms.
const G711_SAMPLES: usize = 160;

impl Track {
    /// A frame of silence, as it would have been stored; `None` for pictures, and in AAC for more channels than two, and for object
    /// types whose frames are others.
    pub(crate) fn silence(&self) -> Option<Bytes> {
        match self.coding {
            Coding::Aac => aac(object_type(&self.configuration.private)?, self.configuration.channels),
            Coding::G711(format) => {
                let code = match format.law {
                    Law::A => 0xd5,
                    Law::Mu => 0xff,
                };
                Some(vec![code; G711_SAMPLES * usize::from(format.channels)].into())
            }
            Coding::Avc | Coding::Hevc => None,
        }
    }
}

/// Object types whose frames are a `raw_data_block` (ISO/IEC 14496-3, 1.5.1.1): Main, LC, SSR, LTP, and LC with SBR and PS.
const RAW_DATA_BLOCKS: [u8; 6] = [1, 2, 3, 4, 5, 29];

/// A `raw_data_block` without a spectrum (ISO/IEC 14496-3, 4.4.2): one channel element of long windows with no scale factor band,
/// whatever the sampling rate.
fn aac(object_type: u8, channels: u8) -> Option<Bytes> {
    if !RAW_DATA_BLOCKS.contains(&object_type) {
        return None;
    }
    let mut bits = Bits::default();
    // ics_info: reserved, window_sequence ONLY_LONG, window_shape sine, max_sfb 0, no prediction.
    let ics_info = |bits: &mut Bits| bits.put(0, 1 + 2 + 1 + 6 + 1);
    // global_gain; no sections and no scale factors of no bands; no pulses, no noise shaping, no gain control; no spectrum.
    let channel = |bits: &mut Bits| bits.put(0, 8);
    let tools = |bits: &mut Bits| bits.put(0, 1 + 1 + 1);
    match channels {
        1 => {
            // id_syn_ele SCE, element_instance_tag 0.
            bits.put(0, 3 + 4);
            channel(&mut bits);
            ics_info(&mut bits);
            tools(&mut bits);
        }
        2 => {
            // id_syn_ele CPE, element_instance_tag 0, common_window.
            bits.put(1, 3);
            bits.put(0, 4);
            bits.put(1, 1);
            ics_info(&mut bits);
            // ms_mask_present: none.
            bits.put(0, 2);
            for _ in 0..2 {
                channel(&mut bits);
                tools(&mut bits);
            }
        }
        _ => return None,
    }
    // id_syn_ele END.
    bits.put(7, 3);
    Some(bits.bytes.into())
}

/// Bits, the highest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Frames of AAC LC at 48 kHz with the headers that make them a stream (ISO/IEC 14496-3, 1.A.2, ADTS).
    fn adts(frame: &[u8], channels: u8, count: usize) -> Vec<u8> {
        let length = frame.len() + 7;
        let header = [
            0xff,
            0xf1,
            0x40 | 3 << 2,
            channels << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ];
        [&header[..], frame].concat().repeat(count)
    }

    #[test]
    fn a_decoder_hears_nothing() {
        for channels in [1, 2] {
            let frame = aac(2, channels).unwrap();
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-v", "error", "-f", "aac", "-i", "-", "-f", "s16le", "-"]);
            let piped = ffmpeg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut running = piped.spawn().unwrap();
            running.stdin.take().unwrap().write_all(&adts(&frame, channels, 10)).unwrap();
            let output = running.wait_with_output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            assert_eq!(output.stdout.len(), 10 * 1024 * 2 * usize::from(channels), "{frame:?}");
            assert!(output.stdout.iter().all(|byte| *byte == 0));
        }
        assert_eq!((aac(2, 6), aac(39, 2)), (None, None), "more channels, and AAC ELD");
    }
}
