//! The harness for what crosses Keha's crates: cameras that serve known clips, the real `keha` binary under real
//! faults, foreign programs as judges, and the comparison of what was sent with what was kept.
//!
//! Everything is judged from outside: by the clip a camera served, by the camera's own log of what it sent and when,
//! and by programs that are not ours (`ffprobe`, `ffmpeg`, `mkvinfo`, `mkvmerge`). No code of the recorder or the
//! player is used here, so an error cannot cancel itself out.
//!
//! Must not live here: code of the product, and sleeps that stand for a condition. Waits are on conditions, bounded.
#![forbid(unsafe_code)]

pub mod barcode;
pub mod browser;
pub mod crowd;
pub mod fake_clock;
pub mod faulty;
pub mod flaky;
pub mod footage;
pub mod ground;
pub mod http;
pub mod judges;
pub mod ledger;
pub mod listed;
mod loop_device;
pub mod loss;
pub mod manifest;
pub mod media;
pub mod played;
pub mod points;
pub mod power;
pub mod probe;
pub mod process;
pub mod record_json;
pub mod rig;
pub mod rounds;
pub mod server;
pub mod serving;
pub mod tried;
pub mod true_clock;
pub mod two_volumes;
pub mod usage;
pub mod visitor;
pub mod wait;
pub mod written;
