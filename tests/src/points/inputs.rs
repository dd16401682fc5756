//! Bad input: one clear line, the right exit status, nothing written, no secret shown.

use super::figure;
use crate::flaky::{Flaky, Mode};
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::power;
use crate::process::{Running, keha, keha_binary};
use crate::rig::{self, Rig, named, scratch, text};
use crate::server::{Auth, CameraServer, Options};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SECRET: &str = "hunter2-s3cret";

/// A recorded volume, and files that are none.
struct Exhibits {
    rig: Rig,
    missing: PathBuf,
    not_a_volume: PathBuf,
    random: PathBuf,
    cut_short: PathBuf,
}

impl Exhibits {
    fn new() -> Result<Self> {
        let rig = Rig::new(Ground::File, &named(1, &[ClipKind::Small]), "64MiB")?;
        ensure!(rig.record(&["--duration", "4s"])?.wait(LIMIT)?.success(), "record");
        let at = |name: &str| rig.dir.path().join(name);
        let (not_a_volume, random, cut_short) = (at("letter.ring"), at("random.ring"), at("short.ring"));
        std::fs::write(&not_a_volume, "Dear reader,\n".repeat(1000))?;
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(8 << 20)
        .collect();
        std::fs::write(&random, noise)?;
        let volume = std::fs::read(&rig.volume)?;
        std::fs::write(&cut_short, &volume[..volume.len() / 3])?;
        Ok(Self { missing: at("missing.ring"), not_a_volume, random, cut_short, rig })
    }
}

/// The whole table.
pub fn whole() -> Result<()> {
    let exhibits = Exhibits::new()?;
    let mut cases = offline(&exhibits)?;
    cases += volumes_nobody_can_make(&exhibits)?;
    cases += second_writer(&exhibits)?;
    cases += closed_pipe(&exhibits)?;
    cases += cameras()?;
    figure("inputs", &format!("{cases} bad inputs: one line each, right status, nothing written, no secret"));
    Ok(())
}

/// One bad command line: its status, one line on stderr, and nothing new or changed in the directory.
fn refused(dir: &Path, arguments: &[&str], status: i32, says: &str) -> Result<()> {
    let shown = format!("keha {}", arguments.join(" "));
    let before = listing(dir)?;
    let output = keha(arguments, LIMIT).with_context(|| shown.clone())?;
    one_line(&output, status, says).with_context(|| shown.clone())?;
    ensure!(listing(dir)? == before, "{shown}: something was written");
    Ok(())
}

fn one_line(output: &Output, status: i32, says: &str) -> Result<()> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    ensure!(output.status.code() == Some(status), "ended with {}, not {status}: {stderr}", output.status);
    ensure!(lines.len() == 1, "{} lines on stderr: {stderr}", lines.len());
    ensure!(lines[0].to_lowercase().contains(says), "does not say {says:?}: {stderr}");
    ensure!(!stderr.contains("panicked") && !stderr.contains(SECRET), "{stderr}");
    Ok(())
}

/// Names, sizes and contents of a directory's files.
fn listing(dir: &Path) -> Result<Vec<(PathBuf, blake3::Hash)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            let mut hasher = blake3::Hasher::new();
            std::io::copy(&mut std::fs::File::open(&path)?, &mut hasher)?;
            files.push((path, hasher.finalize()));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

fn offline(exhibits: &Exhibits) -> Result<usize> {
    let dir = exhibits.rig.dir.path();
    let volume = text(&exhibits.rig.volume)?;
    let (missing, letter) = (text(&exhibits.missing)?, text(&exhibits.not_a_volume)?);
    let (random, short) = (text(&exhibits.random)?, text(&exhibits.cut_short)?);
    let out = dir.join("out.mkv");
    let out = text(&out)?;
    let folder = text(dir)?;
    let export = |volume, stream| vec!["export", volume, "--stream", stream, "-o", out];
    let ranged =
        |from, to| vec!["export", volume, "--stream", "cam01", "--from", from, "--to", to, "-o", out];
    let record = |volume| vec!["record", volume, "--duration", "1s", "--camera", "a=testsrc://?size=320x180"];
    let cases: Vec<(Vec<&str>, i32, &str)> = vec![
        (export(missing, "cam01"), 1, "no such file"),
        (export(letter, "cam01"), 1, "not a keha volume"),
        (export(random, "cam01"), 1, "not a keha volume"),
        (export(folder, "cam01"), 1, "neither a file"),
        (record(missing), 1, "no such file"),
        (record(letter), 1, "not a keha volume"),
        (record(random), 1, "not a keha volume"),
        (record(short), 1, "short"),
        (vec!["volume", "check", letter], 1, "not a keha volume"),
        (vec!["volume", "info", missing], 1, "no such file"),
        (export(volume, "nobody"), 1, "nobody"),
        (ranged("2020-01-02T00:00:00Z", "2020-01-01T00:00:00Z"), 2, "before"),
        (ranged("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"), 4, "recorded"),
        (vec!["volume", "create", volume, "--size", "64MiB"], 1, "exists"),
        (vec!["volume", "create", missing, "--size", "64M"], 2, "mib"),
        (vec!["volume", "create", missing, "--size", "1MiB", "--streams", "500"], 1, "streams"),
        (vec!["record", volume, "--duration", "1s", "--camera", "a=http://127.0.0.1/x"], 2, "rtsp"),
        (vec!["record", volume, "--duration", "1s", "--camera", "UPPER=testsrc://"], 2, "name"),
        (vec!["record", volume, "--duration", "1s"], 2, "camera"),
        (vec!["export", volume, "--stream", "cam01"], 2, "-o"),
    ];
    let count = cases.len();
    for (arguments, status, says) in cases {
        refused(dir, &arguments, status, says)?;
    }
    Ok(count)
}

/// More streams than fit, no space, no permission.
fn volumes_nobody_can_make(exhibits: &Exhibits) -> Result<usize> {
    let dir = scratch()?;
    let tiny = dir.path().join("tiny.ring");
    rig::create_volume(&tiny, "8MiB", 1)?;
    let mut arguments = vec!["record".to_owned(), text(&tiny)?.to_owned(), "--duration".into(), "1s".into()];
    for i in 0..200 {
        arguments.extend(["--camera".to_owned(), format!("c{i}=testsrc://?size=320x180")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(dir.path(), &arguments, 1, "streams")?;
    let mut cases = 1;
    if power::possible().is_ok() {
        let disk = power::Mounted::make(dir.path(), 32)?;
        let large = disk.path().join("large.ring");
        refused(disk.path(), &["volume", "create", text(&large)?, "--size", "64MiB"], 1, "space")?;
        disk.unmount()?;
        cases += 1;
    }
    if nix::unistd::geteuid().is_root() {
        // As nobody, who may not read the rig's directory.
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(keha_binary()?)
            .args(["volume", "info", text(&exhibits.rig.volume)?])
            .stdin(Stdio::null())
            .output()?;
        one_line(&output, 1, "permission")?;
        cases += 1;
    }
    Ok(cases)
}

fn second_writer(exhibits: &Exhibits) -> Result<usize> {
    let rig = &exhibits.rig;
    let mut recorder = rig.record(&[])?;
    crate::record_json::await_durable(&mut recorder, &rig.cameras, LIMIT)?;
    let second = keha(
        &["record", text(&rig.volume)?, "--duration", "1s", "--camera", "cam01=testsrc://?size=320x180"],
        LIMIT,
    )?;
    one_line(&second, 1, "open")?;
    ensure!(recorder.terminate(LIMIT)?.success(), "the first recorder was disturbed");
    rig::assert_check_clean(&rig.volume)?;
    Ok(1)
}

fn closed_pipe(exhibits: &Exhibits) -> Result<usize> {
    let volume = text(&exhibits.rig.volume)?;
    let commands: [&[&str]; 3] = [
        &["volume", "blocks", volume],
        &["volume", "blocks", volume, "--json"],
        &["export", volume, "--stream", "cam01", "-o", "-"],
    ];
    for arguments in commands {
        let mut child = Command::new(keha_binary()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(!stderr.contains("panicked") && output.status.code().is_some(), "{arguments:?}: {stderr}");
    }
    Ok(commands.len())
}

/// Cameras that do not let themselves be recorded: the recorder stays, says why, and shows no password.
fn cameras() -> Result<usize> {
    let clip = ClipKind::Small.clip()?;
    let login = Some(("viewer".to_owned(), SECRET.to_owned(), Auth::Digest));
    let mut guarded = CameraServer::start(&Options { login, ..Options::default() })?;
    guarded.add("cam", &clip)?;
    let refusing = Flaky::start(Mode::Refuse, None)?;
    let wrong = guarded.url("cam").replace(SECRET, &format!("{SECRET}-wrong"));
    let cases = [
        ("unauthorised", wrong),
        ("not found", guarded.url("nowhere")),
        ("refused", refusing.url("cam")),
        ("unreachable", "rtsp://no-such-host.invalid/cam".to_owned()),
    ];
    for (reason, url) in &cases {
        let dir = scratch()?;
        let volume = dir.path().join("v.ring");
        rig::create_volume(&volume, "16MiB", 1)?;
        let mut recorder = rig::record(&volume, [("cam", url.as_str())].into_iter(), &[])?;
        said(&recorder, reason).with_context(|| format!("{reason}: {}", recorder.stderr().join("\n")))?;
        ensure!(recorder.terminate(LIMIT)?.success(), "{reason}: SIGTERM");
        let all = [recorder.stdout(), recorder.stderr()].concat().join("\n");
        ensure!(!all.contains(SECRET), "{reason}: a password is shown");
    }
    Ok(cases.len())
}

fn said(recorder: &Running, word: &str) -> Result<()> {
    crate::wait::until(&format!("the recorder to say {word:?}"), Duration::from_secs(30), || {
        Ok(recorder.stdout().iter().any(|line| line.contains(word)).then_some(()))
    })
}
