//! The `keha` command.
#![forbid(unsafe_code)]

fn main() {}
