//! Whether a request comes from a page of this server, or from no page at all.
//!
//! A browser sends `Origin` with what another site's page asks for, WebSockets included (RFC 6454, section 7; RFC 6455, section 10.2), and
//! `Sec-Fetch-Site`. Programs that are no browsers send neither.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use std::net::IpAddr;

/// Whether another site's page asks.
pub(crate) fn is_foreign(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return true;
    }
    let Some(origin) = text("origin") else { return false };
    let origin = origin.parse::<Uri>().ok().and_then(|origin| origin.authority().cloned());
    origin.is_none() || origin != host(headers, uri)
}

/// Whether the name under which this server was asked is this machine's own: where nobody has to say who he is, a page of another site
/// must not reach it under a name of that site (DNS rebinding).
pub(super) fn is_own_name(headers: &HeaderMap, uri: &Uri) -> bool {
    let Some(authority) = host(headers, uri) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether somebody else passed the request on (RFC 7239, and what was in use before it; RFC 9110, section 7.6.3): it comes from the
/// machine of a proxy then, and who asks the proxy may be anywhere.
pub(super) fn is_passed_on(headers: &HeaderMap) -> bool {
    let told = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];
    told.iter().any(|name| headers.contains_key(*name))
}

/// HTTP/1.1 says it in a header, HTTP/2 in the URI.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    if let Some(authority) = uri.authority() {
        return Some(authority.clone());
    }
    headers.get(header::HOST)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{is_foreign, is_own_name};
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn another_sites_page_is_known() {
        let table: [(&[(&'static str, &str)], bool); 8] = [
            (&[("host", "keha:8080")], false),
            (&[("host", "keha:8080"), ("origin", "http://keha:8080")], false),
            (&[("host", "keha:8080"), ("origin", "http://keha:9090")], true),
            (&[("host", "keha:8080"), ("origin", "https://evil.example")], true),
            (&[("host", "keha:8080"), ("origin", "null")], true),
            (&[("host", "keha:8080"), ("sec-fetch-site", "cross-site")], true),
            (&[("host", "keha:8080"), ("sec-fetch-site", "same-site")], true),
            (&[("host", "keha:8080"), ("sec-fetch-site", "same-origin")], false),
        ];
        for (fields, expected) in table {
            assert_eq!(is_foreign(&headers(fields), &Uri::from_static("/")), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_names_of_this_machine() {
        for (host, expected) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("127.9.9.9", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_own_name(&headers(&[("host", host)]), &Uri::from_static("/")), expected, "{host}");
        }
        assert!(!is_own_name(&HeaderMap::new(), &Uri::from_static("/")));
    }
}
