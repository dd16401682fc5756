//! The clips there are, and the cache they lie in.

use super::clip::Clip;
use super::encode::{Audio, Recipe, Video};
use anyhow::Result;
use std::path::PathBuf;
use std::sync::Mutex;

/// A clip by what is special about it. All loop, and start with a sync sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipKind {
    /// 1080p25 H.264, 4 Mbit/s, a GOP a second, 10 s.
    Main,
    /// The same for 65 s: as long as the full-size recording, so that not even a whole lap could be lost unseen.
    MainLong,
    /// The same with 25 Mbit/s, of a camera with many more pixels.
    High,
    /// 720p25 H.265 with open GOPs: its keyframes after the first are CRA pictures with leading pictures.
    H265Cra,
    /// H.264 whose slices refer to two PPS in turn, with AUD and SEI in every access unit and all sets in band.
    TwoPps,
    /// Plain H.264 of the same size and rate as the clip with two PPS.
    Plain720,
    /// H.264 with B-pictures: presentation order is not storage order.
    Reordered,
    /// 64 kbit/s H.264, 320x180.
    Small,
    /// H.264 360p with AAC-LC, 48 kHz stereo.
    WithAac,
    /// H.264 360p with G.711 mu-law, 8 kHz.
    WithG711,
    /// H.264 at another resolution, for a camera that is switched while it is recorded.
    Other,
    /// The same with AAC-LC, 48 kHz stereo.
    OtherWithAac,
    /// H.265 360p, each group of pictures closed, with AAC-LC, 48 kHz stereo.
    H265WithAac,
    /// The same at another resolution.
    H265OtherWithAac,
}

impl ClipKind {
    fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::MainLong => "main-long",
            Self::High => "high",
            Self::H265Cra => "h265-cra",
            Self::TwoPps => "two-pps",
            Self::Plain720 => "plain-720",
            Self::Reordered => "reordered",
            Self::Small => "small",
            Self::WithAac => "with-aac",
            Self::WithG711 => "with-g711",
            Self::Other => "other",
            Self::OtherWithAac => "other-with-aac",
            Self::H265WithAac => "h265-with-aac",
            Self::H265OtherWithAac => "h265-other-with-aac",
        }
    }

    fn recipe(self) -> Recipe {
        let seconds = if self == Self::MainLong { 65 } else { 10 };
        let plain = |size, kbits| Recipe { seconds, video: Video::h264(size, kbits), audio: None };
        let h265 = |size, kbits| Recipe {
            seconds,
            video: Video::h265_closed_gop(size, kbits),
            audio: Some(Audio::Aac),
        };
        match self {
            Self::Main | Self::MainLong => plain("1920x1080", 4000),
            Self::High => plain("1920x1080", 25_000),
            Self::H265Cra => Recipe { seconds, video: Video::h265_open_gop("1280x720", 2000), audio: None },
            Self::TwoPps => Recipe { seconds, video: Video::two_pps("1280x720", 2000), audio: None },
            Self::Reordered => Recipe { seconds, video: Video::reordered("1280x720", 2000), audio: None },
            Self::Plain720 => plain("1280x720", 2000),
            Self::Small => plain("320x180", 64),
            Self::WithAac => Recipe { audio: Some(Audio::Aac), ..plain("640x360", 800) },
            Self::WithG711 => Recipe { audio: Some(Audio::Pcmu), ..plain("640x360", 800) },
            Self::Other => plain("800x448", 1500),
            Self::OtherWithAac => Recipe { audio: Some(Audio::Aac), ..plain("800x448", 1500) },
            Self::H265WithAac => h265("640x360", 800),
            Self::H265OtherWithAac => h265("800x448", 1200),
        }
    }

    /// The clip, made on first use.
    pub fn clip(self) -> Result<Clip> {
        // One at a time within this process; another process that makes the same clip makes the same bytes.
        static MAKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let recipe = self.recipe();
        let path = cache_dir()?.join(format!("{}-{}.json", self.name(), recipe.fingerprint()));
        if path.exists() { Clip::load(&path) } else { recipe.make(&path) }
    }
}

/// Where clips are kept: below the build directory, found from the running executable.
fn cache_dir() -> Result<PathBuf> {
    let dir = crate::process::build_dir()?.join("keha-media");
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
