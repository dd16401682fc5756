//! Why a session could not begin or has ended, as a reason for a gap and one line for people.

use crate::reconnect::Failure;
use keha_fs::GapReason;

/// The end of a session, or of an attempt to begin one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionError {
    pub(crate) reason: GapReason,
    /// What it says about the camera, for the next attempt.
    pub(crate) failure: Failure,
    /// One line, not yet masked.
    pub(crate) detail: String,
}

impl SessionError {
    /// One after which nothing is known that a probe could find changed.
    pub(crate) fn new(reason: GapReason, detail: impl Into<String>) -> SessionError {
        SessionError { reason, failure: Failure::Declined, detail: detail.into() }
    }

    /// The same with another failure.
    pub(crate) fn with(self, failure: Failure) -> SessionError {
        SessionError { failure, ..self }
    }

    /// From an error of retina's, which tells its kind only by status code and text.
    pub(crate) fn from_retina(error: &retina::Error, stage: Stage) -> SessionError {
        let text = error.to_string();
        // Behind the first line stands where in the packet capture to look: too much for a line, and for a gap.
        let line = text.lines().next().unwrap_or_default().trim();
        let reason = reason(error.status_code(), line, stage);
        let failure = match (stage, reason) {
            (Stage::Describing, _) if line.starts_with(NO_CONNECTION) => Failure::Absent,
            (Stage::Describing, GapReason::Unauthorised) => Failure::Declined,
            (Stage::Describing, _) => Failure::NotServed,
            (Stage::Opening | Stage::Playing, _) => Failure::Declined,
        };
        SessionError::new(reason, line).with(failure)
    }
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Up to the answer to DESCRIBE.
    Describing,
    /// From there to the answer to PLAY.
    Opening,
    /// After it.
    Playing,
}

/// How retina's text begins where no connection was made.
const NO_CONNECTION: &str = "Unable to connect";

fn reason(status: Option<u16>, line: &str, stage: Stage) -> GapReason {
    match status {
        Some(401 | 403) => GapReason::Unauthorised,
        Some(404 | 410) => GapReason::NotFound,
        Some(400..) => GapReason::Refused,
        // A good status with something in it that is not understood.
        Some(_) => GapReason::Protocol,
        None if line.starts_with(NO_CONNECTION) => {
            if line.contains("refused") {
                GapReason::Refused
            } else {
                GapReason::Unreachable
            }
        }
        None if line.starts_with("Error reading from RTSP peer")
            || line.starts_with("Error writing to RTSP peer") =>
        {
            match stage {
                Stage::Describing | Stage::Opening => GapReason::Refused,
                Stage::Playing => GapReason::ConnectionLost,
            }
        }
        None if line.starts_with("Timeout") => GapReason::Silent,
        None => GapReason::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_camera_said_becomes_a_reason() {
        for (status, line, stage, expected) in [
            (Some(401), "401 Unauthorized response to DESCRIBE", Stage::Opening, GapReason::Unauthorised),
            (Some(404), "404 Not Found response to DESCRIBE", Stage::Opening, GapReason::NotFound),
            (Some(503), "503 Service Unavailable response", Stage::Opening, GapReason::Refused),
            (Some(200), "200 OK response to DESCRIBE CSeq=1: bad SDP", Stage::Opening, GapReason::Protocol),
            (
                None,
                "Unable to connect to RTSP server: Connection refused (os error 111)",
                Stage::Opening,
                GapReason::Refused,
            ),
            (
                None,
                "Unable to connect to RTSP server: No route to host (os error 113)",
                Stage::Opening,
                GapReason::Unreachable,
            ),
            (
                None,
                "Unable to connect to RTSP server: failed to lookup address",
                Stage::Opening,
                GapReason::Unreachable,
            ),
            (None, "Error reading from RTSP peer: EOF", Stage::Opening, GapReason::Refused),
            (
                None,
                "Error reading from RTSP peer: Connection reset",
                Stage::Playing,
                GapReason::ConnectionLost,
            ),
            (None, "RTSP framing error: Invalid RTSP message", Stage::Playing, GapReason::Protocol),
        ] {
            assert_eq!(reason(status, line, stage), expected, "{line}");
        }
    }
}
