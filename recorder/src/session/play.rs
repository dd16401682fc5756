//! Runs a session that plays: all packets that are there, then the timer, then sleep.
//!
//! Promise: one wake-up handles everything that has arrived; nothing is logged or allocated for a packet. When told to stop
//! it still takes what has arrived, so a clean stop loses nothing.

use super::error::{SessionError, Stage};
use super::media::TrackInput;
use super::open::Opened;
use super::silence::Watch;
use crate::clock::Moment;
use crate::now::Clock;
use crate::recording::Recording;
use crate::sink::Sink;
use futures_core::Stream as _;
use keha_fs::{GapReason, TrackNumber, WallTime};
use retina::NtpTimestamp;
use retina::client::PacketItem;
use retina::rtcp::ReceivedCompoundPacket;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Interval;

/// Packets handled before other tasks get a turn.
const BATCH: usize = 512;
/// RTCP goodbye (RFC 3550, section 6.6).
const RTCP_BYE: u8 = 203;

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The recorder was told to stop.
    Stopped,
    /// The volume takes nothing any more.
    VolumeStopped,
    /// The camera, or the way to it.
    Lost(SessionError),
}

/// Whether a session is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// It goes on.
    No,
    /// It ends once nothing more has arrived.
    WhenDrained,
    /// It ends whatever still comes.
    Now,
}

/// A session under way.
pub(crate) struct Play<'a, S> {
    pub(crate) opened: Opened,
    pub(crate) recording: &'a mut Recording<S>,
    pub(crate) clock: &'a Clock,
    /// When silence begins to count: see [`super::silence::counted_from`].
    pub(crate) counted_from: Moment,
    pub(crate) last_sample: Option<Moment>,
    pub(crate) samples: u64,
}

impl<S: Sink> Play<'_, S> {
    /// One wake-up; `on_tick` is called with each tick.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        tick: &mut Interval,
        stopping: Stopping,
        on_tick: &mut dyn FnMut(&mut Recording<S>, &[TrackInput]),
    ) -> Poll<End> {
        let drained = match self.poll_packets(cx) {
            ControlFlow::Break(end) => return Poll::Ready(end),
            ControlFlow::Continue(drained) => drained,
        };
        if self.recording.check().is_err() {
            return Poll::Ready(End::VolumeStopped);
        }
        if stopping == Stopping::Now || (stopping == Stopping::WhenDrained && drained) {
            return Poll::Ready(End::Stopped);
        }
        if tick.poll_tick(cx).is_ready() {
            // Registers the next tick; should it be due already, the runtime wakes this task at once.
            while tick.poll_tick(cx).is_ready() {}
            let now = self.clock.now();
            self.opened.tracks.iter_mut().for_each(|track| track.tick(now, self.recording));
            self.recording.tick(now);
            self.note_samples(now);
            on_tick(self.recording, &self.opened.tracks);
            if let Some(error) = self.watch().verdict(now) {
                return Poll::Ready(End::Lost(error));
            }
        }
        Poll::Pending
    }

    /// Ends the session: what is whole goes out.
    pub(crate) fn finish(&mut self) {
        let now = self.clock.now();
        self.opened.tracks.iter_mut().for_each(|track| track.finish(now, self.recording));
        self.note_samples(now);
    }

    /// Takes what has arrived. Says whether that was all, or the batch was full.
    fn poll_packets(&mut self, cx: &mut Context<'_>) -> ControlFlow<End, bool> {
        for _ in 0..BATCH {
            match Pin::new(&mut self.opened.session).poll_next(cx) {
                Poll::Ready(Some(Ok(PacketItem::Rtp(packet)))) => {
                    let at = self.clock.moment(packet.ctx().received(), packet.ctx().received_wall().into());
                    let stream = packet.stream_id();
                    if let Some(track) =
                        self.opened.tracks.iter_mut().find(|track| track.stream_index() == stream)
                    {
                        track.packet(packet, at, self.recording);
                    }
                }
                Poll::Ready(Some(Ok(PacketItem::Rtcp(packet)))) => {
                    if let Some(end) = self.control(&packet) {
                        return ControlFlow::Break(end);
                    }
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => {
                    return ControlFlow::Break(End::Lost(SessionError::from_retina(&error, Stage::Playing)));
                }
                Poll::Ready(None) => {
                    let error =
                        SessionError::new(GapReason::ConnectionLost, "the camera closed the connection");
                    return ControlFlow::Break(End::Lost(error));
                }
                Poll::Pending => return ControlFlow::Continue(true),
            }
        }
        cx.waker().wake_by_ref();
        ControlFlow::Continue(false)
    }

    fn control(&mut self, packet: &ReceivedCompoundPacket) -> Option<End> {
        let track = self.opened.tracks.iter().find(|track| track.stream_index() == packet.stream_id())?;
        let (number, is_video) = (track.number(), track.is_video());
        if let (Some(report), Some(rtp)) = (
            packet.pkts().next().and_then(|first| first.as_sender_report().ok().flatten()),
            packet.rtp_timestamp(),
        ) && let Some(camera) = wall_of(report.ntp_timestamp())
        {
            let at = self.clock.moment(packet.ctx().received(), packet.ctx().received_wall().into());
            self.recording.sender_report(number, rtp.timestamp(), camera, at);
        }
        let goodbye = packet.pkts().any(|part| part.payload_type() == RTCP_BYE);
        if goodbye && (is_video || self.opened.tracks.len() == 1) {
            let error = SessionError::new(GapReason::ConnectionLost, "the camera said goodbye");
            return Some(End::Lost(error));
        }
        None
    }

    fn note_samples(&mut self, now: Moment) {
        let samples = self.opened.tracks.iter().map(|track| track.counters().samples).sum();
        if samples != self.samples {
            self.samples = samples;
            self.last_sample = Some(now);
        }
    }

    fn watch(&self) -> Watch {
        let has_video = self.opened.tracks.iter().any(TrackInput::is_video);
        let counted = self.opened.tracks.iter().filter(|track| track.is_video() || !has_video);
        let last_packet = counted.filter_map(TrackInput::last_packet).max_by_key(|last| last.mono_ns);
        Watch { counted_from: self.counted_from, last_packet, last_sample: self.last_sample }
    }
}

/// The numbers of the tracks that were set up.
pub(crate) fn numbers(tracks: &[TrackInput]) -> Vec<TrackNumber> {
    tracks.iter().map(TrackInput::number).collect()
}

/// NTP time to UTC (RFC 3550, section 4); `None` for zero, by which a camera says that it has no clock.
fn wall_of(ntp: NtpTimestamp) -> Option<WallTime> {
    if ntp.0 == 0 {
        return None;
    }
    // From 1900 to 1970; wraps as the 32-bit seconds do, in 2036.
    let since_1970 = ntp.0.wrapping_sub(retina::UNIX_EPOCH.0);
    let seconds = i64::try_from(since_1970 >> 32).ok()?;
    let nanoseconds = i64::try_from(((since_1970 & 0xffff_ffff) * 1_000_000_000) >> 32).ok()?;
    Some(WallTime(seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_time_becomes_utc() {
        let half_past = (2_208_988_800_u64 + 1_700_000_000) << 32 | 0x8000_0000;
        assert_eq!(wall_of(NtpTimestamp(half_past)), Some(WallTime(1_700_000_000_500_000_000)));
        assert_eq!(wall_of(NtpTimestamp(0)), None);
    }
}
