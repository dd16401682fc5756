//! What was changed over HTTP, and which changes were answered as done: cameras, users, tokens and holds.
//!
//! Changes come at random, one after the other. One that was asked for and never answered may have been made or not; all others
//! count. Must not live here: what ends the server in between.

use crate::http::Client;
use crate::process::now_ns;
use crate::serving::{moment_ns, moment_text};
use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// So many of a kind there are at most.
const EACH_MAX: usize = 3;
/// What everything of these tests is named.
const PREFIX: &str = "kept-";
const PASSWORD: &str = "correct horse battery";
/// What a camera that is added is like.
const URLS: [&str; 2] =
    ["testsrc://?size=320x240&fps=5&gop=5", "testsrc://?size=320x240&fps=10&gop=10&audio=1"];
/// How much of the past a hold is of.
const HELD_NS: i64 = 2_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Camera,
    User,
    Token,
    Hold,
}

const KINDS: [Kind; 4] = [Kind::Camera, Kind::User, Kind::Token, Kind::Hold];

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Kind::Camera => "/api/v1/cameras",
            Kind::User => "/api/v1/users",
            Kind::Token => "/api/v1/tokens",
            Kind::Hold => "/api/v1/holds",
        }
    }

    /// Where in a document its name stands: tokens and holds have identities besides.
    fn name(self) -> &'static str {
        match self {
            Kind::Camera | Kind::User => "name",
            Kind::Token | Kind::Hold => "label",
        }
    }

    /// What must stay the same of its document.
    fn kept(self, document: &Value) -> Value {
        match self {
            Kind::Camera => json!([document["streams"][0]["url"], document["volume"]]),
            Kind::User | Kind::Token => document["grant"].clone(),
            Kind::Hold => json!([
                document["camera"],
                moment_ns(&document["from"]).ok(),
                moment_ns(&document["to"]).ok()
            ]),
        }
    }
}

/// What is known of one thing: there with this content, or not there; both where its last change was not answered.
#[derive(Clone, Debug)]
struct Known {
    states: Vec<Option<Value>>,
}

/// All that was changed.
pub struct Ledger {
    chance: StdRng,
    known: BTreeMap<(Kind, String), Known>,
    /// The secrets of tokens, which are told once.
    secrets: BTreeMap<String, String>,
    /// The camera that holds are of.
    held: String,
    number: u64,
    answered: u64,
}

impl Ledger {
    /// Nothing yet. Holds will be of the camera `held`, which must have footage.
    pub fn new(held: &str, seed: u64) -> Ledger {
        Ledger {
            chance: StdRng::seed_from_u64(seed),
            known: BTreeMap::new(),
            secrets: BTreeMap::new(),
            held: held.to_owned(),
            number: 0,
            answered: 0,
        }
    }

    /// How many changes were answered as done.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Changes something.
    ///
    /// # Errors
    /// The server refused, or did not answer: then the change may have been made or not.
    pub fn change(&mut self, client: &Client) -> Result<()> {
        let kind = KINDS.into_iter().choose(&mut self.chance).context("no kinds")?;
        let there: Vec<String> = self.there(kind).map(|(name, _)| name.clone()).collect();
        let chosen = there.iter().choose(&mut self.chance).cloned();
        let is_full = there.len() >= EACH_MAX;
        match chosen {
            Some(name) if is_full || self.chance.random_bool(0.4) => {
                if kind == Kind::Camera && self.chance.random_bool(0.5) {
                    self.change_camera(client, &name)
                } else {
                    self.remove(client, kind, &name)
                }
            }
            _ => self.add(client, kind),
        }
    }

    /// Whether all is there that was answered as made, and nothing that was answered as removed. What was not answered is known then.
    ///
    /// # Errors
    /// Something is missing, other than it was, or there without having been made.
    pub fn check(&mut self, client: &Client) -> Result<()> {
        for kind in KINDS {
            let mut listed = BTreeMap::new();
            for document in client.json(kind.path())?.as_array().context("no list")? {
                let name = document[kind.name()].as_str().unwrap_or_default();
                if name.starts_with(PREFIX) && listed.insert(name.to_owned(), kind.kept(document)).is_some() {
                    bail!("{kind:?} {name} is there twice");
                }
            }
            for ((_, name), known) in self.known.iter_mut().filter(|((of, _), _)| *of == kind) {
                let found = listed.remove(name);
                if !known.states.contains(&found) {
                    bail!("{kind:?} {name} should be {:?}, it is {found:?}", known.states);
                }
                known.states = vec![found];
            }
            if !listed.is_empty() {
                bail!("{kind:?}: nobody made {listed:?}");
            }
        }
        for (name, _) in self.there(Kind::Token) {
            if let Some(secret) = self.secrets.get(name) {
                let program = Client::new(client.base(), Some(secret.clone()));
                program.json("/api/v1/cameras").with_context(|| format!("token {name}"))?;
            }
        }
        if let Some((name, _)) = self.there(Kind::User).next() {
            let login = json!({ "name": name, "password": PASSWORD });
            Client::new(client.base(), None).change("POST", "/api/v1/session", &login)?;
        }
        Ok(())
    }

    fn there(&self, kind: Kind) -> impl Iterator<Item = (&String, &Value)> {
        self.known.iter().filter(move |((of, _), _)| *of == kind).filter_map(|((_, name), known)| match known
            .states
            .as_slice()
        {
            [Some(content)] => Some((name, content)),
            _ => None,
        })
    }

    fn add(&mut self, client: &Client, kind: Kind) -> Result<()> {
        self.number += 1;
        let number = self.number;
        // Names of cameras come again: the volume has room for so many streams.
        let number = if kind == Kind::Camera { number % EACH_MAX as u64 } else { number };
        let name = format!("{PREFIX}{number}");
        if self.known.get(&(kind, name.clone())).is_some_and(|known| known.states != [None]) {
            return Ok(());
        }
        let role = ["viewer", "admin"][self.chance.random_range(0..2)];
        let grant = json!({ "role": role, "cameras": { "only": [self.held] } });
        let url = URLS[self.chance.random_range(0..URLS.len())];
        let now = i64::try_from(now_ns())?;
        let (from, to) = (moment_text(now - HELD_NS)?, moment_text(now)?);
        let (sent, kept) = match kind {
            Kind::Camera => (json!({ "name": name, "url": url }), json!([url, "main"])),
            Kind::User => (json!({ "name": name, "password": PASSWORD, "grant": grant }), grant),
            Kind::Token => (json!({ "label": name, "grant": grant }), grant),
            Kind::Hold => (
                json!({ "camera": self.held, "from": from, "to": to, "label": name }),
                json!([self.held, now - HELD_NS, now]),
            ),
        };
        let made = self.done(kind, &name, Some(kept), || client.change("POST", kind.path(), &sent))?;
        if let Some(secret) = made["token"].as_str() {
            self.secrets.insert(name, secret.to_owned());
        }
        Ok(())
    }

    fn change_camera(&mut self, client: &Client, name: &str) -> Result<()> {
        let url = URLS[self.chance.random_range(0..URLS.len())];
        let path = format!("{}/{name}", Kind::Camera.path());
        let sent = json!({ "url": url });
        let kept = Some(json!([url, "main"]));
        self.done(Kind::Camera, name, kept, || client.change("PUT", &path, &sent)).map(drop)
    }

    fn remove(&mut self, client: &Client, kind: Kind, name: &str) -> Result<()> {
        let listed = client.json(kind.path())?;
        let mut listed = listed.as_array().context("no list")?.iter();
        let found = listed.find(|document| document[kind.name()] == name);
        let found = found.with_context(|| format!("{kind:?} {name} is not listed"))?;
        let id = found["id"].as_str().unwrap_or(name);
        let path = format!("{}/{id}", kind.path());
        self.done(kind, name, None, || client.change("DELETE", &path, &Value::Null)).map(drop)
    }

    /// Makes a change, which is known to be made as soon as it is answered so.
    fn done(
        &mut self,
        kind: Kind,
        name: &str,
        kept: Option<Value>,
        change: impl FnOnce() -> Result<Value>,
    ) -> Result<Value> {
        let known = self.known.entry((kind, name.to_owned())).or_insert(Known { states: vec![None] });
        known.states.push(kept.clone());
        let answer = change()?;
        known.states = vec![kept];
        self.answered += 1;
        Ok(answer)
    }
}
