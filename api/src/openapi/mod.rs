//! What the interface says of itself: OpenAPI 3.1, made from the handlers.

mod shared;

pub(crate) use shared::complete;

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    SecurityRequirement,
};

/// The frame that paths are put into.
pub(crate) fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Keha")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .contact(Some(ContactBuilder::new().name(Some("Keha")).build()))
        .license(Some(LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build()))
        .build();
    let http = |scheme| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
    let components = ComponentsBuilder::new()
        .security_scheme("token", http(HttpAuthScheme::Bearer))
        .security_scheme("password", http(HttpAuthScheme::Basic))
        .security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(crate::gate::COOKIE))),
        )
        .security_scheme(
            "signed_url",
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new(crate::gate::SEALED))),
        )
        .build();
    let any = ["token", "password", "session", "signed_url"];
    let any = any.map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
    let tags =
        TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    OpenApiBuilder::new().info(info).components(Some(components)).security(Some(any)).tags(Some(tags)).build()
}

/// The document as it is sent: made once, with its tag, for anybody may ask for it.
#[derive(Clone)]
pub(crate) struct Document {
    bytes: Bytes,
    tag: HeaderValue,
}

impl Document {
    /// What is said of these paths.
    pub(crate) fn new(described: &OpenApi) -> Document {
        // It is made of texts and numbers alone: nothing in it can fail to be written.
        let bytes = Bytes::from(described.to_json().unwrap_or_default());
        Document { tag: crate::etag::tag_of(&bytes), bytes }
    }

    /// It, whole: whether the client has it is asked by [`crate::etag::tagged`].
    pub(crate) fn answer(&self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ETAG, self.tag.clone()),
        ];
        (headers, self.bytes.clone()).into_response()
    }
}

const TAGS: [(&str, &str); 5] = [
    ("cameras", "What is recorded, and changing it"),
    ("footage", "When there is footage, and getting it"),
    ("holds", "Footage that is not overwritten"),
    ("access", "Who may do what"),
    ("system", "Whether all is well"),
];

const DESCRIPTION: &str = "A recorder of cameras. Times are RFC 3339; in queries also relative to now (`-10m`) or local with a zone in \
brackets. Errors are problems (RFC 9457) whose detail says what to do. Ask with an API token (`Authorization: Bearer`), with a user's \
name and password (Basic), with the session of a browser, or by a signed URL.";
