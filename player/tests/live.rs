//! Live video as its viewers see it: real clips through the mux by hand, and through a real volume while it is written. What comes is
//! judged by ffmpeg, and picture by picture.

#[expect(dead_code, unreachable_pub, reason = "shared with the unit tests, which use other parts of it")]
mod support;

#[path = "live/hub.rs"]
mod hub;
#[path = "live/mux.rs"]
mod mux;
#[path = "live/rig.rs"]
mod rig;
