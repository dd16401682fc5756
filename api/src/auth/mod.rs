//! Who somebody is, and what he may do.
//!
//! - [`Accounts`]: users with passwords and tokens for programs, kept in the state directory, read anew when another process changed them.
//! - [`Sealer`]: cookies and URLs that only this server can have made, and that end by themselves.
//! - [`Buckets`]: how often passwords may be tried, and anything asked.
//! - [`Grant`]: what comes of each of them, asked by every path of the interface.
//!
//! Nothing here knows HTTP; time is an argument.

mod accounts;
mod buckets;
mod grant;
mod password;
mod seal;

pub use accounts::{Accounts, Identity, NewToken, Verifier};
pub use buckets::{Buckets, Wait};
pub use grant::{Cameras, Grant, Role};
pub use seal::{SEALED_CHARACTERS_MAX, Sealed, Sealer};
