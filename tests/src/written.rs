//! Volumes written without a camera: what one sent is taken from a volume, and written into another as often and when it is to be.
//!
//! Must not live here: what is asked of such a volume.

use anyhow::{Context, Result};
use keha_fs::{Anchor, Configuration, Item, Rejected, Sample, StoredSample, StreamWriter, TimeRange, Volume};
use std::path::Path;
use std::time::Duration;

/// What the only stream of a volume begins with, and its samples.
pub struct Recorded {
    /// Its first configuration.
    pub configuration: Configuration,
    /// Its first anchor.
    pub anchor: Anchor,
    /// All its samples.
    pub samples: Vec<StoredSample>,
}

impl Recorded {
    /// Of a volume that nobody writes any more.
    pub fn of(path: &Path) -> Result<Recorded> {
        let volume = Volume::open(path)?;
        let streams = volume.streams();
        let stream = streams.first().context("nothing was recorded")?;
        let mut cursor = volume.read(stream.id, TimeRange::default())?;
        let (mut configuration, mut anchor, mut samples) = (None, None, Vec::new());
        while let Some(item) = cursor.next_item()? {
            match item {
                Item::Configuration(_, known) => configuration = Some((*known).clone()),
                Item::Anchor(known) => anchor = anchor.or(Some(known)),
                Item::Sample(sample) => samples.push(sample),
                _ => {}
            }
        }
        Ok(Recorded {
            configuration: configuration.context("no configuration")?,
            anchor: anchor.context("no anchor")?,
            samples,
        })
    }
}

/// Writes a sample; waits where the writer has no room for it.
pub fn push(stream: &mut StreamWriter, sample: &Sample) -> Result<()> {
    loop {
        match stream.push(sample.clone()) {
            Ok(()) => return Ok(()),
            Err(Rejected::Full) => std::thread::sleep(Duration::from_millis(5)),
            Err(other) => return Err(other.into()),
        }
    }
}
