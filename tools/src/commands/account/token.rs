//! `keha token ...`: what programs ask with. A token is shown once, when it is made; kept is its hash.

use super::{GrantArguments, StateArgument, names, words};
use crate::failure::{Exit, Failure};
use crate::output::table::{Align, Table};
use crate::output::{Output, document};
use crate::units::duration;
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// The commands on tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token and write it to standard output: it is shown once
    Add(AddArgs),
    /// Remove a token: it opens nothing any more
    Remove(RemoveArgs),
    /// Show all tokens, what they allow and until when
    List(ListArgs),
}

/// Arguments of `keha token add`.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// What it is for, for people
    label: String,
    #[command(flatten)]
    grant: GrantArguments,
    /// End it after this time, such as 365d
    #[arg(long, value_name = "D", value_parser = duration::parse_positive)]
    expires: Option<Duration>,
    #[command(flatten)]
    state: StateArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Arguments of `keha token remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// The identifier, as keha token list shows it
    id: String,
    #[command(flatten)]
    state: StateArgument,
}

/// Arguments of `keha token list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    state: StateArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Added<'a> {
    schema: &'static str,
    id: &'a str,
    token: &'a str,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    tokens: Vec<Token>,
}

#[derive(Serialize)]
struct Token {
    id: String,
    label: String,
    role: &'static str,
    /// `null` for all.
    cameras: Option<Vec<String>>,
    expires: Option<Timestamp>,
}

pub(crate) fn run(command: &Command, output: Output) -> anyhow::Result<Exit> {
    match command {
        Command::Add(args) => add(args, output)?,
        Command::Remove(RemoveArgs { id, state }) => {
            state.accounts()?.remove_token(id)?;
            output.say(&format!("token {id} is removed"));
        }
        Command::List(ListArgs { state, json }) => list(state, *json, output)?,
    }
    Ok(Exit::Done)
}

fn add(args: &AddArgs, output: Output) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let expires = args.expires.map(|expires| now.checked_add(expires)).transpose();
    let expires = expires.map_err(|_| Failure::usage("--expires: that is too far"))?;
    let token = args.state.accounts()?.add_token(&args.label, args.grant.grant(), expires, now)?;
    let added = Added { schema: "keha.token-add/1", id: &token.id, token: &token.text };
    document::show(output, args.json, &added, || format!("{}\n", token.text))?;
    let (role, cameras) = words(&args.grant.grant());
    output.say(&format!("token {}: {role}, {cameras}; it is not shown again", token.id));
    Ok(())
}

fn list(state: &StateArgument, json: bool, output: Output) -> anyhow::Result<()> {
    let accounts = state.accounts()?;
    let tokens = accounts.tokens().map(|(id, label, grant, expires)| Token {
        id: id.to_owned(),
        label: label.to_owned(),
        role: words(grant).0,
        cameras: names(grant),
        expires,
    });
    let document = Document { schema: "keha.token-list/1", tokens: tokens.collect() };
    document::show(output, json, &document, || {
        let columns = ["token", "role", "cameras", "until", "label"].map(|name| (name, Align::Left));
        let mut table = Table::new(&columns);
        for (id, label, grant, expires) in accounts.tokens() {
            let (role, cameras) = words(grant);
            let until = expires.map_or_else(|| "removed".to_owned(), |expires| expires.to_string());
            table.row(vec![id.to_owned(), role.to_owned(), cameras, until, label.to_owned()]);
        }
        table.render()
    })?;
    Ok(())
}
