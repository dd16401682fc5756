//! One camera's packets on their way to its client (RFC 2326, section 10.12; RFC 3550).

use super::handshake::{self, Message};
use super::tape::{Tape, ticks};
use anyhow::{Result, bail};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How soon a client that took nothing is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(2);
/// How often a camera says what its clock shows, and looks at what its client says.
const REPORT: Duration = Duration::from_secs(5);
/// From 1900 to 1970, seconds (RFC 3550, section 4).
const NTP_UNIX_S: u64 = 2_208_988_800;
const PAYLOAD_TYPE: u8 = 96;
/// `$`, channel, length (RFC 2326), then the header of RTP.
const HEADER_BYTES: usize = 4 + 12;

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A picture was sent whole.
    Picture {
        /// Its bytes as they are stored.
        payload_bytes: u64,
        /// After it was due.
        late: Duration,
    },
    /// The client takes no more for now.
    Blocked,
}

/// A camera that plays.
pub(super) struct Session {
    client: TcpStream,
    /// The beginning of the first lap.
    zero: Instant,
    /// The picture in progress, counted on over the laps; of it the next packet; of that what was written.
    picture: u64,
    packet: usize,
    written: usize,
    sequence: u16,
    source: u32,
    sent_packets: u32,
    sent_bytes: u32,
    report_due: Instant,
    heard: Vec<u8>,
}

impl Session {
    /// The camera of this number, for a client that asked it to play.
    pub(super) fn new(client: TcpStream, tape: &Tape, number: usize, now: Instant) -> Result<Self> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let syncs = tape.syncs();
        let first = if syncs.is_empty() { 0 } else { syncs[number % syncs.len()] };
        // The golden ratio spreads any number of cameras evenly over the second.
        let phase = Duration::from_secs_f64((number as f64 * 0.618_033_988_75).fract());
        let zero = now + phase - tape.picture(first).0.due.min(Duration::from_secs(3600));
        Ok(Self {
            client,
            zero,
            picture: first,
            packet: 0,
            written: 0,
            sequence: number as u16,
            source: 0x4b65_0000 | number as u32,
            sent_packets: 0,
            sent_bytes: 0,
            report_due: now + REPORT.mul_f64(phase.as_secs_f64()),
            heard: Vec::new(),
        })
    }

    /// When the picture in progress is to be sent.
    pub(super) fn due(&self, tape: &Tape) -> Instant {
        let (picture, lap) = tape.picture(self.picture);
        self.zero + lap + picture.due
    }

    /// Sends as much of the picture in progress as the client takes.
    pub(super) fn turn(&mut self, tape: &Tape, now: Instant) -> Result<Turn> {
        let (picture, lap) = tape.picture(self.picture);
        let time = ticks(lap).wrapping_add(picture.ticks);
        if self.packet == 0 && self.written == 0 && now >= self.report_due {
            self.report_due = now + REPORT;
            self.report(time)?;
            self.listen()?;
        }
        while let Some(place) = picture.packets.clone().nth(self.packet) {
            let (packet, payload) = tape.get(place);
            let header = self.header(packet.marker, time, payload.len());
            if !self.write(&header, payload)? {
                return Ok(Turn::Blocked);
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.packet += 1;
            self.sent_packets = self.sent_packets.wrapping_add(1);
            self.sent_bytes = self.sent_bytes.wrapping_add(payload.len() as u32);
        }
        let late = now.saturating_duration_since(self.due(tape));
        self.picture += 1;
        self.packet = 0;
        Ok(Turn::Picture { payload_bytes: picture.stored_bytes, late })
    }

    fn header(&self, marker: bool, time: u32, payload: usize) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let length = (12 + payload) as u16;
        header[..4].copy_from_slice(&[b'$', 0, (length >> 8) as u8, length as u8]);
        header[4..6].copy_from_slice(&[0x80, PAYLOAD_TYPE | if marker { 0x80 } else { 0 }]);
        header[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        header[8..12].copy_from_slice(&time.to_be_bytes());
        header[12..16].copy_from_slice(&self.source.to_be_bytes());
        header
    }

    /// Writes what is left of a packet. False if the client takes no more for now.
    fn write(&mut self, header: &[u8], payload: &[u8]) -> Result<bool> {
        while self.written < header.len() + payload.len() {
            let rest = [
                IoSlice::new(header.get(self.written..).unwrap_or_default()),
                IoSlice::new(&payload[self.written.saturating_sub(header.len())..]),
            ];
            match self.client.write_vectored(&rest) {
                Ok(0) => bail!("the client takes nothing"),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.written = 0;
        Ok(true)
    }

    /// A sender report (RFC 3550, section 6.4.1). Between packets; left out where the client takes nothing.
    fn report(&mut self, time: u32) -> Result<()> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
        let ntp = (wall.as_secs() + NTP_UNIX_S) << 32 | fraction;
        let mut report = vec![b'$', 1, 0, 28, 0x80, 200, 0, 6];
        report.extend(self.source.to_be_bytes());
        report.extend(ntp.to_be_bytes());
        for word in [time, self.sent_packets, self.sent_bytes] {
            report.extend(word.to_be_bytes());
        }
        self.all_or_nothing(&report)
    }

    /// Takes what the client said, and answers requests.
    fn listen(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.client.read(&mut buffer) {
                Ok(0) => bail!("the client hung up"),
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        while let Some(message) = handshake::take(&mut self.heard)? {
            if let Message::Request(request) = message {
                let answer = handshake::answer(&request, "");
                self.all_or_nothing(answer.as_bytes())?;
                if request.method == "TEARDOWN" {
                    bail!("the client took leave");
                }
            }
        }
        Ok(())
    }

    /// Writes something small, where there is room for it.
    fn all_or_nothing(&mut self, bytes: &[u8]) -> Result<()> {
        match self.client.write(bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(count) => bail!("{count} bytes of {} fit", bytes.len()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
