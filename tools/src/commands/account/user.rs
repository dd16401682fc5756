//! `keha user ...`: people who log in.

use super::password::PasswordArgument;
use super::{GrantArguments, StateArgument, names, words};
use crate::failure::Exit;
use crate::output::table::{Align, Table};
use crate::output::{Output, document};
use serde::Serialize;

/// The commands on users.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Add a user, who may log in from then on
    Add(AddArgs),
    /// Remove a user; whoever is logged in as him no longer is
    Remove(OneArgs),
    /// Show all users and what they may do
    List(ListArgs),
    /// Give a user another password; whoever is logged in as him no longer is
    Password(PasswordArgs),
}

/// Arguments of `keha user add`.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The user's name: a-z, 0-9, _ and -
    name: String,
    #[command(flatten)]
    grant: GrantArguments,
    #[command(flatten)]
    password: PasswordArgument,
    #[command(flatten)]
    state: StateArgument,
}

/// Arguments of `keha user remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct OneArgs {
    /// The user's name
    name: String,
    #[command(flatten)]
    state: StateArgument,
}

/// Arguments of `keha user password`.
#[derive(Debug, clap::Args)]
pub(crate) struct PasswordArgs {
    /// The user's name
    name: String,
    #[command(flatten)]
    password: PasswordArgument,
    #[command(flatten)]
    state: StateArgument,
}

/// Arguments of `keha user list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    state: StateArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    users: Vec<User>,
}

#[derive(Serialize)]
struct User {
    name: String,
    role: &'static str,
    /// `null` for all.
    cameras: Option<Vec<String>>,
}

pub(crate) fn run(command: &Command, output: Output) -> anyhow::Result<Exit> {
    match command {
        Command::Add(AddArgs { name, grant, password, state }) => {
            let mut accounts = state.accounts()?;
            accounts.add_user(name, &password.read(name)?, grant.grant())?;
            let (role, cameras) = words(&grant.grant());
            output.say(&format!("{name} may log in: {role}, {cameras}"));
        }
        Command::Remove(OneArgs { name, state }) => {
            state.accounts()?.remove_user(name)?;
            output.say(&format!("{name} is removed"));
        }
        Command::Password(PasswordArgs { name, password, state }) => {
            let mut accounts = state.accounts()?;
            accounts.set_password(name, &password.read(name)?)?;
            output.say(&format!("{name} has another password"));
        }
        Command::List(ListArgs { state, json }) => list(state, *json, output)?,
    }
    Ok(Exit::Done)
}

fn list(state: &StateArgument, json: bool, output: Output) -> anyhow::Result<()> {
    let accounts = state.accounts()?;
    let users = accounts.users().map(|(name, grant)| User {
        name: name.to_owned(),
        role: words(grant).0,
        cameras: names(grant),
    });
    let document = Document { schema: "keha.user-list/1", users: users.collect() };
    document::show(output, json, &document, || {
        let mut table = Table::new(&[("user", Align::Left), ("role", Align::Left), ("cameras", Align::Left)]);
        for (name, grant) in accounts.users() {
            let (role, cameras) = words(grant);
            table.row(vec![name.to_owned(), role.to_owned(), cameras]);
        }
        table.render()
    })?;
    Ok(())
}
