//! What the player's tests share: real clips, checks by other programs, and a verifier of manifests that trusts nothing
//! but the Matroska file and the manifest's text.

pub mod check;
pub mod clip;
pub mod verify;
