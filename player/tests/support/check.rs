//! What other programs say about an exported file. None of them may have anything to say.

use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, arguments: &[&str], path: &Path) -> Output {
    let arguments =
        arguments.iter().map(|argument| if *argument == "@" { path.as_os_str() } else { argument.as_ref() });
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// ffprobe, ffmpeg, mkvinfo and mkvmerge open, decode and remux the file without a word.
pub fn opens_without_a_warning(path: &Path) {
    for (program, arguments) in [
        ("ffprobe", &["-v", "warning", "-show_format", "-show_streams", "-show_packets", "@"][..]),
        ("ffmpeg", &["-nostdin", "-v", "error", "-i", "@", "-f", "null", "-"][..]),
        ("ffmpeg", &["-nostdin", "-v", "error", "-i", "@", "-c", "copy", "-map", "0", "-f", "null", "-"][..]),
    ] {
        let output = run(program, arguments, path);
        assert_eq!(
            (text(&output.stderr), output.status.code()),
            (String::new(), Some(0)),
            "{program} {arguments:?}"
        );
    }
    let output = run("mkvinfo", &["-a", "@"], path);
    let said = text(&output.stdout).to_lowercase() + &text(&output.stderr).to_lowercase();
    assert!(
        output.status.success() && !said.contains("warning") && !said.contains("error"),
        "mkvinfo: {said}"
    );
    let output = run("mkvmerge", &["-J", "@"], path);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("mkvmerge -J prints JSON");
    assert_eq!((&said["warnings"], &said["errors"]), (&serde_json::json!([]), &serde_json::json!([])));
    let remuxed = tempfile::NamedTempFile::new().expect("a temporary file");
    let output = run("mkvmerge", &["-o", &remuxed.path().to_string_lossy(), "@"], path);
    assert_eq!(output.status.code(), Some(0), "mkvmerge: {}", text(&output.stdout));
}

/// What ffprobe says of the file, as JSON.
pub fn probed(path: &Path, arguments: &[&str]) -> serde_json::Value {
    let all = [&["-v", "warning", "-of", "json"], arguments, &["@"]].concat();
    let output = run("ffprobe", &all, path);
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).expect("ffprobe prints JSON")
}
