//! `keha man`: the manual pages, all in a row on standard output or one file each in a directory.

use crate::cli;
use crate::failure::Exit;
use crate::output::Output;
use anyhow::Context;
use std::path::PathBuf;

/// Arguments of `keha man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write one file for each command here, instead of all to standard output
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let pages = pages()?;
    let Some(dir) = &args.dir else {
        let text: String = pages.into_iter().map(|(_, page)| page).collect();
        output.print(&text)?;
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(dir)
        .with_context(|| format!("{}: cannot create the directory", dir.display()))?;
    for (name, page) in &pages {
        let path = dir.join(name);
        std::fs::write(&path, page).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    output.say(&format!(
        "{} pages written to {}; read one with: man {}",
        pages.len(),
        dir.display(),
        dir.join("keha.1").display()
    ));
    Ok(Exit::Done)
}

/// Every page with its file name, the program's own first.
fn pages() -> anyhow::Result<Vec<(String, String)>> {
    let mut grammar = cli::grammar().disable_help_subcommand(true);
    grammar.build();
    let mut pages = Vec::new();
    add(&grammar, "keha".to_owned(), &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, name: String, pages: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut page)?;
    pages.push((format!("{name}.1"), String::from_utf8_lossy(&page).into_owned()));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        add(sub, format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let names: Vec<String> = pages().expect("memory").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.first().map(String::as_str), Some("keha.1"));
        assert!(names.contains(&"keha-volume-create.1".to_owned()), "{names:?}");
    }
}
