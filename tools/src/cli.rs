//! The command line: its grammar, and nothing of what the commands do.

use crate::commands;
use crate::failure;
use crate::logging::{self, LogFormat, LogGuard};
use crate::output::Output;
use crate::secret;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use std::sync::LazyLock;

/// Records cameras into a ring volume around the clock, and gives the footage back.
#[derive(Debug, Parser)]
#[command(name = "keha", version, long_version = long_version(), max_term_width = 110)]
#[command(
    after_help = "Exit status: 0 done, 1 could not be done, 2 wrong usage, 3 damage found or output incomplete, 4 nothing there in that range."
)]
#[command(disable_help_subcommand = true, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Log more to standard error: -v what happens, -vv details, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say only what was asked for, and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// How the log on standard error looks
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

impl Global {
    /// Begins logging as asked, until the guard is dropped, and says how commands show results.
    pub(crate) fn apply(&self) -> (Output, LogGuard) {
        let log = logging::start(self.verbose, self.quiet, self.log_format);
        (Output { quiet: self.quiet }, log)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record cameras into a volume until stopped
    Record(Box<commands::record::Args>),
    /// Export footage as Matroska files
    Export(commands::export::Args),
    /// Create volumes and look into them
    #[command(subcommand)]
    Volume(commands::volume::Command),
    /// Hold footage as evidence: it is not overwritten
    #[command(subcommand)]
    Hold(commands::hold::Command),
    /// Overwrite footage, for good
    Erase(commands::erase::Args),
    /// Show streams, and say how long their footage stays
    #[command(subcommand)]
    Stream(commands::stream::Command),
    /// Show what a running recorder is doing
    Status(crate::volume_argument::ReportArguments),
    /// Record and serve, as a configuration file says, until stopped
    Serve(Box<commands::serve::Args>),
    /// Say who may log in to a server
    #[command(subcommand)]
    User(commands::account::user::Command),
    /// Make and remove tokens, by which programs ask a server
    #[command(subcommand)]
    Token(commands::account::token::Command),
    /// Look at configuration files of a server
    #[command(subcommand)]
    Config(commands::config::Command),
    /// Record four built-in cameras and serve them: nothing to configure
    Demo(commands::demo::Args),
    /// Measure what storing and exporting cost on this machine
    #[command(subcommand)]
    Bench(commands::bench::Command),
    /// Write the completions of a shell to standard output
    Completions(commands::completions::Args),
    /// Write the manual pages
    Man(commands::man::Args),
}

/// The version of this program, and of the volumes it creates.
fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        format!("{} (volume format {})", env!("CARGO_PKG_VERSION"), keha_fs::FORMAT_VERSION)
    });
    TEXT.as_str()
}

/// The grammar, for completions and manual pages.
pub(crate) fn grammar() -> clap::Command {
    Cli::command()
}

/// A complaint of the parser as one line without secrets, with where to read more.
pub(crate) fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let (said, usage) = text.split_once("\n\nUsage: ").unwrap_or((&text, ""));
    let said = said.split("\n\nFor more information").next().unwrap_or_default();
    let command: Vec<&str> = usage
        .split_whitespace()
        .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let command = if command.is_empty() { "keha".to_owned() } else { command.join(" ") };
    let line = failure::one_line(&secret::mask(said));
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    format!("{line}; see {command} --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_well_formed() {
        grammar().debug_assert();
    }

    #[test]
    fn a_complaint_is_one_line_that_says_where_to_read_more() {
        for (arguments, says, see) in [
            (&["keha", "volum"][..], "unrecognized subcommand 'volum'", "see keha --help"),
            (&["keha", "volume", "create"], "<PATH>", "see keha volume create --help"),
            (&["keha", "volume", "create", "x", "--size", "1G"], "write 1GiB", "--help"),
            (&["keha", "-q", "-v", "man"], "cannot be used with", "--help"),
        ] {
            let error = Cli::try_parse_from(arguments).expect_err("wrong usage");
            let line = complaint(&error);
            assert!(line.contains(says) && line.contains(see) && !line.contains('\n'), "{line}");
        }
    }
}
