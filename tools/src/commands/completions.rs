//! `keha completions SHELL`: the completions of a shell on standard output.

use crate::cli;
use crate::failure::Exit;
use crate::output::Output;

/// Arguments of `keha completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut cli::grammar(), "keha", &mut text);
    output.print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}
