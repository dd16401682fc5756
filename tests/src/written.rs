//! Volumes written without a camera: what one sent is taken from a volume, and written into another as often and when it is to be.
//!
//! Must not live here: what is asked of such a volume.

use anyhow::{Context, Result};
use keha_fs::{
    Anchor, Configuration, Item, Rejected, RunId, Sample, StoredSample, StreamName, StreamWriter, TimeRange,
    Uuid, Volume, WallTime, Writer,
};
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

impl Recorded {
    /// How many bytes its samples have.
    pub fn bytes(&self) -> u64 {
        self.samples.iter().map(|sample| sample.data.len() as u64).sum()
    }

    /// How long it takes, in ticks, with the last picture as long as the first.
    pub fn lap_ticks(&self) -> i64 {
        let at = |index: usize| self.samples.get(index).map_or(0, |sample| sample.ticks);
        at(self.samples.len().saturating_sub(1)) - at(0) + at(1) - at(0)
    }

    /// A stream of this name into which it can be written, its first sample at this moment.
    pub fn begin(&self, writer: &Writer, name: &str, from: WallTime) -> Result<StreamWriter> {
        let mut stream = writer.stream(&StreamName::new(name)?)?;
        stream.configure(&self.configuration)?;
        stream.begin_run(RunId(Uuid::new_v4()));
        stream.anchor(Anchor { ticks: 0, wall: from, ..self.anchor });
        Ok(stream)
    }

    /// The sample of this number, from 0, where it is played over and over.
    pub fn sample(&self, number: usize) -> Result<Sample> {
        let (lap, index) = (number / self.samples.len().max(1), number % self.samples.len().max(1));
        let sample = self.samples.get(index).context("nothing was recorded")?;
        let first = self.samples.first().map_or(0, |first| first.ticks);
        Ok(Sample {
            track: sample.track,
            ticks: sample.ticks - first + lap as i64 * self.lap_ticks(),
            flags: sample.flags,
            data: vec![sample.data.clone()],
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
