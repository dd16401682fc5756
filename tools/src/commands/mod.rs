//! The commands, one file each: arguments, what they do, how the result is shown.

pub(crate) mod account;
pub(crate) mod bench;
pub(crate) mod channel;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod erase;
pub(crate) mod export;
pub(crate) mod hold;
pub(crate) mod man;
pub(crate) mod record;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod volume;

use crate::cli::Command;
use crate::failure::Exit;
use crate::output::Output;

/// Runs a command.
///
/// # Errors
/// Whatever kept it from being done.
pub(crate) fn run(command: Command, output: Output) -> anyhow::Result<Exit> {
    match command {
        Command::Record(args) => record::run(*args, output),
        Command::Export(args) => export::run(&args, output),
        Command::Volume(command) => volume::run(command, output),
        Command::Hold(command) => hold::run(&command, output),
        Command::Erase(args) => erase::run(&args, output),
        Command::Stream(command) => stream::run(&command, output),
        Command::Status(args) => status::run(&args, output),
        Command::Serve(args) => serve::run(*args, output),
        Command::User(command) => account::user::run(&command, output),
        Command::Token(command) => account::token::run(&command, output),
        Command::Config(command) => config::run(&command, output),
        Command::Demo(args) => demo::run(&args, output),
        Command::Bench(command) => bench::run(&command, output),
        Command::Completions(args) => completions::run(&args, output),
        Command::Man(args) => man::run(&args, output),
    }
}
