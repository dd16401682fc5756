//! Everything that a recorder shows goes through one thread with a bounded queue, so that a pipe nobody empties, a terminal
//! that was stopped or a closed pipe never holds recording up.
//!
//! What does not fit is left out and counted. A closed pipe ends the output, not the recording.

use crate::output;
use crate::output::progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How many messages may wait for whoever reads them.
const QUEUE_LEN: usize = 1024;
/// How long the last messages may take when the recorder stops.
const FAREWELL: Duration = Duration::from_secs(2);

enum Message {
    /// A line for standard output.
    Line(String),
    /// The live lines on the terminal, all of them.
    Live(Vec<String>),
}

/// The way to the output thread.
pub(super) struct Reporter {
    sender: SyncSender<Message>,
    ended: Receiver<()>,
    skipped: u64,
}

impl Reporter {
    /// Starts the thread. It ends with this process, or when this is dropped and all is written.
    pub(super) fn start() -> std::io::Result<Reporter> {
        let (sender, receiver) = sync_channel(QUEUE_LEN);
        let (ending, ended) = sync_channel(1);
        thread::Builder::new().name("output".into()).spawn(move || {
            show(&receiver, &mut std::io::stdout());
            let _ = ending.send(());
        })?;
        Ok(Reporter { sender, ended, skipped: 0 })
    }

    /// A line for standard output, flushed as soon as it is written.
    pub(super) fn line(&mut self, line: String) {
        self.send(Message::Line(line));
    }

    /// The live lines from now on.
    pub(super) fn live(&mut self, lines: Vec<String>) {
        // A picture that is not shown is replaced by the next: nothing is lost.
        let _ = self.sender.try_send(Message::Live(lines));
    }

    /// How many lines were left out because nobody read them in time.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    fn send(&mut self, message: Message) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(message) {
            self.skipped += 1;
        }
    }

    /// Writes the last line and what still waits, for as long as is decent.
    pub(super) fn finish(self, last: Option<String>) {
        let begin = Instant::now();
        let mut last = last.map(Message::Line);
        while let Some(message) = last.take() {
            match self.sender.try_send(message) {
                Err(TrySendError::Full(message)) if begin.elapsed() < FAREWELL => {
                    last = Some(message);
                    thread::sleep(FAREWELL / 100);
                }
                _ => {}
            }
        }
        drop(self.sender);
        let left = FAREWELL.saturating_sub(begin.elapsed());
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(left) {
            output::say_always("keha: the last lines of output were not read");
        }
    }
}

fn show(messages: &Receiver<Message>, stdout: &mut dyn Write) {
    let mut open = true;
    let mut bars: Vec<ProgressBar> = Vec::new();
    for message in messages {
        match message {
            Message::Line(line) if open => {
                let written = progress::suspended(|| {
                    stdout.write_all((line + "\n").as_bytes()).and_then(|()| stdout.flush())
                });
                if let Err(error) = written {
                    open = false;
                    output::say_always(&format!(
                        "keha: standard output: {error}; recording goes on without it"
                    ));
                }
            }
            Message::Line(_) => {}
            Message::Live(lines) => redraw(&mut bars, &lines),
        }
    }
    bars.iter().for_each(ProgressBar::finish_and_clear);
}

fn redraw(bars: &mut Vec<ProgressBar>, lines: &[String]) {
    while bars.len() < lines.len() {
        let bar = progress::display().add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        bars.push(bar);
    }
    for (bar, line) in bars.iter().zip(lines) {
        bar.set_message(line.clone());
        bar.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    struct Closed(usize);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_ends_the_output_and_nothing_else() {
        let (sender, receiver) = sync_channel(4);
        for line in ["a", "b", "c"] {
            sender.send(Message::Line(line.into())).expect("room");
        }
        drop(sender);
        let mut closed = Closed(0);
        show(&receiver, &mut closed);
        assert_eq!(closed.0, 1);
    }

    #[test]
    fn lines_that_nobody_reads_are_left_out_and_counted() {
        let (sender, receiver) = sync_channel(2);
        let (_ending, ended) = sync_channel(1);
        let mut reporter = Reporter { sender, ended, skipped: 0 };
        for line in ["a", "b", "c", "d"] {
            reporter.line(line.into());
        }
        assert_eq!(reporter.skipped(), 2);
        drop(reporter);
        let mut written = Vec::new();
        show(&receiver, &mut written);
        assert_eq!(written, b"a\nb\n");
    }
}
