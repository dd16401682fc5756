//! The gate as a layer of the router: a request that passes carries who asks.

use super::credentials::Credentials;
use super::{Gate, Right, origin};
use crate::auth::Identity;
use crate::problem::Problem;
use axum::extract::{ConnectInfo, OriginalUri, Request, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The header in which a page of this server brings its token with each change.
pub(crate) const FORGERY_HEADER: &str = "x-keha-forgery-token";

/// Lets a request pass if it says who asks.
pub(crate) async fn pass(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    // As the client sent it: the request's own lacks what this router is nested below.
    OriginalUri(uri): OriginalUri,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked { method: request.method(), uri: &uri, headers: request.headers() };
    match gate.identify(&asked, peer.ip(), Timestamp::now()).await {
        Ok((identity, ends)) => {
            let identity = Arc::new(identity);
            request.extensions_mut().insert(Right::new(&identity, ends));
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(problem) => {
            let refused = asked.claimed().map(|name| Refused { name });
            let mut response = problem.into_response();
            refused.and_then(|refused| response.extensions_mut().insert(refused));
            response
        }
    }
}

/// In an answer: the gate refused somebody who tried something. Who only looks without saying who he is tries nothing.
#[derive(Clone)]
pub(crate) struct Refused {
    /// Who he says he is; empty where that is not said in clear words.
    pub(crate) name: String,
}

/// Of a request what says who asks.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
}

impl Asked<'_> {
    fn only_reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }

    /// Whom a request that is refused says it comes from; `None` if it neither says anything nor changes anything.
    fn claimed(&self) -> Option<String> {
        match Credentials::of(self.headers, self.uri) {
            Credentials::Password { name, .. } => Some(name),
            Credentials::Nothing if self.only_reads() => None,
            _ => Some(String::new()),
        }
    }

    /// A browser asks for a name and a password when a person is there to give them, and not while a page loads its parts.
    fn may_be_challenged(&self) -> bool {
        let destination = self.headers.get("sec-fetch-dest");
        destination.is_none_or(|destination| destination == "document")
    }
}

impl Gate {
    /// Who asks, and when what he brought ends.
    async fn identify(
        &self,
        asked: &Asked<'_>,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<(Identity, Option<Timestamp>), Problem> {
        let unknown = |why: &str| Problem::unauthorized(why, asked.may_be_challenged());
        let foreign = || origin::is_foreign(asked.headers, asked.uri);
        match Credentials::of(asked.headers, asked.uri) {
            Credentials::Malformed => Err(unknown("the Authorization header is neither Basic nor Bearer")),
            Credentials::Token(text) => {
                let identity = self.by_token(&text, now);
                // When that ends is asked with whether it is still there.
                identity
                    .map(|identity| (identity, None))
                    .ok_or_else(|| unknown("this token is not known, or has ended"))
            }
            Credentials::Password { name, password } => {
                let identity = self.by_password(peer, &name, &password).await;
                identity
                    .map_err(|wait| Problem::too_many(wait.0))?
                    .map(|identity| (identity, None))
                    .ok_or_else(|| unknown("wrong name or password"))
            }
            Credentials::Url(text) => {
                // What is signed is a path of this server, wherever a proxy puts it.
                let path = asked.uri.path().strip_prefix(&self.base).unwrap_or_default();
                let sealed = self.sealer.open_url(&text, path, now).filter(|_| asked.only_reads());
                let ends = sealed.as_ref().map(|sealed| sealed.expires);
                let identity = sealed.and_then(|sealed| self.by_seal(&sealed));
                identity.zip(Some(ends)).ok_or_else(|| {
                    unknown("this signed URL is for something else, or has ended: ask for a new one")
                })
            }
            Credentials::Session(text) => {
                let sealed = self.sealer.open_session(&text, now);
                let ends = sealed.as_ref().map(|sealed| sealed.expires);
                let identity = sealed.and_then(|sealed| self.by_seal(&sealed));
                let identity = identity.ok_or_else(|| unknown("the session has ended: log in again"))?;
                let own = asked.headers.get(FORGERY_HEADER).and_then(|token| token.to_str().ok());
                let own = own.is_some_and(|token| self.sealer.is_forgery_token(&text, token));
                if foreign() || !asked.only_reads() && !own {
                    return Err(Problem::forbidden(
                        "not asked by a page of this server: send its token in X-Keha-Forgery-Token, or use an API token",
                    ));
                }
                Ok((identity, ends))
            }
            Credentials::Nothing if self.is_open() => {
                if !self.base.is_empty() || origin::is_passed_on(asked.headers) {
                    return Err(Problem::forbidden(
                        "without users this server answers nobody through a proxy: add one with `keha user add`",
                    ));
                }
                if foreign() || !origin::is_own_name(asked.headers, asked.uri) {
                    return Err(Problem::forbidden(
                        "without users this server answers this machine alone, under a name of it: add one with `keha user add`",
                    ));
                }
                Ok((Gate::local(), None))
            }
            Credentials::Nothing => Err(unknown("log in, or send a token or a name and a password")),
        }
    }
}
