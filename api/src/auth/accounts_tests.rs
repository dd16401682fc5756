use super::{Accounts, Identity};
use crate::auth::{Cameras, Grant, Role};
use jiff::{SignedDuration, Timestamp};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn all(role: Role) -> Grant {
    Grant { role, cameras: Cameras::All }
}

fn door() -> Grant {
    Grant { role: Role::Viewer, cameras: Cameras::Only(["door".to_owned()].into()) }
}

fn log_in(accounts: &Accounts, name: &str, password: &str) -> Option<Identity> {
    accounts.verifier(name).verify(password)
}

#[test]
fn a_user_logs_in_with_his_password_and_with_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut accounts = Accounts::open(directory.path()).expect("none yet");
    assert!(accounts.is_empty() && log_in(&accounts, "anna", "").is_none());
    accounts.add_user("anna", "correct horse", door()).expect("added");
    let anna = log_in(&accounts, "anna", "correct horse").expect("she is known");
    assert_eq!((anna.name.as_str(), &anna.grant), ("anna", &door()));
    for (name, password) in
        [("anna", "wrong horse"), ("anna", ""), ("bert", "correct horse"), ("", "correct horse")]
    {
        assert_eq!(log_in(&accounts, name, password), None, "{name} {password}");
    }
    let text = std::fs::read_to_string(directory.path().join("accounts.json")).expect("a file");
    assert!(!text.contains("horse"), "{text}");
}

#[test]
fn another_password_ends_what_was_sealed_before() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut accounts = Accounts::open(directory.path()).expect("none yet");
    accounts.add_user("anna", "correct horse", door()).expect("added");
    let before = log_in(&accounts, "anna", "correct horse").expect("she is known").generation;
    assert!(accounts.with_generation("anna", before).is_some());
    accounts.set_grant("anna", all(Role::Viewer)).expect("changed");
    assert_eq!(accounts.with_generation("anna", before).map(|anna| anna.grant), Some(all(Role::Viewer)));
    accounts.set_password("anna", "battery staple").expect("changed");
    assert_eq!(accounts.with_generation("anna", before), None);
    assert!(log_in(&accounts, "anna", "correct horse").is_none());
    let after = log_in(&accounts, "anna", "battery staple").expect("she is known").generation;
    accounts.remove_user("anna").expect("removed");
    assert_eq!(accounts.with_generation("anna", after), None);
    accounts.add_user("anna", "battery staple", door()).expect("added");
    assert_eq!(accounts.with_generation("anna", after), None, "she is another by the same name");
}

/// What follows prefix and identifier; it may have a `_` of its own.
fn secret_of(token: &str) -> &str {
    token.splitn(3, '_').nth(2).expect("a secret")
}

#[test]
fn a_token_opens_what_it_was_made_for_until_it_ends_or_is_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut accounts = Accounts::open(directory.path()).expect("none yet");
    let end = NOW + SignedDuration::from_secs(60);
    let token = accounts.add_token("home assistant", door(), Some(end), NOW).expect("made");
    let known = accounts.with_token(&token.text, NOW).expect("known");
    assert_eq!((known.name, known.grant), (format!("token:{}", token.id), door()));
    assert_eq!(accounts.with_token(&token.text, end), None, "it has ended");
    let other = accounts.add_token("script", all(Role::Admin), None, NOW).expect("made");
    let secret = secret_of(&other.text);
    for text in [
        "",
        "keha_",
        "keha__",
        &token.text[1..],
        &format!("keha_{}_{secret}", token.id),
        &format!("{}A", other.text),
    ] {
        assert_eq!(accounts.with_token(text, NOW), None, "{text}");
    }
    let listed: Vec<_> = accounts.tokens().map(|(id, label, ..)| (id.to_owned(), label.to_owned())).collect();
    assert!(listed.contains(&(other.id.clone(), "script".to_owned())), "{listed:?}");
    accounts.remove_token(&other.id).expect("removed");
    assert_eq!(accounts.with_token(&other.text, NOW), None);
    let kept = std::fs::read_to_string(directory.path().join("accounts.json")).expect("a file");
    assert!(!kept.contains(secret_of(&token.text)), "{kept}");
}

#[test]
fn what_another_process_changed_is_known_after_a_refresh_and_nothing_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = Accounts::open(directory.path()).expect("none yet");
    let mut command = Accounts::open(directory.path()).expect("none yet");
    command.add_user("anna", "correct horse", door()).expect("added");
    server.add_user("bert", "battery staple", all(Role::Admin)).expect("added");
    assert!(log_in(&server, "anna", "correct horse").is_some(), "a change begins with what is there");
    command.refresh().expect("readable");
    let names: Vec<_> = command.users().map(|(name, _)| name).collect();
    assert_eq!(names, ["anna", "bert"]);
}

#[test]
fn a_file_that_nobody_understands_lets_nobody_in_and_is_not_overwritten() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("accounts.json");
    for text in [
        "",
        "{}",
        r#"{"schema":2,"users":{},"tokens":{},"generations":0}"#,
        r#"{"schema":1,"users":{"a":"a secret kept"}}"#,
    ] {
        std::fs::write(&path, text).expect("written");
        let error = Accounts::open(directory.path()).err().expect("refused").to_string();
        assert!(error.contains("accounts.json") && !error.contains("a secret kept"), "{error}");
    }
    std::fs::remove_file(&path).expect("removed");
    let mut accounts = Accounts::open(directory.path()).expect("none yet");
    std::fs::write(&path, "junk").expect("written");
    assert!(accounts.add_user("anna", "correct horse", door()).is_err());
    assert!(accounts.refresh().is_err());
    assert_eq!(std::fs::read(&path).expect("there"), b"junk");
}

#[test]
fn names_and_labels_that_could_be_taken_for_something_else_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut accounts = Accounts::open(directory.path()).expect("none yet");
    for name in ["", "Anna", "-a", "a b", "../x", "token:1", "ä", &"a".repeat(64)] {
        assert!(accounts.add_user(name, "correct horse", door()).is_err(), "{name}");
    }
    for label in ["", "a\nb", &"a".repeat(101)] {
        assert!(accounts.add_token(label, door(), None, NOW).is_err(), "{label:?}");
    }
    accounts.add_user("anna", "correct horse", door()).expect("added");
    assert!(accounts.add_user("anna", "another horse", door()).is_err(), "there is one");
    assert!(accounts.set_password("bert", "another horse").is_err(), "there is none");
}
