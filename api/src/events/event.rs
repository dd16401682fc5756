//! Events and their identifiers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Below the milliseconds: so many events in one of them still rise with the clock.
const COUNTER_BITS: u32 = 20;

/// Which event: rises strictly. In JSON a text, for it has more digits than numbers there carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

impl EventId {
    /// The identifier of what happens at a time, behind the last one.
    pub(super) fn next(last: EventId, now: Timestamp) -> EventId {
        EventId::at(now).max(EventId(last.0.saturating_add(1)))
    }

    /// What is of this time or later is behind this one.
    pub fn before(time: Timestamp) -> EventId {
        EventId(EventId::at(time).0.saturating_sub(1))
    }

    /// The first that an event of this time can have.
    pub fn at(time: Timestamp) -> EventId {
        let ms = u64::try_from(time.as_millisecond()).unwrap_or(0);
        EventId(ms.saturating_mul(1 << COUNTER_BITS))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for EventId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<EventId, Self::Err> {
        text.parse().map(EventId)
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A camera's stream is recorded.
    CameraUp,
    /// A camera's stream is not recorded any more.
    CameraDown,
    /// A camera is recorded on another volume from now on: its own failed, or it returned by order.
    CameraMoved,
    /// A gap began.
    GapBegan,
    /// A gap ended.
    GapEnded,
    /// A hold was added.
    HoldAdded,
    /// A hold was lifted.
    HoldLifted,
    /// A hold ended before its time.
    HoldLost,
    /// A volume's disk makes trouble, or does so no more.
    Disk,
    /// Somebody took footage out.
    ExportMade,
    /// Users or tokens were changed.
    AccessChanged,
}

/// Something to note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// What kind of thing.
    pub kind: EventKind,
    /// The camera that it concerns, if one.
    pub camera: Option<String>,
    /// Who did it, if somebody did.
    pub user: Option<String>,
    /// For people, without secrets.
    pub text: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which.
    pub id: EventId,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EventKind,
    /// The camera that it concerns, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<String>,
    /// Who did it, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For people, without secrets; one line.
    pub text: String,
}
