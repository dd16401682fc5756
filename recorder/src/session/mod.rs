//! An RTSP session with a camera, over TCP (RFC 2326, section 10.12): the edge where packets come in.
//!
//! retina does the talking (requests, Basic and Digest log-in, keepalives) and hands out raw RTP and RTCP packets; what is in
//! them is [`crate::depacketize`]'s, and what becomes of the samples [`crate::recording`]'s.
//!
//! | module | what |
//! |---|---|
//! | [`open`] | from a URL to a session that plays |
//! | [`play`] | packets of a session, until it ends |
//! | [`media`] | one track's packets to samples |
//! | [`silence`] | finds out a camera that sends nothing |
//! | [`probe`] | looks whether a camera is back |
//! | [`error`] | why a session ended, as a gap's reason |
//!
//! Must not live here: retries, storage, clocks.

pub(crate) mod error;
pub(crate) mod media;
pub(crate) mod open;
pub(crate) mod play;
pub(crate) mod probe;
pub(crate) mod silence;

/// The port of `rtsp://` (RFC 2326, section 3.2).
const RTSP_PORT: u16 = 554;
