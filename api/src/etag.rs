//! Entity tags for what is small and made at once, so that who asks again and again is told when nothing changed (RFC 9110, section 8.8).

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Larger answers, and those of unknown length, are not looked at.
const BYTES_MAX: u64 = 4 << 20;

/// Gives an answer its tag, or says that it is the same as the one the client has.
pub(crate) async fn tagged(request: Request, next: Next) -> Response {
    // The answer to HEAD has lost its body already.
    let reads = *request.method() == Method::GET;
    let known: Vec<HeaderValue> = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    let small = response.body().size_hint().exact().is_some_and(|bytes| bytes <= BYTES_MAX);
    if !reads || !small || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, BYTES_MAX as usize).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // Whoever made it may know its tag already.
    let tag = parts.headers.get(header::ETAG).cloned().unwrap_or_else(|| tag_of(&bytes));
    let same = is_known(&known, &tag);
    parts.headers.insert(header::ETAG, tag);
    if !same {
        return Response::from_parts(parts, Body::from(bytes));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    without_content(&mut parts.headers);
    Response::from_parts(parts, Body::empty())
}

/// The tag of these bytes.
pub(crate) fn tag_of(bytes: &[u8]) -> HeaderValue {
    let hash = blake3::hash(bytes).to_hex();
    let tag = HeaderValue::from_str(&format!("\"{}\"", hash.get(..32).unwrap_or_default()));
    // Hexadecimal digits are letters of a header.
    tag.unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether one of the tags that the client has is this one; weak or strong is no difference here (RFC 9110, section 13.1.2).
pub(crate) fn is_known(known: &[HeaderValue], tag: &HeaderValue) -> bool {
    let lines = known.iter().filter_map(|line| line.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|known| known == "*" || known.as_bytes() == tag.as_bytes())
}

fn without_content(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_TYPE);
}

#[cfg(test)]
mod tests {
    use super::is_known;
    use axum::http::HeaderValue;

    #[test]
    fn tags_are_compared_as_lists() {
        let tag = HeaderValue::from_static("\"abc\"");
        for (line, expected) in [
            ("\"abc\"", true),
            ("\"x\", W/\"abc\"", true),
            ("*", true),
            ("abc", false),
            ("\"x\"", false),
            ("", false),
        ] {
            assert_eq!(is_known(&[HeaderValue::from_static(line)], &tag), expected, "{line}");
        }
    }
}
