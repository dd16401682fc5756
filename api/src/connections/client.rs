//! Who asks, where a proxy stands between: the address that bounds, attempts and the audit log count.
//!
//! A proxy writes behind what `X-Forwarded-For` has already where the request came to it from. So it is read from its end, for as long as
//! whoever wrote an entry is trusted; what stands before may be anybody's invention.

use axum::http::HeaderMap;
use std::net::{IpAddr, SocketAddr};

const FORWARDED: &str = "x-forwarded-for";
const PROTOCOL: &str = "x-forwarded-proto";

/// In a request: a proxy that is trusted got it by HTTPS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByHttps;

/// The client's address. Behind a proxy its port is not known: 0.
pub(super) fn client(peer: SocketAddr, headers: &HeaderMap, proxies: &[IpAddr]) -> SocketAddr {
    let trusted = |address: IpAddr| proxies.contains(&address.to_canonical());
    if !trusted(peer.ip()) {
        return peer;
    }
    let lines: Vec<&str> =
        headers.get_all(FORWARDED).iter().map(|line| line.to_str().unwrap_or_default()).collect();
    let mut client = peer;
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        // Who cannot be read is not believed, nor is anybody he names.
        let Some(address) = address(entry.trim()) else { break };
        client = SocketAddr::new(address, 0);
        if !trusted(address) {
            break;
        }
    }
    client
}

/// Whether a proxy that is trusted says that it was asked by HTTPS. Where several stand in a row, the first value is of the one that the
/// client asked.
pub(super) fn by_https(peer: SocketAddr, headers: &HeaderMap, proxies: &[IpAddr]) -> Option<ByHttps> {
    let said = headers.get(PROTOCOL).filter(|_| is_proxy(peer, proxies))?.to_str().ok()?;
    let first = said.split(',').next().unwrap_or_default().trim();
    first.eq_ignore_ascii_case("https").then_some(ByHttps)
}

/// Whether this is the address of a proxy that is trusted.
pub(super) fn is_proxy(peer: SocketAddr, proxies: &[IpAddr]) -> bool {
    proxies.contains(&peer.ip().to_canonical())
}

/// An address, as proxies write it: some with a port, some with brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::{by_https, client};
    use axum::http::{HeaderMap, HeaderValue};
    use std::net::{IpAddr, SocketAddr};

    #[test]
    fn the_last_who_is_not_trusted_is_the_client() {
        let proxies: [IpAddr; 2] = [[127, 0, 0, 1].into(), [10, 0, 0, 1].into()];
        let table: [(&str, &[&str], &str); 10] = [
            ("198.51.100.7:1", &["203.0.113.5"], "198.51.100.7:1"),
            ("127.0.0.1:1", &[], "127.0.0.1:1"),
            ("127.0.0.1:1", &["203.0.113.5"], "203.0.113.5:0"),
            ("[::ffff:127.0.0.1]:1", &["203.0.113.5"], "203.0.113.5:0"),
            ("127.0.0.1:1", &["192.0.2.1, 203.0.113.5"], "203.0.113.5:0"),
            ("127.0.0.1:1", &["192.0.2.1", "203.0.113.5,10.0.0.1"], "203.0.113.5:0"),
            ("127.0.0.1:1", &["203.0.113.5", "10.0.0.1"], "203.0.113.5:0"),
            ("127.0.0.1:1", &["203.0.113.5, unknown"], "127.0.0.1:1"),
            ("127.0.0.1:1", &["203.0.113.5:4711"], "203.0.113.5:0"),
            ("127.0.0.1:1", &["[2001:db8::1]"], "[2001:db8::1]:0"),
        ];
        for (peer, lines, expected) in table {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", HeaderValue::from_str(line).expect("a value"));
            }
            let peer: SocketAddr = peer.parse().expect("an address");
            assert_eq!(client(peer, &headers, &proxies).to_string(), expected, "{peer} {lines:?}");
        }
    }
    #[test]
    fn only_a_proxy_that_is_trusted_says_how_it_was_asked() {
        let proxies: [IpAddr; 1] = [[127, 0, 0, 1].into()];
        for (peer, said, expected) in [
            ("127.0.0.1:1", "https", true),
            ("[::ffff:127.0.0.1]:1", "HTTPS", true),
            ("127.0.0.1:1", "https, http", true),
            ("127.0.0.1:1", "http, https", false),
            ("127.0.0.1:1", "", false),
            ("198.51.100.7:1", "https", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-proto", HeaderValue::from_str(said).expect("a value"));
            let peer: SocketAddr = peer.parse().expect("an address");
            assert_eq!(by_https(peer, &headers, &proxies).is_some(), expected, "{peer} {said}");
        }
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(by_https(peer, &HeaderMap::new(), &proxies).is_none());
    }
}
