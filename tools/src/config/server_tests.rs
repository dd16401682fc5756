//! What `keha.toml` is understood as, and how it is refused.

use super::server::{self, FILE, SERVER, VOLUME, from_file};
use crate::config::cameras::{CAMERA_IN_VOLUME, STREAM};
use crate::failure::{self, Exit};
use crate::units::io::Io;
use keha_fs::disk::IoEngine;
use rcgen::generate_simple_self_signed;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PARTITION: &str = "01234567-89AB-cdef-0123-456789abcdef";
const VOLUME_A: &str = "[[volumes]]\nname = \"attic\"\npath = \"attic.ring\"\n";

fn write(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
    path
}

/// A certificate and its key.
fn certify(dir: &Path) {
    let certified = generate_simple_self_signed(["keha.example".to_owned()]).expect("a certificate");
    write(dir, "certificate.pem", &certified.cert.pem(), 0o600);
    write(dir, "key.pem", &certified.signing_key.serialize_pem(), 0o600);
}

#[test]
fn the_example_shows_every_key_and_is_right() {
    let example = include_str!("../../../dist/keha.example.toml");
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path(), "front.password", "s3cret", 0o600);
    certify(dir.path());
    // What the example leaves commented out because a key stands for another is read too.
    let all: String = example
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .filter(|line| !line.contains("password_env"))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = from_file(&write(dir.path(), "keha.toml", &all, 0o600)).expect("the example is right");
    assert!(config.volumes.len() >= 2 && config.cameras.len() >= 3 && config.server.tls.is_some());
    let keys = [&FILE, &SERVER, &VOLUME, &CAMERA_IN_VOLUME, &STREAM].into_iter().flat_map(|shape| shape.keys);
    for key in keys {
        let shown = [format!("{key} ="), format!("[{key}]"), format!(".{key}]]")];
        assert!(shown.iter().any(|shown| example.contains(shown)), "{key} is missing");
    }
}

/// The tables of the manual had none of the server's keys.
#[test]
fn the_manual_lists_the_keys_of_each_table_and_no_others() {
    let manual = include_str!("../../../docs/command-line.md");
    for (table, shape) in
        [("[server]", &SERVER), ("[[volumes]]", &VOLUME), ("[[cameras]]", &CAMERA_IN_VOLUME)]
    {
        let head = format!("| key of `{table}` |");
        let (_, rest) = manual.split_once(&head).unwrap_or_else(|| panic!("a table of the keys of {table}"));
        let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
        let cells = rows.map(|line| line.split('|').nth(1).unwrap_or_default().to_owned());
        let listed: Vec<String> = cells
            .flat_map(|cell| {
                cell.split(',').map(|key| key.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
            })
            .collect();
        let (listed, keys): (BTreeSet<&str>, BTreeSet<&str>) =
            (listed.iter().map(String::as_str).collect(), shape.keys.iter().copied().collect());
        assert_eq!(listed, keys, "{table}");
    }
}

#[test]
fn a_file_is_read_with_all_its_parts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path(), "front.password", "hunter22\n", 0o600);
    let text = format!(
        "[server]\nhttp = \"[::1]:80\"\nbase_path = \"/keha\"\nallowed_origins = [\"https://a.example\"]\ntrusted_proxies = [\"::1\"]\nstate = \"state\"\n\
         {VOLUME_A}size = \"1GiB\"\nscrub = \"7d\"\nio_engine = \"threads\"\nio_depth = 32\n[[volumes]]\nname = \"shed\"\npath = \"/srv/shed.ring\"\nscrub = \"off\"\ntakes_over = false\n\
         [[cameras]]\nname = \"front\"\nurl = \"rtsp://h/1\"\nusername = \"u\"\npassword_file = \"front.password\"\n\
         [[cameras]]\nname = \"yard\"\nurl = \"testsrc://\"\nvolume = \"shed\"\nmax_age = \"30d\"\n\
         [[cameras.streams]]\nname = \"sub\"\nurl = \"testsrc://?fps=5\"\n"
    );
    let path = write(dir.path(), "keha.toml", &text, 0o644);
    let config = from_file(&path).expect("right");
    assert_eq!(config.server.http.to_string(), "[::1]:80");
    assert_eq!(config.server.trusted_proxies, [std::net::Ipv6Addr::LOCALHOST]);
    assert_eq!(config.server.state, Some(dir.path().join("state")));
    assert_eq!(server::state_of(&path).expect("right"), config.server.state);
    let volumes: Vec<_> =
        config.volumes.iter().map(|v| (v.name.as_str(), v.path.clone(), v.size_bytes, v.scrub)).collect();
    let week = Some(Duration::from_secs(7 * 86_400));
    assert_eq!(
        volumes,
        [
            ("attic", dir.path().join("attic.ring"), Some(1 << 30), week),
            ("shed", "/srv/shed.ring".into(), None, None)
        ]
    );
    let io: Vec<_> = config.volumes.iter().map(|v| v.io).collect();
    assert_eq!(io, [Io { engine: IoEngine::Threads, depth: 32 }, Io::default()]);
    assert!(config.volumes.iter().map(|volume| volume.takes_over).eq([true, false]));
    let cameras: Vec<_> = config.cameras.iter().map(|c| (c.entry.name.as_str(), c.volume.as_str())).collect();
    assert_eq!(cameras, [("front", "attic"), ("yard", "shed")]);
    let streams = config.cameras.iter().flat_map(|camera| camera.camera.streams());
    let streams: Vec<_> = streams.map(|(name, _)| name.to_string()).collect();
    assert_eq!(streams, ["front", "yard", "yard/sub"]);
}

#[test]
fn what_is_left_out_has_a_default() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = from_file(&write(dir.path(), "keha.toml", VOLUME_A, 0o644)).expect("right");
    assert_eq!((config.server.http.to_string().as_str(), config.server.tls), (server::HTTP, None));
    assert!(config.cameras.is_empty() && config.server.state.is_none());
    assert!(config.volumes.iter().all(|volume| volume.scrub.is_some() && volume.size_bytes.is_none()));
}

#[test]
fn every_mistake_is_one_line_that_names_file_and_line() {
    let server = |rest: &str| format!("[server]\n{rest}\n{VOLUME_A}");
    let volume = |rest: &str| format!("{VOLUME_A}{rest}\n");
    let camera =
        |rest: &str| format!("{VOLUME_A}[[cameras]]\nname = \"front\"\nurl = \"testsrc://\"\n{rest}\n");
    for (text, says) in [
        (String::new(), "names no volume"),
        ("[[volume]]\nname = \"a\"\n".into(), "line 1: unknown key \"volume\"; did you mean \"volumes\"?"),
        (server("htpp = \"x\""), "line 2: server: unknown key \"htpp\"; did you mean \"http\"?"),
        (server("http = \"8480\""), "line 2: server: http: write an address and a port"),
        (server("http = 8480"), "line 2: "),
        (server("base_path = \"keha/\""), "line 2: server: base_path: "),
        (server("allowed_origins = [\"https://a.example/x\"]"), "line 2: server: allowed_origins: "),
        (server("trusted_proxies = [\"10.0.0.0/8\"]"), "line 2: server: trusted_proxies: "),
        (server("cache = \"much\""), "server: cache: "),
        (server("tls_key = \"key.pem\""), "tls_certificate and tls_key"),
        (server("tls_key = \"open.pem\"\ntls_certificate = \"open.pem\""), "chmod 600"),
        (server("tls_key = \"key.pem\"\ntls_certificate = \"no.pem\""), "no.pem: cannot open"),
        (volume("sise = \"1GiB\""), "line 4: volume attic: unknown key \"sise\"; did you mean \"size\"?"),
        (volume("size = \"1G\""), "line 2: volume attic: size: "),
        (volume("scrub = \"never\""), "line 2: volume attic: scrub: "),
        (volume("io_engine = \"uring\""), "line 2: volume attic: io_engine: write auto, io_uring or threads"),
        (volume("io_depth = 0"), "line 2: volume attic: io_depth: write a number from 1 to 32"),
        (volume("io_depth = 33"), "line 2: volume attic: io_depth: "),
        (volume("io_depth = \"4\""), "line 4: "),
        (volume("[[volumes]]\nname = \"attic\"\npath = \"b\""), "line 5: volume attic: it is given twice"),
        (volume("[[volumes]]\nname = \"b\"\npath = \"attic.ring\""), "line 5: volume b: another volume has"),
        (
            volume("[[volumes]]\nname = \"b\"\npath = \"partuuid:7\""),
            "line 5: volume b: partuuid:7: not the identity",
        ),
        (
            volume(&format!("[[volumes]]\nname = \"b\"\npath = \"partuuid:{PARTITION}\"\nsize = \"1GiB\"")),
            "line 5: volume b: size: a partition is never taken by itself",
        ),
        (volume("[[volumes]]\nname = \"B b\"\npath = \"b\""), "line 5: volume B b: a name is"),
        (volume("[[volumes]]\nname = \"b\""), "line 4: missing field `path`"),
        (camera("volume = \"shed\""), "line 5: camera front: there is no volume \"shed\"; there is attic"),
        (
            camera("passwort_file = \"x\""),
            "line 7: camera front: unknown key \"passwort_file\"; did you mean",
        ),
        (camera("quota = \"much\""), "line 5: camera front: quota: "),
        (
            camera("[[cameras]]\nname = \"front\"\nurl = \"testsrc://\""),
            "line 8: camera front is given twice",
        ),
        (camera("[[cameras]]\nname = \"Yard\"\nurl = \"testsrc://\""), "line 8: "),
        (camera("[[cameras]]\nname = \"yard\"\nurl = \"http://h/\""), "line 8: "),
        (
            camera("[[cameras.streams]]\nname = \"sub\"\nur = \"x\""),
            "line 9: camera front: stream sub: unknown",
        ),
        (camera("[[cameras.streams]]\nname = \"a/b\"\nurl = \"testsrc://\""), "line 5: "),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(dir.path(), "key.pem", "x", 0o600);
        write(dir.path(), "open.pem", "x", 0o644);
        let path = write(dir.path(), "keha.toml", &text, 0o600);
        let error = from_file(&path).expect_err(says);
        let line = failure::line_of(&error);
        assert!(line.contains(says) && !line.contains('\n'), "{says}: {line}");
        assert!(line.contains(&*dir.path().to_string_lossy()), "{line}");
        assert!(matches!(failure::exit_of(&error), Exit::Usage | Exit::Failed));
    }
}

/// Files that were readable were right, and the server refused them.
#[test]
fn a_certificate_that_the_server_would_refuse_is_refused() {
    let tls = "[server]\ntls_certificate = \"certificate.pem\"\ntls_key = \"key.pem\"\n";
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = write(dir.path(), "keha.toml", &format!("{tls}{VOLUME_A}"), 0o600);
    certify(dir.path());
    from_file(&path).expect("they belong together");
    let key = fs::read_to_string(dir.path().join("key.pem")).expect("there");
    certify(dir.path());
    for (name, text, says) in [
        ("key.pem", key.as_str(), "certificate.pem: "),
        ("key.pem", "text", "key.pem: "),
        ("certificate.pem", "text", "certificate.pem: it holds no certificate"),
    ] {
        let right = fs::read_to_string(dir.path().join(name)).expect("there");
        write(dir.path(), name, text, 0o600);
        let error = from_file(&path).expect_err(says);
        assert!(failure::line_of(&error).contains(says), "{}", failure::line_of(&error));
        assert_eq!(failure::exit_of(&error), Exit::Usage);
        write(dir.path(), name, &right, 0o600);
    }
}

#[test]
fn a_file_with_passwords_that_others_can_read_is_refused_without_showing_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = format!("{VOLUME_A}[[cameras]]\nname = \"front\"\nurl = \"rtsp://u:hunter2@h/1\"\n");
    let line =
        failure::line_of(&from_file(&write(dir.path(), "keha.toml", &text, 0o640)).expect_err("refused"));
    assert!(line.contains("chmod 600") && !line.contains("hunter2"), "{line}");
    from_file(&write(dir.path(), "keha.toml", &text, 0o600)).expect("now it is right");
}

#[test]
fn a_partition_is_no_path_that_counts_from_the_file_and_is_one_however_it_is_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let volume = |name: &str, id: &str| format!("[[volumes]]\nname = \"{name}\"\npath = \"partuuid:{id}\"\n");
    let one = volume("a", PARTITION);
    let config = from_file(&write(dir.path(), "keha.toml", &one, 0o644)).expect("right");
    let path = Path::new("partuuid:01234567-89ab-cdef-0123-456789abcdef");
    assert_eq!(config.volumes.iter().map(|volume| volume.path.as_path()).collect::<Vec<_>>(), [path]);
    let two = one + &volume("b", &PARTITION.to_lowercase());
    let refused = from_file(&write(dir.path(), "keha.toml", &two, 0o644)).expect_err("the same");
    assert!(failure::line_of(&refused).contains("another volume has this path"));
}
