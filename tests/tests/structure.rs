//! The shape of the workspace: which crate may know which, and that documents name only what is there.

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may depend on whom within the workspace; `keha-tests` may depend on everything.
const ARROWS: [(&str, &[&str]); 5] = [
    ("keha-fs", &[]),
    ("keha-recorder", &["keha-fs"]),
    ("keha-player", &["keha-fs"]),
    ("keha-api", &["keha-player", "keha-fs"]),
    ("keha", &["keha-api", "keha-player", "keha-recorder", "keha-fs"]),
];

fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?.to_owned())
}

/// Every text file that is, or is about to be, in the repository.
fn files() -> Result<Vec<PathBuf>> {
    let root = root()?;
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .context("git ls-files")?;
    let text = String::from_utf8(list.stdout)?;
    let files: Vec<_> =
        text.split('\0').filter(|name| !name.is_empty()).map(|name| root.join(name)).collect();
    assert!(files.len() > 10, "not a checkout of the repository");
    Ok(files.into_iter().filter(|file| file.is_file()).collect())
}

#[test]
fn crates_depend_only_along_the_arrows() -> Result<()> {
    let metadata =
        MetadataCommand::new().current_dir(root()?).no_deps().other_options(["--offline".into()]).exec()?;
    let members: Vec<_> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    for package in metadata.workspace_packages() {
        if package.name.as_str() == "keha-tests" {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == package.name.as_str())
            .with_context(|| format!("crate {} has no place in the arrows", package.name))?;
        for dependency in &package.dependencies {
            let inner = members.contains(&dependency.name);
            // A crate's own tests stay inside its arrows too: what crosses them belongs to keha-tests.
            let kind = if dependency.kind == DependencyKind::Development { "tests of " } else { "" };
            assert!(
                !inner || allowed.contains(&dependency.name.as_str()),
                "{kind}{} may not depend on {}",
                package.name,
                dependency.name
            );
        }
    }
    Ok(())
}

#[test]
fn the_filesystem_knows_no_runtime_no_codec_and_no_camera() -> Result<()> {
    let metadata =
        MetadataCommand::new().current_dir(root()?).no_deps().other_options(["--offline".into()]).exec()?;
    let packages = metadata.workspace_packages();
    let fs = packages.iter().find(|package| package.name.as_str() == "keha-fs").context("keha-fs")?;
    for dependency in &fs.dependencies {
        let foreign =
            ["tokio", "retina", "openh264", "h264-reader", "webm-iterable"].contains(&&*dependency.name);
        assert!(!foreign, "keha-fs depends on {}", dependency.name);
    }
    Ok(())
}

#[test]
fn no_program_is_built_with_planted_bugs() -> Result<()> {
    const FEATURE: &str = "planted-bugs";
    let metadata =
        MetadataCommand::new().current_dir(root()?).no_deps().other_options(["--offline".into()]).exec()?;
    for package in metadata.workspace_packages() {
        let wanted = |features: &[String]| features.iter().any(|feature| feature.contains(FEATURE));
        let by_feature = package.features.iter().find(|(_, enables)| wanted(enables));
        assert!(by_feature.is_none(), "{} enables {FEATURE} by its feature {by_feature:?}", package.name);
        let by_dependency = package.dependencies.iter().find(|dependency| wanted(&dependency.features));
        assert!(by_dependency.is_none(), "{} enables {FEATURE} of a crate it depends on", package.name);
    }
    // Whoever asks for it by hand gets no library either.
    let text = std::fs::read_to_string(root()?.join("fs/src/planted.rs"))?;
    assert!(
        text.contains("#[cfg(all(feature = \"planted-bugs\", not(test)))]\ncompile_error!("),
        "no refusal"
    );
    Ok(())
}

/// Words in backquotes or links that look like a path of this repository.
fn paths_named_in(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned);
    let tree =
        text.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.ends_with('/'));
    quoted
        .chain(linked)
        .chain(tree.map(str::to_owned))
        .map(|path| path.split('#').next().unwrap_or_default().to_owned())
        .filter(|path| {
            let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
            let file = Path::new(path).extension().is_some_and(|extension| {
                ["rs", "md", "toml", "py", "service", "sh", "yml"].iter().any(|known| extension == *known)
            });
            let starts_plainly = path.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
            plain && starts_plainly && !path.starts_with("//") && (path.contains('/') || file)
        })
        .collect()
}

/// Places a document may name though no checkout holds them: what running and building make.
const MADE_LATER: [&str; 2] = ["keha-data", "target"];

#[test]
fn every_path_named_in_a_document_exists() -> Result<()> {
    let root = root()?;
    let tops: Vec<String> = std::fs::read_dir(&root)?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    let documents =
        files()?.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    for document in documents {
        let text = std::fs::read_to_string(&document)?;
        let folder = document.parent().context("a document in a folder")?;
        for path in paths_named_in(&text) {
            let top = path.split('/').next().unwrap_or_default();
            let own =
                tops.iter().any(|name| name == top) || folder.join(top).exists() || path.ends_with(".md");
            if !own || MADE_LATER.contains(&top) {
                continue;
            }
            let exists = root.join(&path).exists() || folder.join(&path).exists();
            assert!(exists, "{} names {path}, which does not exist", document.display());
        }
    }
    Ok(())
}

#[test]
fn path_finding_sees_what_documents_write() {
    let text = "See `fs/src/format/`, [time](docs/time.md#drift), `cargo test`, `rtsp://x/y`, `A/B testing`.\nfs/  the ring";
    assert_eq!(paths_named_in(text), ["fs/src/format/", "docs/time.md", "fs/"]);
}

#[test]
fn no_file_names_a_place_on_one_machine() -> Result<()> {
    // Put together here so that this file does not find itself.
    let needles = ["work", "home", "root"].map(|folder| format!("/{folder}/"));
    for file in files()? {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            for needle in &needles {
                let at = line.find(needle.as_str());
                // The same letters within a relative path name nothing of a machine.
                let absolute = at.is_some_and(|at| {
                    !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || ".-_~*)}".contains(c))
                });
                assert!(!absolute, "{}:{}: {line}", file.display(), number + 1);
            }
        }
    }
    Ok(())
}

#[test]
fn unsafe_code_lives_only_where_the_kernel_is_met() -> Result<()> {
    let root = root()?;
    let tools = ["tools/src/main.rs", "tools/src/bench/mod.rs"];
    for name in ["recorder/src/lib.rs", "player/src/lib.rs", "tests/src/lib.rs"].into_iter().chain(tools) {
        let text = std::fs::read_to_string(root.join(name))?;
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name} does not forbid unsafe code");
    }
    let keyword = ["uns", "afe"].concat();
    for file in
        files()?.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
    {
        let inside = file.strip_prefix(&root)?;
        let text = std::fs::read_to_string(&file)?;
        let used = [" {", " fn ", " impl "].iter().any(|after| text.contains(&format!("{keyword}{after}")));
        let kernel = ["fs/src/disk", "fs/src/clock/kernel.rs"].iter().any(|place| inside.starts_with(place));
        assert!(!used || kernel, "{} holds {keyword} code", inside.display());
    }
    Ok(())
}
