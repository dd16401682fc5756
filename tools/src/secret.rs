//! Keeps passwords out of everything that is shown: errors, logs, status, documents.
//!
//! Two nets. What looks like a secret is masked by its place ([`mask`]): the password of a URL, the value of a query
//! parameter named like one, an Authorization header. And what is known to be one ([`remember`]) is masked wherever it
//! stands. Nothing here is a substitute for not passing passwords around: it catches what slips.

use base64::Engine;
use std::borrow::Cow;
use std::sync::RwLock;

/// What stands where a secret was.
pub(crate) const MASK: &str = "***";

/// Shorter secrets are not searched for as such: masking every `a` would hide everything else. Their places are still masked.
const SECRET_BYTES_MIN: usize = 4;

/// How parameters that carry secrets are called, as makers of cameras spell them in paths and queries.
const PARAMETERS: [&str; 10] = [
    "password=",
    "passwd=",
    "passphrase=",
    "pwd=",
    "pass=",
    "secret=",
    "token=",
    "auth=",
    "authbasic=",
    "loginpas=",
];

static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// From here on `secret` is masked wherever it stands.
pub(crate) fn remember(secret: &str) {
    if secret.len() < SECRET_BYTES_MIN {
        return;
    }
    let mut known = KNOWN.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !known.iter().any(|other| other == secret) {
        known.push(secret.to_owned());
        // The longest first, so that a secret within another does not leave the other's rest.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

/// Remembers a password in each form in which a protocol or a URL shows it.
pub(crate) fn remember_password(username: &str, password: &str) {
    remember(password);
    remember(&percent_encoded(password));
    remember(&basic(username, password));
}

/// `text` without its secrets.
pub(crate) fn mask(text: &str) -> Cow<'_, str> {
    let mut masked = mask_bare(mask_urls(text));
    for marker in PARAMETERS {
        masked = mask_after(masked, marker, |c| c == '&' || ends_token(c));
    }
    for marker in ["authorization: basic ", "authorization: digest "] {
        masked = mask_after(masked, marker, |c| c == '\n' || c == '\r' || c == '\\');
    }
    let known = KNOWN.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    for secret in known.iter() {
        if masked.contains(secret.as_str()) {
            masked = Cow::Owned(masked.replace(secret.as_str(), MASK));
        }
    }
    masked
}

fn ends_token(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\')
}

/// Masks the password before the last `@` of whatever follows a `://`. A URL that does not parse is masked the more: a
/// password with an unescaped `/` in it is the usual reason.
fn mask_urls(text: &str) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        let token = &tail[..tail.find(ends_token).unwrap_or(tail.len())];
        let userinfo = &token[..userinfo_bytes(token)];
        masked.push_str(head);
        rest = &tail[userinfo.len()..];
        match userinfo.split_once(':') {
            Some((user, _)) => masked.extend([user, ":", MASK]),
            None => masked.push_str(userinfo),
        }
    }
    if masked.is_empty() {
        return Cow::Borrowed(text);
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Masks `user:password@` where no `://` stands before it: an address whose beginning was forgotten.
fn mask_bare(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('@') {
        return text;
    }
    let pieces = text.split_inclusive(|c: char| c == '=' || (ends_token(c) && c != '>')).map(|piece| {
        let (Some(colon), Some(at)) = (piece.find(':'), piece.rfind('@')) else { return piece.to_owned() };
        // Done already, or the way in which packet captures name connections: `ADDRESS:PORT(me)->ADDRESS:PORT@TIME`.
        if piece.contains("://") || piece.contains("(me)->") || colon + 1 >= at {
            return piece.to_owned();
        }
        let (user, rest) = piece.split_at(colon + 1);
        format!("{user}{MASK}{}", rest.get(at - colon - 1..).unwrap_or_default())
    });
    Cow::Owned(pieces.collect())
}

/// How long the part before the host is, without its `@`.
fn userinfo_bytes(token: &str) -> usize {
    let authority = token.find(['/', '?', '#']).unwrap_or(token.len());
    let host_is_plain = |host: &str| {
        let (name, port) = host.split_once(':').unwrap_or((host, ""));
        !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    match token[..authority].rfind('@') {
        Some(at) => match token.rfind('@') {
            // `user:pa@ss/word@host`: an `@` in the path would look the same, and showing less is the safe side.
            Some(last) if last > at => last,
            _ => at,
        },
        // No `@` before the first slash. `host:554/path@1` is a camera's path; anything else may be `user:pa/ss@host`.
        None if host_is_plain(&token[..authority]) => 0,
        None => token.rfind('@').unwrap_or(0),
    }
}

fn mask_after<'a>(text: Cow<'a, str>, marker: &str, ends: impl Fn(char) -> bool) -> Cow<'a, str> {
    let lower = text.to_ascii_lowercase();
    if !lower.contains(marker) {
        return text;
    }
    let mut masked = String::new();
    let mut from = 0;
    while let Some(at) = lower.get(from..).and_then(|rest| rest.find(marker)) {
        let begin = from + at + marker.len();
        let end = text[begin..].find(&ends).map_or(text.len(), |length| begin + length);
        masked.push_str(&text[from..begin]);
        masked.push_str(if end > begin { MASK } else { "" });
        from = end;
    }
    masked.push_str(&text[from..]);
    Cow::Owned(masked)
}

/// How Basic authentication shows a password (RFC 7617, section 2).
fn basic(username: &str, password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"))
}

/// RFC 3986, section 2.1, of everything that is not unreserved.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_masked_and_the_rest_is_shown() {
        for (text, masked) in [
            ("rtsp://cam/1", "rtsp://cam/1"),
            ("rtsp://admin@cam/1", "rtsp://admin@cam/1"),
            ("rtsp://admin:hunter2@cam:554/1?x=y", "rtsp://admin:***@cam:554/1?x=y"),
            ("a rtsp://u:p@h and rtsp://v:q@i.", "a rtsp://u:***@h and rtsp://v:***@i."),
            ("'front=rtsp://u:p@h'", "'front=rtsp://u:***@h'"),
            ("rtsp://u:pa/ss@h/1", "rtsp://u:***@h/1"),
            ("rtsp://u:pa@ss/word@h/1", "rtsp://u:***@h/1"),
            ("rtsp://u:pa?s#s@h/1", "rtsp://u:***@h/1"),
            ("rtsp://cam:554/stream@1", "rtsp://cam:554/stream@1"),
            ("rtsp://u:@h", "rtsp://u:***@h"),
            ("no url", "no url"),
            ("'a=u:hunter2@h' is wrong: no", "'a=u:***@h' is wrong: no"),
            ("a@b, at 12:30", "a@b, at 12:30"),
            ("1.2.3.4:5(me)->1.2.3.4:6@2026-01-01T00:00:00", "1.2.3.4:5(me)->1.2.3.4:6@2026-01-01T00:00:00"),
            ("://", "://"),
        ] {
            assert_eq!(mask(text), masked, "{text}");
        }
    }

    #[test]
    fn parameters_and_headers_that_carry_secrets_are_masked() {
        for (text, masked) in [
            ("rtsp://h/?user=a&password=b&x=1", "rtsp://h/?user=a&password=***&x=1"),
            ("rtsp://h/user=a_password=b_channel=1.sdp", "rtsp://h/user=a_password=***"),
            ("PWD=b next", "PWD=*** next"),
            ("password=", "password="),
            ("Authorization: Basic YTpi\r\nCSeq: 1", "Authorization: Basic ***\r\nCSeq: 1"),
        ] {
            assert_eq!(mask(text), masked, "{text}");
        }
    }

    #[test]
    fn a_known_password_is_masked_in_every_form() {
        remember_password("admin", "s/cr€t pässword");
        for form in
            ["s/cr€t pässword", "s%2Fcr%E2%82%ACt%20p%C3%A4ssword", &basic("admin", "s/cr€t pässword")]
        {
            assert_eq!(mask(&format!("x{form}y")), "x***y");
        }
    }
}
