//! The text messages.

use keha_fs::WallTime;
use keha_player::live::{AudioFacts, Init, Message, VideoFacts};
use keha_player::units::time::rfc3339;
use serde::Serialize;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told<'a> {
    Init {
        number: u64,
        codecs: &'a str,
        video: Option<Video<'a>>,
        audio: Option<Audio<'a>>,
        wall: String,
        axis_ms: f64,
    },
    Waiting {
        since: String,
    },
    Skipped {
        samples: u64,
    },
    Gap {
        from: String,
        to: Option<String>,
        reason: &'static str,
    },
    Unplayable {
        reason: &'a str,
    },
}

#[derive(Serialize)]
struct Video<'a> {
    codec: &'a str,
    width: u16,
    height: u16,
    timescale: u32,
}

#[derive(Serialize)]
struct Audio<'a> {
    codec: &'a str,
    sample_rate: u32,
    channels: u8,
    timescale: u32,
}

impl Video<'_> {
    fn of(facts: &VideoFacts) -> Video<'_> {
        let VideoFacts { codec, width, height, timescale } = facts;
        Video { codec, width: *width, height: *height, timescale: *timescale }
    }
}

impl Audio<'_> {
    fn of(facts: &AudioFacts) -> Audio<'_> {
        let AudioFacts { codec, sample_rate, channels, timescale } = facts;
        Audio { codec, sample_rate: *sample_rate, channels: *channels, timescale: *timescale }
    }
}

/// What is said of a message in text; `None` for footage.
pub(super) fn text(message: &Message) -> Option<String> {
    let told = match message {
        Message::Init(init) => of_init(init),
        Message::Waiting { since } => Told::Waiting { since: rfc3339(*since) },
        Message::Skipped { samples } => Told::Skipped { samples: *samples },
        Message::Gap(gap) => {
            Told::Gap { from: rfc3339(gap.from), to: gap.to.map(rfc3339), reason: gap.reason.as_str() }
        }
        Message::Unplayable(reason) => Told::Unplayable { reason },
        _ => return None,
    };
    serde_json::to_string(&told).ok()
}

fn of_init(init: &Init) -> Told<'_> {
    let WallTime(wall) = init.wall;
    Told::Init {
        number: init.number,
        codecs: &init.codecs,
        video: init.video.as_ref().map(Video::of),
        audio: init.audio.as_ref().map(Audio::of),
        wall: rfc3339(init.wall),
        // To the microsecond: that is what numbers of JSON carry this far from 1970.
        axis_ms: (wall.saturating_add(init.axis_ahead_ns) / 1000) as f64 / 1000.0,
    }
}
