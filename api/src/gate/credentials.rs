//! What a request brings to say who asks: nothing is believed here yet.

use axum::http::{HeaderMap, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The name of the session cookie.
pub(crate) const COOKIE: &str = "keha_session";
/// The parameter of a signed URL's query.
pub(crate) const SEALED: &str = "sealed";

/// What was brought. Only one counts: the header, else the query, else the cookie.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    Nothing,
    /// `Authorization: Bearer` (RFC 6750).
    Token(String),
    /// `Authorization: Basic` (RFC 7617).
    Password {
        name: String,
        password: String,
    },
    /// The seal of a URL.
    Url(String),
    /// A session cookie (RFC 6265).
    Session(String),
    /// A header that is none of these.
    Malformed,
}

impl Credentials {
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri) -> Credentials {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            return value.to_str().ok().and_then(authorization).unwrap_or(Credentials::Malformed);
        }
        if let Some(sealed) = parameter(uri.query().unwrap_or_default(), SEALED) {
            return Credentials::Url(sealed.to_owned());
        }
        session_of(headers).map_or(Credentials::Nothing, |session| Credentials::Session(session.to_owned()))
    }
}

fn authorization(value: &str) -> Option<Credentials> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Token(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Credentials::Password { name: name.to_owned(), password: password.to_owned() })
}

/// The first value of a parameter; sealed texts need no decoding.
fn parameter<'a>(query: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// The value of the session cookie, if there is one.
pub(crate) fn session_of(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::Credentials;
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

    type Fields<'a> = &'a [(HeaderName, &'a str)];

    fn read(fields: Fields<'_>, uri: &str) -> Credentials {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        Credentials::of(&headers, &uri.parse::<Uri>().expect("a URI"))
    }

    #[test]
    fn each_way_of_saying_who_asks() {
        let anna = Credentials::Password { name: "anna".to_owned(), password: "a:b".to_owned() };
        let token = Credentials::Token("keha_1_x".to_owned());
        let session = Credentials::Session("abc.def".to_owned());
        let table: [(Fields<'_>, &str, Credentials); 11] = [
            (&[], "/", Credentials::Nothing),
            (&[(header::AUTHORIZATION, "Basic YW5uYTphOmI=")], "/", anna),
            (&[(header::AUTHORIZATION, "bearer  keha_1_x")], "/", token),
            (&[(header::AUTHORIZATION, "Basic YW5uYQ==")], "/", Credentials::Malformed),
            (&[(header::AUTHORIZATION, "Basic ???")], "/", Credentials::Malformed),
            (&[(header::AUTHORIZATION, "Digest x")], "/", Credentials::Malformed),
            (&[(header::AUTHORIZATION, "")], "/?sealed=x", Credentials::Malformed),
            (&[], "/a?x=1&sealed=q.r&sealed=z", Credentials::Url("q.r".to_owned())),
            (&[(header::COOKIE, "a=b; keha_session=abc.def; c=d")], "/?sealedx=1", session),
            (&[(header::COOKIE, "xkeha_session=abc")], "/", Credentials::Nothing),
            (&[(header::COOKIE, "keha_session")], "/", Credentials::Nothing),
        ];
        for (fields, uri, expected) in table {
            assert_eq!(read(fields, uri), expected, "{fields:?} {uri}");
        }
    }
}
