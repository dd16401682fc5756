//! Users and tokens, in the file `accounts.json` of the state directory.
//!
//! Kept are Argon2id hashes of passwords and BLAKE3 hashes of tokens (256 random bits, so a fast hash is enough); neither can be given
//! back. Whoever changes the file does so under its lock ([`StateFile::change`]); a server reads it anew when it changed.

use super::grant::Grant;
use super::password;
use crate::error::{Error, Result};
use crate::state::{Stamp, StateFile};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the file.
const SCHEMA: u32 = 1;
/// What tokens begin with, so that one that leaked is known for what it is.
const PREFIX: &str = "keha_";
/// The most characters of a token's label.
const LABEL_CHARACTERS_MAX: usize = 100;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, or `token:` and the token's identifier; as the audit log tells it.
    pub name: String,
    /// What he may do.
    pub grant: Grant,
    /// Of a user: changes with his password, which ends all that was sealed for him before.
    pub generation: u64,
}

/// A token that was just made. Its text is told once and never again.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// By which it is listed and removed.
    pub id: String,
    /// What a program sends.
    pub text: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    password: String,
    generation: u64,
    grant: Grant,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    label: String,
    hash: String,
    created: Timestamp,
    expires: Option<Timestamp>,
    grant: Grant,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    schema: u32,
    users: BTreeMap<String, User>,
    tokens: BTreeMap<String, Token>,
    /// How many passwords were set so far: the next generation.
    generations: u64,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { schema: SCHEMA, users: BTreeMap::new(), tokens: BTreeMap::new(), generations: 0 }
    }
}

/// All users and tokens.
pub struct Accounts {
    file: StateFile,
    stamp: Option<Stamp>,
    kept: Kept,
}

impl Accounts {
    /// Reads them; there are none where the file does not exist.
    ///
    /// # Errors
    /// Where the file cannot be read or is not what it should be: nobody is let in by a file that nobody understands.
    pub fn open(directory: &Path) -> Result<Accounts> {
        let file = StateFile::new(directory, "accounts.json");
        let stamp = file.stamp();
        let kept = parse(&file, file.read()?)?;
        Ok(Accounts { file, stamp, kept })
    }

    /// Reads them anew if another process changed them.
    ///
    /// # Errors
    /// As [`Accounts::open`]; those that were known stay known.
    pub fn refresh(&mut self) -> Result<()> {
        let stamp = self.file.stamp();
        if stamp != self.stamp {
            self.kept = parse(&self.file, self.file.read()?)?;
            self.stamp = stamp;
        }
        Ok(())
    }

    /// Whether there is nobody who could log in.
    pub fn is_empty(&self) -> bool {
        self.kept.users.is_empty() && self.kept.tokens.is_empty()
    }

    /// All users and what they may do.
    pub fn users(&self) -> impl Iterator<Item = (&str, &Grant)> {
        self.kept.users.iter().map(|(name, user)| (name.as_str(), &user.grant))
    }

    /// All tokens: identifier, label, what they allow, until when.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, &str, &Grant, Option<Timestamp>)> {
        let tokens = self.kept.tokens.iter();
        tokens.map(|(id, token)| (id.as_str(), token.label.as_str(), &token.grant, token.expires))
    }

    /// Adds a user. Names are those of cameras: `[a-z0-9][a-z0-9_-]{0,62}`.
    ///
    /// # Errors
    /// Where the name or the password cannot be accepted, there is one of that name, or the file cannot be written.
    pub fn add_user(&mut self, name: &str, password: &str, grant: Grant) -> Result<()> {
        if !is_name(name) {
            let why = "it must be 1 to 63 of a-z, 0-9, _ and -, and begin with a letter or digit".to_owned();
            return Err(Error::Refused { what: "name", why });
        }
        let password = password::hash(name, password)?;
        self.change(|kept| {
            if kept.users.contains_key(name) {
                return Err(Error::Exists { what: "user", name: name.to_owned() });
            }
            let generation = kept.next_generation();
            kept.users.insert(name.to_owned(), User { password, generation, grant });
            Ok(())
        })
    }

    /// Gives a user another password; whoever is logged in as him no longer is.
    ///
    /// # Errors
    /// Where the password cannot be accepted, there is no such user, or the file cannot be written.
    pub fn set_password(&mut self, name: &str, password: &str) -> Result<()> {
        let password = password::hash(name, password)?;
        self.change(|kept| {
            let generation = kept.next_generation();
            let user = kept.user(name)?;
            (user.password, user.generation) = (password, generation);
            Ok(())
        })
    }

    /// Changes what a user may do, from his next request on.
    ///
    /// # Errors
    /// Where there is no such user, or the file cannot be written.
    pub fn set_grant(&mut self, name: &str, grant: Grant) -> Result<()> {
        self.change(|kept| {
            kept.user(name)?.grant = grant;
            Ok(())
        })
    }

    /// Removes a user; whoever is logged in as him no longer is.
    ///
    /// # Errors
    /// Where there is no such user, or the file cannot be written.
    pub fn remove_user(&mut self, name: &str) -> Result<()> {
        self.change(|kept| kept.users.remove(name).map(drop).ok_or_else(|| unknown("user", name)))
    }

    /// Makes a token.
    ///
    /// # Errors
    /// Where the label is empty or too long, or the file cannot be written.
    pub fn add_token(
        &mut self,
        label: &str,
        grant: Grant,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<NewToken> {
        let characters = label.chars().count();
        if characters == 0 || characters > LABEL_CHARACTERS_MAX || label.chars().any(char::is_control) {
            let why = format!("it must be 1 to {LABEL_CHARACTERS_MAX} characters that can be seen");
            return Err(Error::Refused { what: "label", why });
        }
        let (id, secret) = (rand::random::<[u8; 8]>(), rand::random::<[u8; 32]>());
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = Token {
            label: label.to_owned(),
            hash: blake3::hash(&secret).to_hex().to_string(),
            created: now,
            expires,
            grant,
        };
        self.change(|kept| {
            kept.tokens.insert(id.clone(), token);
            Ok(())
        })?;
        let text = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        Ok(NewToken { id, text })
    }

    /// Removes a token: it opens nothing any more.
    ///
    /// # Errors
    /// Where there is none of that identifier, or the file cannot be written.
    pub fn remove_token(&mut self, id: &str) -> Result<()> {
        self.change(|kept| kept.tokens.remove(id).map(drop).ok_or_else(|| unknown("token", id)))
    }

    /// What a name and a password are to be verified with, without holding these accounts meanwhile: that takes tens of milliseconds.
    pub fn verifier(&self, name: &str) -> Verifier {
        let user = self.kept.users.get(name);
        let kept = user.map_or_else(|| password::nobody().to_owned(), |user| user.password.clone());
        Verifier { kept, identity: user.map(|user| user.identity(name)) }
    }

    /// Whose token this is, if it is one and has not ended.
    pub fn with_token(&self, text: &str, now: Timestamp) -> Option<Identity> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let token = self.kept.tokens.get(id)?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let kept = blake3::Hash::from_hex(&token.hash).ok()?;
        // This comparison takes the same time wherever the first difference is.
        let is_it = blake3::hash(&secret) == kept && token.expires.is_none_or(|expires| now < expires);
        is_it.then(|| Identity { name: format!("token:{id}"), grant: token.grant.clone(), generation: 0 })
    }

    /// Whose token of this identifier it is, if it is still there and has not ended: for who proved that it is his before.
    pub fn with_token_id(&self, id: &str, now: Timestamp) -> Option<Identity> {
        let token = self.kept.tokens.get(id)?;
        let goes_on = token.expires.is_none_or(|expires| now < expires);
        goes_on.then(|| Identity { name: format!("token:{id}"), grant: token.grant.clone(), generation: 0 })
    }

    /// Whom something was sealed for, if he is still the same.
    pub fn with_generation(&self, name: &str, generation: u64) -> Option<Identity> {
        let user = self.kept.users.get(name).filter(|user| user.generation == generation)?;
        Some(user.identity(name))
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Kept) -> Result<T>) -> Result<T> {
        let file = &self.file;
        let (kept, outcome) = file.change(|before| {
            let mut kept = parse(file, before)?;
            let outcome = change(&mut kept)?;
            let bytes = serde_json::to_vec_pretty(&kept).map_err(|error| not_usable(file, &error))?;
            Ok((bytes, (kept, outcome)))
        })?;
        // Another process may have changed the file since: what is there is read before it is asked next.
        (self.kept, self.stamp) = (kept, None);
        Ok(outcome)
    }
}

/// Verifies one password.
pub struct Verifier {
    kept: String,
    identity: Option<Identity>,
}

impl Verifier {
    /// Who it is, if the password is right. Takes as long where there is no such user.
    pub fn verify(self, password: &str) -> Option<Identity> {
        let right = password::verify(&self.kept, password);
        self.identity.filter(|_| right)
    }
}

impl Kept {
    fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    fn user(&mut self, name: &str) -> Result<&mut User> {
        self.users.get_mut(name).ok_or_else(|| unknown("user", name))
    }
}

impl User {
    fn identity(&self, name: &str) -> Identity {
        Identity { name: name.to_owned(), grant: self.grant.clone(), generation: self.generation }
    }
}

fn parse(file: &StateFile, bytes: Option<Vec<u8>>) -> Result<Kept> {
    let Some(bytes) = bytes else { return Ok(Kept::default()) };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| not_usable(file, &error))?;
    if kept.schema != SCHEMA {
        let why = format!("it is of version {}, and this program knows {SCHEMA}", kept.schema);
        return Err(Error::State { path: file.path().to_owned(), why });
    }
    Ok(kept)
}

/// What a parser says of such a file quotes nothing of it but names of fields and where.
fn not_usable(file: &StateFile, error: &serde_json::Error) -> Error {
    let why = format!("{:?} at line {}, column {}", error.classify(), error.line(), error.column());
    Error::State { path: file.path().to_owned(), why }
}

fn unknown(what: &'static str, name: &str) -> Error {
    Error::Unknown { what, name: name.to_owned() }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 63
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'_' || byte == b'-')
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
