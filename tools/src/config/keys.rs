//! Which keys a configuration file may have, and on which line something stands.
//!
//! Promise: a key that does not exist is refused, wherever it stands, with its line and the one that is most like it; every
//! complaint is one line and quotes no value.

use crate::failure::one_line;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// The keys of a table, and the tables within it.
pub(super) struct Shape {
    /// All keys.
    pub(super) keys: &'static [&'static str],
    /// Those that hold a table or a list of them: the key, what one is called, its keys.
    pub(super) inside: &'static [(&'static str, &'static str, &'static Shape)],
}

/// Reads a file of this shape.
///
/// # Errors
/// What is wrong, and on which line.
pub(super) fn parse<T: DeserializeOwned>(text: &str, shape: &Shape) -> Result<T, String> {
    let complaint = |error: &toml::de::Error| {
        let place = error.span().map(|span| format!("line {}: ", line(text, span.start))).unwrap_or_default();
        format!("{place}{}", one_line(error.message()))
    };
    let table = DeTable::parse(text).map_err(|error| complaint(&error))?;
    check(text, table.get_ref(), shape, "")?;
    toml::from_str(text).map_err(|error| complaint(&error))
}

/// The line, counted from 1, on which the byte at `offset` stands.
pub(super) fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn check(text: &str, table: &DeTable<'_>, shape: &Shape, place: &str) -> Result<(), String> {
    for (key, value) in table {
        let name: &str = key.get_ref();
        if !shape.keys.contains(&name) {
            let line = line(text, key.span().start);
            return Err(format!("line {line}: {place}unknown key {name:?}{}", hint(name, shape.keys)));
        }
        let Some((_, called, inner)) = shape.inside.iter().find(|(inside, ..)| *inside == name) else {
            continue;
        };
        match value.get_ref() {
            DeValue::Table(table) => check(text, table, inner, &format!("{place}{called}: "))?,
            DeValue::Array(all) => {
                for one in all.iter() {
                    let DeValue::Table(table) = one.get_ref() else { continue };
                    let name = table.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or("?");
                    check(text, table, inner, &format!("{place}{called} {name}: "))?;
                }
            }
            // The reader of values says what should stand there.
            _ => {}
        }
    }
    Ok(())
}

/// The key that is most like one that does not exist.
fn hint(key: &str, keys: &[&str]) -> String {
    let likeness = |other: &str| strsim::jaro_winkler(key, other);
    let nearest = keys.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default()
}
