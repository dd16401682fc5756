//! The built-in camera: `testsrc://?size=1280x720&fps=25&gop=25&audio=1&bitrate=2M`.
//!
//! It needs no network and no hardware, and every picture of it says when it was taken, so it serves the first steps of a
//! user and the tests of timing alike.
//!
//! | parameter | values | default |
//! |---|---|---|
//! | `size` | 320x120 to 3840x2160, both even | 1280x720 |
//! | `fps` | pictures per second, 1 to 60 | 25 |
//! | `gop` | pictures from one keyframe to the next, 1 to 600 | `fps` |
//! | `audio` | 0, or 1 for a G.711 tone that beeps at each full second | 0 |
//! | `bitrate` | pad video to so many bits per second (64k to 50M, `k` and `M` are understood), where it needs fewer | no padding: 1280x720 needs about 300k |
//!
//! The picture shows the camera's name, the picture's number and UTC for people, and number and time as a [`barcode`] for
//! programs. Video is H.264 (baseline, no B pictures); the media clocks are exact, and so is the wall time of each sample.
//!
//! | module | what |
//! |---|---|
//! | [`barcode`] | number and time as black and white cells; reads them back |
//! | `picture` | draws, only what changes |
//! | `encoder` | pictures to H.264 access units |
//! | `tone` | the sound |
//! | `camera` | paces all that on a thread of its own |
//!
//! Must not live here: anything a real camera needs.

pub mod barcode;
pub(crate) mod camera;
mod encoder;
mod picture;
mod tone;

use url::Url;

/// What `testsrc://` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestSource {
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) fps: u32,
    pub(crate) gop: u32,
    pub(crate) audio: bool,
    /// Video is padded to this rate.
    pub(crate) bitrate_bps: Option<u32>,
}

impl TestSource {
    /// Reads the parameters. The error names the parameter and what it may be.
    pub(crate) fn from_url(url: &Url) -> Result<TestSource, String> {
        let (mut width, mut height, mut fps, mut gop, mut audio, mut bitrate) =
            (1280, 720, 25, None, false, None);
        for (name, value) in url.query_pairs() {
            let wrong = |may_be: &str| format!("testsrc parameter {name}={value}: give {may_be}");
            match &*name {
                "size" => {
                    (width, height) =
                        size(&value).ok_or_else(|| wrong("WIDTHxHEIGHT, even, 320x120 to 3840x2160"))?
                }
                "fps" => fps = within(&value, 1, 60).ok_or_else(|| wrong("1 to 60"))?,
                "gop" => gop = Some(within(&value, 1, 600).ok_or_else(|| wrong("1 to 600"))?),
                "audio" => audio = within(&value, 0, 1).ok_or_else(|| wrong("0 or 1"))? == 1,
                "bitrate" => bitrate = Some(bits_per_second(&value).ok_or_else(|| wrong("64k to 50M"))?),
                _ => {
                    return Err(format!(
                        "testsrc has no parameter {name:?}; it has size, fps, gop, audio and bitrate"
                    ));
                }
            }
        }
        Ok(TestSource { width, height, fps, gop: gop.unwrap_or(fps), audio, bitrate_bps: bitrate })
    }
}

fn size(text: &str) -> Option<(u16, u16)> {
    let (width, height) = text.split_once('x')?;
    let (width, height) = (width.parse().ok()?, height.parse().ok()?);
    let fits =
        (320..=3840).contains(&width) && (120..=2160).contains(&height) && width % 2 == 0 && height % 2 == 0;
    fits.then_some((width, height))
}

fn within(text: &str, least: u32, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

fn bits_per_second(text: &str) -> Option<u32> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let bits = digits.parse::<u32>().ok()?.checked_mul(unit)?;
    (64_000..=50_000_000).contains(&bits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<TestSource, String> {
        TestSource::from_url(&Url::parse(text).unwrap())
    }

    #[test]
    fn everything_has_a_default() {
        let source = parsed("testsrc://").unwrap();
        assert_eq!(
            (source.width, source.height, source.fps, source.gop, source.audio),
            (1280, 720, 25, 25, false)
        );
    }

    #[test]
    fn parameters_are_read_and_their_bounds_held() {
        let source = parsed("testsrc://?size=640x360&fps=10&gop=20&audio=1&bitrate=500k").unwrap();
        let expected =
            TestSource { width: 640, height: 360, fps: 10, gop: 20, audio: true, bitrate_bps: Some(500_000) };
        assert_eq!(source, expected);
        for bad in
            ["size=641x360", "size=1", "fps=0", "fps=61", "gop=0", "audio=2", "bitrate=1", "colour=red"]
        {
            let error = parsed(&format!("testsrc://?{bad}")).unwrap_err();
            assert!(error.contains(bad.split('=').next().unwrap()), "{error}");
        }
    }
}
