//! The built binary from outside: what it says, how it ends, what it leaves.

mod accounts;
mod bench;
mod certificate;
mod events;
mod io;
#[path = "../../../tests/src/loop_device.rs"]
mod loop_device;
mod partitions;
mod record;
mod serve;
mod server;
mod stop;
mod support;
mod usage;
mod volumes;
