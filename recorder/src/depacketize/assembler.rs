//! Where access units begin and end, and what loss does to them: the same for H.264 and H.265.
//!
//! Invariants:
//! - Only whole NAL units enter a unit; a fragmented one that lost a part is dropped, and its unit marked.
//! - A loss that cannot be placed marks what is in progress and what follows: never neither.
//! - After a unit grew beyond its limits everything up to the next timestamp or marker is passed over, with one error.
//!
//! Must not live here: payload formats (that is [`super::h264`] and [`super::h265`]).

use super::unit::{Full, Header, Unit};
use super::{DepacketizeError, ErrorKind, Limits, Output, RtpPacket, Sink};
use crate::codec::bits::strip_start_code;
use crate::codec::nal::{HEAD_LEN, VideoCodec, inspect};

/// A part of a NAL unit as a payload format gives it.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// A whole NAL unit.
    Whole(&'a [u8]),
    /// A fragment (FU) with the header of its NAL unit put together again.
    Fragment { header: Header, start: bool, end: bool, body: &'a [u8] },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No unit in progress.
    Empty,
    /// A unit in progress.
    Open,
    /// A unit with a marker behind its slices: done unless more of it comes.
    Held,
    /// A unit that grew too large: the rest of it is passed over.
    Abandoned,
}

/// Gathers access units.
#[derive(Debug)]
pub(super) struct Assembler {
    codec: VideoCodec,
    limits: Limits,
    state: State,
    unit: Unit,
    /// Time of the last packet, and so of the unit in progress: one with a picture ends before it changes.
    ticks: i64,
    sequence_number: u16,
    /// A loss that the next unit must be marked with.
    loss_pending: bool,
    /// Fragments are passed over until a NAL unit starts: their start was lost, and reported if it had to be.
    skip_fragments: bool,
    seen_packet: bool,
    seen_unit: bool,
    seen_marker: bool,
    /// Some unit went on after a marker: then a marker does not prove that nothing was lost behind it.
    marker_in_doubt: bool,
    temporal_id_max: u8,
}

impl Assembler {
    pub(super) fn new(codec: VideoCodec, limits: Limits) -> Self {
        Self {
            codec,
            limits,
            state: State::Empty,
            unit: Unit::new(codec, limits),
            ticks: 0,
            sequence_number: 0,
            loss_pending: false,
            skip_fragments: false,
            seen_packet: false,
            seen_unit: false,
            seen_marker: false,
            marker_in_doubt: false,
            temporal_id_max: 0,
        }
    }

    /// To be called first for each packet: places its loss, and ends the unit in progress if the time is another.
    pub(super) fn begin_packet(&mut self, packet: &RtpPacket, out: Sink<'_>) {
        self.sequence_number = packet.sequence_number;
        let same_time = packet.ticks == self.ticks;
        if packet.loss > 0 && self.seen_packet {
            self.place_loss(same_time);
        }
        self.seen_packet = true;
        if self.state != State::Empty && !same_time {
            self.end_by_time(out);
        }
        self.ticks = packet.ticks;
    }

    fn place_loss(&mut self, same_time: bool) {
        // What was in progress lost a part; that it did is said by the flag, so it is no error as well.
        self.unit.drop_fragments();
        self.skip_fragments = true;
        match self.state {
            State::Open if same_time => self.unit.loss = true,
            State::Open => {
                self.unit.loss = true;
                self.loss_pending = true;
            }
            State::Held => {
                self.unit.loss |= self.marker_in_doubt;
                self.loss_pending = true;
            }
            State::Empty | State::Abandoned => self.loss_pending = true,
        }
    }

    fn end_by_time(&mut self, out: Sink<'_>) {
        self.tear_fragments("another timestamp", out);
        match self.state {
            State::Abandoned => self.reset(),
            _ if self.unit.has_picture() => self.emit(out),
            // No picture yet: what there is belongs to the picture that follows, and gets its time.
            _ => self.unit.loss |= std::mem::take(&mut self.loss_pending),
        }
    }

    /// Takes a part of a NAL unit.
    pub(super) fn part(&mut self, part: Part<'_>, out: Sink<'_>) {
        match part {
            Part::Whole(nal) => self.whole(nal, out),
            Part::Fragment { header, start: true, end, body } => self.start(header, end, body, out),
            Part::Fragment { header, start: false, end, body } => self.go_on(header, end, body, out),
        }
    }

    fn whole(&mut self, nal: &[u8], out: Sink<'_>) {
        let nal = strip_start_code(nal);
        self.tear_fragments("another NAL unit", out);
        self.skip_fragments = false;
        if !self.is_valid_header(nal, out) {
            return;
        }
        let head = nal.get(..HEAD_LEN).unwrap_or(nal);
        let begins = inspect(self.codec, head).begins_access_unit;
        if self.enter(begins, out) {
            let added = self.unit.add(nal);
            self.check(added, out);
        }
    }

    fn start(&mut self, header: Header, end: bool, body: &[u8], out: Sink<'_>) {
        self.tear_fragments("the start of another", out);
        self.skip_fragments = false;
        if !self.is_valid_header(header.as_slice(), out) {
            self.skip_fragments = true;
            return;
        }
        let begins = inspect(self.codec, header.before(body).as_slice()).begins_access_unit;
        if self.enter(begins, out) {
            let opened = self.unit.open_fragments(header, body);
            self.check(opened, out);
            self.close_if(end, out);
        }
    }

    fn go_on(&mut self, header: Header, end: bool, body: &[u8], out: Sink<'_>) {
        match self.unit.open_header() {
            Some(open) if open.nal_type(self.codec) == header.nal_type(self.codec) => {
                let added = self.unit.add_fragment(body);
                self.check(added, out);
                self.close_if(end, out);
            }
            Some(_) => {
                self.tear_fragments("a fragment of another", out);
                self.skip_fragments = true;
            }
            None => {
                self.mark_loss();
                if !self.skip_fragments && self.state != State::Abandoned {
                    self.skip_fragments = true;
                    self.error(ErrorKind::FragmentWithoutStart, out);
                }
            }
        }
        if end {
            self.skip_fragments = false;
        }
    }

    fn close_if(&mut self, end: bool, out: Sink<'_>) {
        if end && self.state == State::Open {
            let closed = self.unit.close_fragments();
            self.check(closed, out);
        }
    }

    /// Makes ready for a NAL unit that begins now. Returns false if it is to be passed over.
    fn enter(&mut self, begins_access_unit: bool, out: Sink<'_>) -> bool {
        if self.state == State::Held {
            if begins_access_unit {
                self.emit(out);
            } else {
                self.state = State::Open;
                self.marker_in_doubt = true;
                self.unit.loss |= std::mem::take(&mut self.loss_pending);
            }
        }
        if self.state == State::Empty {
            self.state = State::Open;
            self.unit.sequence_number = self.sequence_number;
            self.unit.loss |= std::mem::take(&mut self.loss_pending);
        }
        self.state == State::Open
    }

    /// To be called last for each packet.
    pub(super) fn end_packet(&mut self, marker: bool) {
        if !marker {
            return;
        }
        self.seen_marker = true;
        match self.state {
            State::Open if self.unit.has_picture() && !self.unit.is_fragment_open() => {
                self.state = State::Held
            }
            State::Abandoned => self.reset(),
            _ => {}
        }
    }

    /// Reports a packet, or a part of one, that could not be used, and marks what lost it. A fragmented NAL unit in
    /// progress may have lost a fragment and is dropped.
    pub(super) fn reject(&mut self, kind: ErrorKind, out: Sink<'_>) {
        // Some cameras keep a connection alive with empty packets: nothing is missing then.
        if !matches!(kind, ErrorKind::Empty { .. }) {
            self.mark_loss();
            self.unit.drop_fragments();
            self.skip_fragments = true;
        }
        self.error(kind, out);
    }

    /// See [`super::Depacketizer::flush`].
    pub(super) fn flush(&mut self, out: Sink<'_>) {
        let whole = self.unit.has_picture() && !self.unit.is_fragment_open();
        let ended = self.state == State::Held || (self.state == State::Open && !self.seen_marker);
        if whole && ended {
            self.emit(out);
        }
    }

    /// See [`super::Depacketizer::finish`].
    pub(super) fn finish(&mut self, out: Sink<'_>) {
        self.tear_fragments("the end of the stream", out);
        // Cut off in the middle of a picture, as far as markers show it.
        self.unit.loss |= self.state == State::Open && self.seen_marker;
        if self.unit.has_picture() && self.state != State::Abandoned {
            self.emit(out);
        } else if self.unit.nal_units() > 0 && self.state != State::Abandoned {
            self.error(ErrorKind::NoPicture { nal_units: self.unit.nal_units() }, out);
        }
        *self = Self::new(self.codec, self.limits);
    }

    fn emit(&mut self, out: Sink<'_>) {
        // Joined in the middle of a picture: its first slices were sent before anyone listened.
        self.unit.loss |= !self.seen_unit && !self.unit.has_picture_start();
        self.seen_unit = true;
        self.state = State::Empty;
        out(Output::Sample(self.unit.take(self.ticks, &mut self.temporal_id_max)));
    }

    /// Leaves an abandoned unit behind.
    fn reset(&mut self) {
        self.unit.clear();
        self.state = State::Empty;
        self.loss_pending = true;
    }

    /// Drops a fragmented NAL unit that something else came in the middle of.
    fn tear_fragments(&mut self, by: &'static str, out: Sink<'_>) {
        if self.unit.drop_fragments() {
            self.unit.loss = true;
            self.error(ErrorKind::FragmentWithoutEnd { by }, out);
        }
    }

    /// Marks the unit in progress, or the next one.
    fn mark_loss(&mut self) {
        match self.state {
            State::Open => self.unit.loss = true,
            State::Held => {
                self.unit.loss = true;
                self.loss_pending = true;
            }
            State::Empty | State::Abandoned => self.loss_pending = true,
        }
    }

    /// `forbidden_zero_bit`, and the types that cannot be a NAL unit of a stream (RFC 6184 table 1, RFC 7798 4.4):
    /// what is neither reserved nor one of the payload forms.
    fn is_valid_header(&mut self, nal: &[u8], out: Sink<'_>) -> bool {
        let (Some(first), second) = (nal.first().copied(), nal.get(1).copied()) else {
            self.reject(ErrorKind::Empty { what: "NAL unit" }, out);
            return false;
        };
        let (valid, header) = match self.codec {
            VideoCodec::H264 => (first & 0x80 == 0 && matches!(first & 0x1f, 1..=23), u16::from(first)),
            VideoCodec::H265 => {
                let second = second.unwrap_or(0);
                let valid = first & 0x80 == 0 && first >> 1 < 48 && second & 7 != 0;
                (valid, u16::from_be_bytes([first, second]))
            }
        };
        if !valid {
            self.reject(ErrorKind::InvalidNalHeader { header }, out);
        }
        valid
    }

    fn check(&mut self, result: Result<(), Full>, out: Sink<'_>) {
        let kind = match result {
            Ok(()) => return,
            Err(Full::Bytes) => ErrorKind::SampleTooLarge { limit_bytes: self.limits.sample_bytes },
            Err(Full::NalUnits) => {
                ErrorKind::TooManyParts { what: "NAL units", limit: self.limits.nal_units }
            }
            Err(Full::Pieces) => ErrorKind::TooManyParts { what: "fragments", limit: self.limits.pieces },
        };
        self.error(kind, out);
        self.unit.clear();
        self.state = State::Abandoned;
        self.skip_fragments = true;
    }

    fn error(&self, kind: ErrorKind, out: Sink<'_>) {
        out(Output::Error(DepacketizeError { sequence_number: self.sequence_number, kind }));
    }
}
