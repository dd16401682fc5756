//! Holds docs/format.md to the layout: its tables are made from the records themselves.
//!
//! After a change of the layout: `KEHA_WRITE_DOCS=1 cargo test -p keha-fs the_document` writes the tables anew.

use super::block::{BlockHeader, BlockTrailer};
use super::chunk::{AnchorRecord, ChunkHeader, Entry};
use super::directory::{DirectoryEntry, DirectoryHeader, RetentionRecord};
use super::footer::{ChunkPlace, FooterHeader, SyncPlace};
use super::hold::{HoldSlot, SpanRecord};
use super::round::{GrantedBlock, NamedBlock, RoundHeader, RoundRow};
use super::scrub::{DamageRecord, PassRecord, ScrubSlot};
use super::session::SessionSlot;
use super::superblock::Superblock;
use super::table::{Row, TableSector};
use super::{Framed, Record};
use std::fmt::Write;

const BEGIN: &str = "<!-- layout: begin -->\n";
const END: &str = "<!-- layout: end -->";

fn rows<T: Record>(out: &mut String, mut at: usize) {
    out.push_str("| at | bytes | field | meaning |\n|---:|---:|---|---|\n");
    for (name, bytes, meaning) in T::fields() {
        writeln!(out, "| {at} | {bytes} | `{name}` | {} |", meaning.trim()).expect("a string takes all");
        at += bytes;
    }
    out.push('\n');
}

fn framed<T: Framed>(out: &mut String, title: &str) {
    let magic = String::from_utf8_lossy(&T::MAGIC).into_owned();
    writeln!(out, "### {title}\n\nFramed: {} bytes, magic `{magic}`.\n", T::SIZE)
        .expect("a string takes all");
    rows::<T>(out, 8);
}

fn plain<T: Record>(out: &mut String, title: &str) {
    writeln!(out, "### {title}\n\n{} bytes.\n", T::BYTES).expect("a string takes all");
    rows::<T>(out, 0);
}

fn layout() -> String {
    let mut out = String::from("\n");
    framed::<Superblock>(&mut out, "Superblock");
    framed::<DirectoryHeader>(&mut out, "Directory header");
    framed::<DirectoryEntry>(&mut out, "Directory entry");
    plain::<RetentionRecord>(&mut out, "Retention");
    framed::<HoldSlot>(&mut out, "Hold slot");
    plain::<SpanRecord>(&mut out, "Held span");
    framed::<SessionSlot>(&mut out, "Session slot");
    framed::<ScrubSlot>(&mut out, "Scrub slot");
    plain::<PassRecord>(&mut out, "Scrub pass");
    plain::<DamageRecord>(&mut out, "Damaged block");
    framed::<RoundHeader>(&mut out, "Round header");
    plain::<NamedBlock>(&mut out, "Named block");
    plain::<GrantedBlock>(&mut out, "Granted block");
    plain::<RoundRow>(&mut out, "Round row");
    framed::<TableSector>(&mut out, "Table sector");
    plain::<Row>(&mut out, "Row");
    framed::<BlockHeader>(&mut out, "Block header");
    framed::<ChunkHeader>(&mut out, "Chunk header");
    plain::<AnchorRecord>(&mut out, "Anchor");
    plain::<Entry>(&mut out, "Entry");
    framed::<FooterHeader>(&mut out, "Footer header");
    plain::<ChunkPlace>(&mut out, "Chunk place");
    plain::<SyncPlace>(&mut out, "Sync place");
    framed::<BlockTrailer>(&mut out, "Block trailer");
    out
}

#[test]
fn the_document_describes_the_layout() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md");
    let document = std::fs::read_to_string(path).expect("docs/format.md is there");
    let begin = document.find(BEGIN).expect("it has a place for the layout") + BEGIN.len();
    let end = document.find(END).expect("that place has an end");
    let layout = layout();
    if std::env::var_os("KEHA_WRITE_DOCS").is_some() {
        let written = format!("{}{layout}{}", &document[..begin], &document[end..]);
        std::fs::write(path, written).expect("docs/format.md can be written");
        return;
    }
    assert!(
        document[begin..end] == layout,
        "docs/format.md and the layout differ: see the head of fs/src/format/document.rs"
    );
}
