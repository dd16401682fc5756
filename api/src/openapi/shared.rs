//! What holds for many operations, said of each of them in one place: names of their own, and the refusals that the gate and the
//! extractors answer with.
//!
//! A handler says what its own refusals mean; where it says nothing of a status, what stands here is said. Must not live here: what
//! a single operation does.

use crate::problem::Body;
use crate::routes::API;
use std::collections::BTreeSet;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Of what kind errors are (RFC 9457).
const PROBLEM: &str = "application/problem+json";

/// Says of each operation what it shares with others.
pub(crate) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.schemas.insert(Body::name().into_owned(), Body::schema());
    let mut names = BTreeSet::new();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let mut name = name(method, path);
            // What stands below the API stands beside it, too.
            if !names.insert(name.clone()) {
                name.push_str("_at_root");
            }
            operation.operation_id = Some(name);
            for (status, description) in refusals(method, path, operation) {
                let known = operation.responses.responses.entry(status.to_string());
                known.or_insert_with(|| ResponseBuilder::new().description(description).into());
            }
            let responses = operation.responses.responses.iter_mut();
            responses.filter(|(status, _)| status.starts_with(['4', '5'])).for_each(|(_, r)| of_problem(r));
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, .. } = item;
    let all = [("get", get), ("put", put), ("post", post), ("delete", delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// A name that no other operation has: handlers' own names are the same in several modules.
fn name(method: &str, path: &str) -> String {
    let words = path.strip_prefix(API).unwrap_or(path).split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

/// The refusals that an operation may answer with before and beside its own.
fn refusals(method: &str, path: &str, operation: &Operation) -> Vec<(u16, &'static str)> {
    // What is outside and says who may ask is open to everybody.
    if !path.starts_with(API) && operation.security.is_some() {
        return Vec::new();
    }
    let has_parameters = operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    let has_body = operation.request_body.is_some();
    let of_stream = method == "get" && path.contains("/{stream}/");
    let mut refusals = vec![
        (401, "Nobody is known who asks so"),
        (403, "Who asks may not"),
        (429, "Too many wrong passwords: wait"),
        (500, "The server could not do it; its log says why"),
        (503, "Not now: what is needed for it is busy, or has stopped"),
    ];
    if has_parameters || has_body {
        refusals.push((400, "This is not JSON, or the path is not UTF-8"));
        refusals.push((422, "What is asked for does not do"));
    }
    if has_body {
        refusals.push((413, "The body is too large"));
        refusals.push((415, "The body is not told to be JSON"));
    }
    if path.contains("/{camera}") {
        refusals.push((404, "There is none of that name"));
    }
    if of_stream {
        refusals.push((410, "It is being overwritten"));
    }
    refusals
}

/// An error says what is wrong and what to do, unless its operation says otherwise.
fn of_problem(response: &mut RefOr<Response>) {
    if let RefOr::T(response) = response
        && response.content.is_empty()
    {
        let schema: RefOr<Schema> = Ref::from_schema_name(Body::name()).into();
        response.content.insert(PROBLEM.into(), RefOr::T(Content::new(Some(schema))));
    }
}
