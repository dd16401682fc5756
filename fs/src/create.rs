//! Creating a volume.

use crate::error::Result;
use crate::report::VolumeInfo;
use std::path::Path;

/// How a volume shall be.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Its whole size in bytes.
    pub size_bytes: u64,
    /// The size of a block; chosen by the volume's size if `None`.
    pub block_bytes: Option<u32>,
    /// How many streams it must be able to have; chosen by the number of blocks if `None`.
    pub streams_max: Option<u32>,
    /// A name for people, at most 64 bytes.
    pub label: String,
    /// Write zeros over all of it, so that the first lap is as fast as the later ones.
    pub prewrite: bool,
}

/// What would be created, without touching anything.
pub fn plan(_options: &CreateOptions) -> Result<VolumeInfo> {
    todo!()
}

/// Creates a volume in a new file. `progress` is told bytes done and bytes in all.
pub fn create(_path: &Path, _options: &CreateOptions, _progress: &mut dyn FnMut(u64, u64)) -> Result<VolumeInfo> {
    todo!()
}
