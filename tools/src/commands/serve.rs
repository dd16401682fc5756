//! `keha serve`: the daemon.

use crate::config::server;
use crate::failure::Exit;
use crate::output::Output;
use crate::serve::{self, Job};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `keha serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration file; SIGHUP has it read again
    #[arg(long, value_name = "FILE", env = "KEHA_CONFIG", default_value = "keha.toml")]
    config: PathBuf,
    /// Where accounts and the cameras that are added over HTTP are kept [default: state of the file]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to listen [default: http of the file]
    #[arg(long, value_name = "ADDRESS", value_parser = server::address)]
    http: Option<SocketAddr>,
}

pub(crate) fn run(args: Args, output: Output) -> anyhow::Result<Exit> {
    let Args { config, state, http } = args;
    let job = Job {
        read: Box::new(move || server::from_file(&config)),
        state,
        http,
        other_ports: 0,
        reloads: true,
        view: None,
        duration: None,
    };
    serve::run(job, output)
}
