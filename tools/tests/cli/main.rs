//! The built binary from outside: what it says, how it ends, what it leaves.

mod record;
mod support;
mod usage;
mod volumes;
