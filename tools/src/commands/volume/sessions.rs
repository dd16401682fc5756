//! How sessions are shown: who had the volume open for writing.

use crate::output::document::Moment;
use crate::output::table::{Align, Table};
use crate::units::time;
use jiff::tz::TimeZone;
use keha_fs::clock::ClockSync;
use keha_fs::{Session, SessionEnd, SessionLog};
use serde::Serialize;

/// How many of the newest sessions people are shown.
const SHOWN: usize = 5;

/// The sessions of a volume.
#[derive(Debug, Default, Serialize)]
pub(super) struct SessionsDocument {
    /// How many the volume remembers.
    room: u32,
    /// Epochs in between of which nothing stands.
    missing_epochs: Vec<u32>,
    sessions: Vec<SessionDocument>,
}

#[derive(Debug, Serialize)]
struct SessionDocument {
    /// 0 is the volume's creation.
    epoch: u32,
    purpose: String,
    software: String,
    host: String,
    machine_id: String,
    user: String,
    began: Moment,
    began_clock: ClockDocument,
    /// Seconds that the volume had been open for writing before.
    began_running_s: u64,
    first_round: u64,
    /// `closed`, `crashed` or `open`: it goes on, or nothing was opened since it ended without closing.
    state: &'static str,
    /// When it closed; of a crashed one the time of its newest round.
    ended: Option<Moment>,
    ended_clock: Option<ClockDocument>,
    ended_running_s: Option<u64>,
    last_round: Option<u64>,
    clock_steps: u32,
    largest_clock_step_ns: i64,
    /// Whether the session before stands as it stood when this one began; null where that cannot be told.
    follows: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct ClockDocument {
    /// Whether a reference keeps the wall clock; null where the machine does not say.
    synchronised: Option<bool>,
    error_max_us: Option<u64>,
}

impl ClockDocument {
    fn new(clock: ClockSync) -> ClockDocument {
        match clock {
            ClockSync::Unknown => ClockDocument { synchronised: None, error_max_us: None },
            ClockSync::FreeRunning => ClockDocument { synchronised: Some(false), error_max_us: None },
            ClockSync::Synchronised { error_max } => ClockDocument {
                synchronised: Some(true),
                error_max_us: u64::try_from(error_max.as_micros()).ok(),
            },
        }
    }
}

impl SessionsDocument {
    pub(super) fn new(log: &SessionLog) -> SessionsDocument {
        SessionsDocument {
            room: log.room,
            missing_epochs: log.missing.iter().map(|epoch| epoch.0).collect(),
            sessions: log.sessions.iter().map(SessionDocument::new).collect(),
        }
    }
}

impl SessionDocument {
    fn new(session: &Session) -> SessionDocument {
        let (state, ended) = ending(&session.end);
        let closed = match session.end {
            SessionEnd::Closed { clock, running_s, last_round, .. } => Some((clock, running_s, last_round)),
            SessionEnd::Crashed { .. } | SessionEnd::Open => None,
        };
        SessionDocument {
            epoch: session.epoch.0,
            purpose: session.opener.purpose.clone(),
            software: session.opener.software.clone(),
            host: session.opener.host.clone(),
            machine_id: session.opener.machine.to_string(),
            user: session.opener.user.clone(),
            began: Moment(session.began),
            began_clock: ClockDocument::new(session.began_clock),
            began_running_s: session.began_running_s,
            first_round: session.first_round.0,
            state,
            ended,
            ended_clock: closed.map(|(clock, ..)| ClockDocument::new(clock)),
            ended_running_s: closed.map(|(_, running_s, _)| running_s),
            last_round: closed.map(|(.., last_round)| last_round.0),
            clock_steps: session.clock_steps,
            largest_clock_step_ns: session.largest_step_ns,
            follows: session.follows,
        }
    }
}

/// In a word how a session ended, and when.
fn ending(end: &SessionEnd) -> (&'static str, Option<Moment>) {
    match *end {
        SessionEnd::Closed { at, .. } => ("closed", Some(Moment(at))),
        SessionEnd::Crashed { last_round_at } => ("crashed", last_round_at.map(Moment)),
        SessionEnd::Open => ("open", None),
    }
}

/// The newest sessions, for people.
pub(super) fn text(log: &SessionLog, zone: &TimeZone) -> String {
    let Some(newest) = log.sessions.last() else { return String::new() };
    let mut table = Table::new(&[
        ("opened", Align::Left),
        ("until", Align::Left),
        ("for", Align::Left),
        ("by", Align::Left),
        ("clock", Align::Left),
    ]);
    for session in log.sessions.iter().rev().take(SHOWN) {
        let opener = &session.opener;
        let until = match ending(&session.end) {
            ("crashed", Some(at)) => format!("{} (not closed)", time::local(at.0, zone)),
            (_, Some(at)) => time::local(at.0, zone),
            (_, None) => "now, or not closed".to_owned(),
        };
        table.row(vec![
            time::local(session.began, zone),
            until,
            opener.purpose.clone(),
            format!("{} on {}, {}", opener.user, opener.host, opener.software),
            clock(session),
        ]);
    }
    let times = match newest.epoch.0 {
        0 => "never opened for writing".to_owned(),
        1 => "opened for writing once".to_owned(),
        times => format!("opened for writing {times} times"),
    };
    let mut text = format!("\n{times}; the newest (all of them: --json):\n{}", table.render());
    if !log.missing.is_empty() {
        text.push_str(&format!("{} of them left no trace\n", log.missing.len()));
    }
    let altered = log.sessions.iter().filter(|session| session.follows == Some(false));
    for session in altered {
        text.push_str(&format!(
            "the record of opening {} is not what it was when the next one began\n",
            session.epoch.0.saturating_sub(1)
        ));
    }
    text
}

fn clock(session: &Session) -> String {
    let kept = match session.began_clock {
        ClockSync::Unknown => "not known".to_owned(),
        ClockSync::FreeRunning => "free-running".to_owned(),
        ClockSync::Synchronised { error_max } => format!("within {:.0?}", error_max),
    };
    match session.clock_steps {
        0 => kept,
        1 => format!("{kept}, set once"),
        steps => format!("{kept}, set {steps} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn the_document_is_as_published() {
        insta::assert_json_snapshot!(SessionsDocument::new(&example::sessions()));
    }

    #[test]
    fn the_text_is_as_published() {
        insta::assert_snapshot!(text(&example::sessions(), &TimeZone::UTC));
    }
}
