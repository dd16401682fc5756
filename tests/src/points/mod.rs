//! The promises, each as a function that takes its size: small in `make test`, full in `make acceptance`.
//!
//! A point fails by an error that says what broke, and prints its figures, one line each. Must not live here: the
//! instruments ([`crate::rig`], [`crate::footage`], [`crate::loss`], [`crate::probe`]).

pub mod clients;
pub mod clock;
pub mod clocks;
pub mod copy;
pub mod corrupt;
pub mod custody;
pub mod damage;
pub mod described;
pub mod diskerrors;
pub mod downloads;
pub mod faults;
pub mod forecast;
pub mod frames;
pub mod gaps;
mod gone;
pub mod holds;
pub mod inputs;
pub mod kill;
pub mod killed;
pub mod lap;
pub mod pages;
pub mod players;
pub mod powercut;
pub mod priorities;
pub mod pulled;
pub mod restarted;
pub mod retention;
mod scene;
pub mod scrub;
pub mod stalls;

/// Prints one figure of a point.
pub(crate) fn figure(point: &str, text: &str) {
    println!("{point}: {text}");
}
