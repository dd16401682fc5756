//! The timeline over streams that are made up: rows and outlines from a list of blocks, no disk.

mod calendar;
mod joining;
mod made_up;
mod reasons;
