//! The list of planted bugs, `docs/planted-bugs.md`: how it is written, and that it is complete.

use super::{PLANTS, Plant};

/// Where it stands.
pub(super) const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/planted-bugs.md");
/// What begins the table.
pub(super) const TABLE_HEAD: &str = "| broken | found by | images |\n|---|---|---:|\n";

/// What stands above the table.
pub(super) fn document_head() -> String {
    format!(
        "# Planted bugs\n\nThe ring was broken in {} ways, one after the other, and what is named in each row found it: a scenario of \
         `fs/src/proof/`, judged by\nthe oracle. Counted are the images that were judged until then, in one run of all; the number \
         varies a little with what ran before\nin the same thread. What each bug does is said in `fs/src/planted.rs`; where one check \
         stands behind another both are broken.\n\nWritten by `KEHA_WRITE_DOCS=1 make planted`.\n\n",
        PLANTS.len()
    )
}

/// What is broken.
pub(super) fn name_of((bugs, _): &Plant) -> String {
    bugs.iter().map(|bug| format!("{bug:?}")).collect::<Vec<_>>().join(" + ")
}

/// The numbers of images vary; what is planted, and in which order, does not.
#[test]
fn the_document_lists_every_planted_bug() {
    if std::env::var_os("KEHA_WRITE_DOCS").is_some() {
        // It is being written beside this test.
        return;
    }
    let document = std::fs::read_to_string(TABLE).expect("docs/planted-bugs.md is there");
    assert!(document.starts_with(&document_head()), "its head is another: see there how it is written");
    let rows = document.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let listed: Vec<_> = rows.map(|row| row.split('|').nth(1).unwrap_or_default().trim()).collect();
    let planted: Vec<String> = PLANTS.iter().map(name_of).collect();
    assert_eq!(listed, planted);
}
