//! Begins an RTSP session: DESCRIBE, SETUP of every track that can be recorded, PLAY. Over TCP only.
//!
//! Each step has 5 s. A track without a depacketizer, or whose SETUP fails, costs a warning and never the camera.

use super::error::{SessionError, Stage};
use super::media::TrackInput;
use crate::camera::Credentials;
use crate::codec::sdp;
use crate::depacketize::Track;
use crate::moderation::Moderation;
use crate::reconnect::Failure;
use keha_fs::{GapReason, TrackNumber};
use retina::client::{
    Described, InitialSequenceNumberPolicy, InitialTimestampPolicy, PlayOptions, Playing, Session,
    SessionGroup, SessionOptions, SetupOptions, Stream, UnknownRtcpSsrcPolicy,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// Each request is answered within this time, or the camera counts as silent.
const STEP: Duration = Duration::from_secs(5);
/// To tell a silent camera from an unreachable one.
const RECHECK: Duration = Duration::from_secs(1);
/// As many tracks as a stream of the volume can have.
const TRACKS_MAX: usize = 32;
const USER_AGENT: &str = concat!("Keha/", env!("CARGO_PKG_VERSION"));

/// A session that plays.
pub(crate) struct Opened {
    pub(crate) session: Session<Playing>,
    pub(crate) tracks: Vec<TrackInput>,
    /// Tracks that are not recorded, and why.
    pub(crate) skipped: Vec<String>,
}

/// Asks for the description of the session at `url`, which holds no credentials. `turn` is waited for before a second
/// connection is made.
pub(crate) async fn describe(
    url: &Url,
    credentials: Option<&Credentials>,
    group: &Arc<SessionGroup>,
    turn: impl Future<Output = ()>,
) -> Result<Session<Described>, SessionError> {
    let options = SessionOptions::default()
        .creds(credentials.map(|credentials| retina::client::Credentials {
            username: credentials.username.clone(),
            password: credentials.password.reveal().to_owned(),
        }))
        .user_agent(USER_AGENT.to_owned())
        .session_group(Arc::clone(group));
    match timeout(STEP, Session::describe(url.clone(), options)).await {
        Ok(described) => described.map_err(|error| SessionError::from_retina(&error, Stage::Describing)),
        Err(_) => {
            turn.await;
            Err(no_answer(url).await)
        }
    }
}

/// Opens a session at `url`, which holds no credentials. `turn` as in [`describe`].
pub(crate) async fn open(
    url: &Url,
    credentials: Option<&Credentials>,
    group: &Arc<SessionGroup>,
    turn: impl Future<Output = ()>,
    moderation: &Moderation,
) -> Result<Opened, SessionError> {
    let mut session = describe(url, credentials, group, turn).await?;
    // It is there: the rest is a matter of milliseconds.
    moderation.attend();
    let (mut tracks, mut skipped) = recordable(&session);
    let mut set_up = Vec::with_capacity(tracks.len());
    let mut reason = GapReason::Protocol;
    for track in tracks.drain(..) {
        match timeout(STEP, session.setup(track.stream_index(), SetupOptions::default())).await {
            Ok(Ok(())) => set_up.push(track),
            // The connection still stands: only this track is refused.
            Ok(Err(error)) if error.status_code().is_some_and(|status| status != 401) => {
                let error = SessionError::from_retina(&error, Stage::Opening);
                reason = error.reason;
                skipped.push(format!("{}: {}", track.description(), error.detail));
            }
            Ok(Err(error)) => return Err(SessionError::from_retina(&error, Stage::Opening)),
            Err(_) => return Err(SessionError::new(GapReason::Silent, "no answer to SETUP within 5 s")),
        }
    }
    if set_up.is_empty() {
        let why = if skipped.is_empty() { "it offers none".to_owned() } else { skipped.join("; ") };
        return Err(SessionError::new(reason, format!("no track can be recorded: {why}")));
    }
    let options = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Permissive)
        // A sequence number that a server announces and then does not send would look like loss.
        .initial_seq(InitialSequenceNumberPolicy::Ignore)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::DropPackets);
    match timeout(STEP, session.play(options)).await {
        Ok(Ok(session)) => Ok(Opened { session, tracks: set_up, skipped }),
        Ok(Err(error)) => Err(SessionError::from_retina(&error, Stage::Opening)),
        Err(_) => Err(SessionError::new(GapReason::Silent, "no answer to PLAY within 5 s")),
    }
}

/// The tracks that can be recorded, and why the others cannot.
fn recordable(session: &Session<Described>) -> (Vec<TrackInput>, Vec<String>) {
    let sections = sdp::parse(session.sdp());
    let of_stream = sdp::match_streams(
        &sections,
        session.streams().iter().map(|stream| (stream.media(), stream.rtp_payload_type())),
    );
    let (mut tracks, mut skipped) = (Vec::new(), Vec::new());
    for (index, (stream, section)) in session.streams().iter().zip(of_stream).enumerate() {
        let description = format!("{} {}", stream.media(), stream.encoding_name());
        let number = u8::try_from(tracks.len() + 1).map(TrackNumber);
        match track_of(stream, section.and_then(|section| sections.get(section))) {
            Ok(track) if tracks.len() < TRACKS_MAX && number.is_ok() => {
                tracks.push(TrackInput::new(number.unwrap_or_default(), index, description, track));
            }
            Ok(_) => skipped.push(format!("{description}: the camera offers too many tracks")),
            Err(why) => skipped.push(format!("{description}: {why}")),
        }
    }
    (tracks, skipped)
}

fn track_of(stream: &Stream, section: Option<&sdp::MediaDescription>) -> Result<Track, String> {
    let section = section.ok_or("it is not found in the session description")?;
    if stream.control().is_none() && section.media != "video" {
        return Err("it has no address of its own".to_owned());
    }
    Track::new(section).map_err(|unsupported| unsupported.to_string())
}

/// DESCRIBE was not answered: is nobody there, or does somebody accept and say nothing?
async fn no_answer(url: &Url) -> SessionError {
    let accepts = match (url.host_str(), url.port().unwrap_or(super::RTSP_PORT)) {
        (Some(host), port) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            matches!(timeout(RECHECK, TcpStream::connect((host, port))).await, Ok(Ok(_)))
        }
        (None, _) => false,
    };
    if accepts {
        let detail = "the camera accepts connections but does not answer within 5 s";
        SessionError::new(GapReason::Silent, detail).with(Failure::Mute)
    } else {
        SessionError::new(GapReason::Unreachable, "the camera cannot be reached within 5 s")
            .with(Failure::Absent)
    }
}
