//! `keha user ...` and `keha token ...`: who may ask a server over HTTP. They change the state directory, beside a server that
//! runs too: it sees the change with the next request.

pub(crate) mod password;
pub(crate) mod token;
pub(crate) mod user;

use crate::config::server;
use crate::failure::Failure;
use anyhow::Context;
use keha_api::auth::{Accounts, Cameras, Grant, Role};
use keha_fs::StreamName;
use std::path::PathBuf;

/// Where accounts are kept, everywhere the same.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StateArgument {
    /// The state directory of the server [default: state of its configuration file]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The configuration file of the server
    #[arg(long, value_name = "FILE", env = "KEHA_CONFIG", default_value = "keha.toml")]
    config: PathBuf,
}

impl StateArgument {
    /// All users and tokens.
    ///
    /// # Errors
    /// No directory is named, or the accounts cannot be read.
    fn accounts(&self) -> anyhow::Result<Accounts> {
        let state = match &self.state {
            Some(state) => Some(state.clone()),
            None => server::state_of(&self.config).context("no --state is given")?,
        };
        let why = || Failure::usage(format!("{}: names no state: give --state", self.config.display()));
        Ok(Accounts::open(&state.ok_or_else(why)?)?)
    }
}

/// What may be done, as given on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GrantArguments {
    /// What may be done
    #[arg(long, value_enum, default_value = "viewer")]
    role: RoleName,
    /// With which camera; as many as there are [default: all cameras]
    #[arg(long = "camera", value_name = "NAME", value_parser = parse_camera)]
    cameras: Vec<String>,
}

/// Roles, as on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RoleName {
    /// See and export footage
    Viewer,
    /// Change things too; of all cameras: users and cameras themselves
    Admin,
}

impl GrantArguments {
    fn grant(&self) -> Grant {
        let role = match self.role {
            RoleName::Viewer => Role::Viewer,
            RoleName::Admin => Role::Admin,
        };
        let cameras = match self.cameras.as_slice() {
            [] => Cameras::All,
            names => Cameras::Only(names.iter().cloned().collect()),
        };
        Grant { role, cameras }
    }
}

fn parse_camera(text: &str) -> Result<String, String> {
    match StreamName::new(text) {
        Ok(name) if name.camera() == text => Ok(text.to_owned()),
        _ => Err("give the name of a camera, such as front".into()),
    }
}

/// A grant in words: role, cameras.
fn words(grant: &Grant) -> (&'static str, String) {
    let role = match grant.role {
        Role::Viewer => "viewer",
        Role::Admin => "admin",
    };
    let cameras = match &grant.cameras {
        Cameras::All => "all cameras".to_owned(),
        Cameras::Only(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    };
    (role, cameras)
}

/// The names of the cameras of a grant; `None` for all.
fn names(grant: &Grant) -> Option<Vec<String>> {
    match &grant.cameras {
        Cameras::All => None,
        Cameras::Only(names) => Some(names.iter().cloned().collect()),
    }
}
