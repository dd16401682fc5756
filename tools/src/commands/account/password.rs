//! Where a password comes from: asked for without echo, standard input, a file. Never an argument, which every process could
//! read.

use crate::config::cameras::password_from_file;
use crate::failure::{Exit, Failure};
use crate::output::say_always;
use crate::process::signals;
use crate::secret;
use anyhow::Context;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

/// The most bytes that are read of a line.
const LINE_BYTES_MAX: u64 = 4096;

/// Where it comes from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PasswordArgument {
    /// A file that holds the password, or - for standard input [default: asked for at a terminal, else standard input]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArgument {
    /// The password for `name`.
    ///
    /// # Errors
    /// It cannot be read, is empty, or was not typed twice alike.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<String> {
        let password = match self.password_file.as_deref() {
            Some(file) if file != Path::new("-") => password_from_file(file)?,
            None if stdin().is_terminal() => asked(name)?,
            _ => line().context("cannot read the password from standard input")?,
        };
        if password.is_empty() {
            return Err(Failure::usage("no password is given"));
        }
        secret::remember_password(name, &password);
        Ok(password)
    }
}

fn asked(name: &str) -> anyhow::Result<String> {
    let quiet = Quiet::begin().context("cannot keep the terminal from showing the password")?;
    say_always(&format!("password for {name}:"));
    let first = line().context("cannot read the password")?;
    say_always("once more:");
    let second = line().context("cannot read the password")?;
    drop(quiet);
    if first == second { Ok(first) } else { Err(Failure::usage("the two are not the same")) }
}

fn line() -> std::io::Result<String> {
    let mut line = String::new();
    stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal shows nothing of what is typed until this is dropped, or a signal ends the process.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> anyhow::Result<Quiet> {
        let before = tcgetattr(stdin())?;
        let mut without = before.clone();
        without.local_flags.remove(LocalFlags::ECHO);
        let restored = before.clone();
        signals::on_stop(move |_| {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, &restored);
            std::process::exit(Exit::Failed as i32);
        })?;
        tcsetattr(stdin(), SetArg::TCSAFLUSH, &without)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.0);
    }
}
