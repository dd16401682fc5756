//! Who asks, where a proxy stands between: the address that bounds, attempts and the audit log count.
//!
//! A proxy writes behind what `X-Forwarded-For` has already where the request came to it from. So it is read from its end, for as long as
//! whoever wrote an entry is trusted; what stands before may be anybody's invention.

use axum::http::HeaderMap;
use std::net::{IpAddr, SocketAddr};

const FORWARDED: &str = "x-forwarded-for";

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
    use super::client;
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
}
