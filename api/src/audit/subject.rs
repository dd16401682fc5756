//! What a request is about, where its path does not say that: a handler that finds it in the body, or behind an identifier that is
//! forgotten later, tells it here, and the log notes it beside the path.
//!
//! It is told before it is known whether whoever asks may: what was refused is noted with it, too. No password, no token, no address of
//! a camera (which may hold a password), nor what signs a URL may be told.

use crate::auth::{Cameras, Grant, Role};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

/// What a request is about.
#[derive(Clone, Default)]
pub(crate) struct Subject(Arc<Mutex<String>>);

impl Subject {
    /// It is this; what was told before is forgotten.
    pub(crate) fn tell(&self, what: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// What was told.
    pub(super) fn told(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Sync> FromRequestParts<S> for Subject {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Subject, Infallible> {
        // Outside the log's layer nobody listens.
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// What somebody may do, in a few words.
pub(crate) fn in_words(grant: &Grant) -> String {
    let role = match grant.role {
        Role::Viewer => "viewer",
        Role::Admin => "admin",
    };
    match &grant.cameras {
        Cameras::All => format!("{role} of all cameras"),
        Cameras::Only(names) if names.is_empty() => format!("{role} of no camera"),
        Cameras::Only(names) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{role} of {}", names.join(", "))
        }
    }
}
