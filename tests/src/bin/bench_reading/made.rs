//! Volumes that are made for this, of what one camera sent, over and over.

use anyhow::{Context, Result, ensure};
use keha_fs::{BlockState, CreateOptions, StreamId, StreamRow, Volume, WallTime, Writer, WriterOptions};
use keha_tests::written::{Recorded, push};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const STREAMS: usize = 60;
pub(crate) const S: i64 = 1_000_000_000;
const BLOCK_BYTES: u32 = 32 << 20;
const LABEL: &str = "bench_reading";

/// The first moment of all streams.
pub(crate) const BEGIN: WallTime = WallTime(1_780_000_000 * S);

/// A volume that is written whole.
pub(crate) struct Made {
    pub(crate) path: PathBuf,
    /// The same for other programs.
    pub(crate) node: PathBuf,
    pub(crate) size_bytes: u64,
    pub(crate) streams: Vec<StreamId>,
}

impl Made {
    /// A look at it as after a start: nothing of it is in memory.
    pub(crate) fn open_cold(&self) -> Result<Volume> {
        forget(&self.node)?;
        Ok(Volume::open(&self.path)?)
    }
}

/// Options of a writer by which each second of a camera is a chunk, as when it is recorded.
pub(crate) fn options(recorded: &Recorded) -> WriterOptions {
    let seconds = recorded.lap_ticks() / i64::from(recorded.anchor.timescale);
    let chunk_bytes = (recorded.bytes() / seconds.max(1) as u64) as usize;
    WriterOptions { chunk_bytes, ..WriterOptions::default() }
}

/// Makes a volume in which nothing stands.
pub(crate) fn create(path: &Path, size_bytes: u64, streams: usize) -> Result<()> {
    let options = CreateOptions {
        size_bytes,
        block_bytes: Some(BLOCK_BYTES),
        streams_max: Some(u32::try_from(streams)?),
        label: LABEL.to_owned(),
        ..CreateOptions::default()
    };
    keha_fs::create(path, &options, &mut |_, _| ControlFlow::Continue(()))?;
    Ok(())
}

/// A ring of sixty streams, one lap long. One that stands there already is taken as it is.
pub(crate) fn sixty(path: &Path, recorded: &Recorded, bytes: u64) -> Result<Made> {
    let stands = Volume::open(path).is_ok_and(|volume| volume.info().label == LABEL);
    if !stands {
        let device = keha_fs::partition::is_device(path)?;
        create(path, if device { 0 } else { bytes }, STREAMS)?;
        let bytes = Volume::open(path)?.info().size_bytes;
        let writer = Writer::open(path, options(recorded), Box::new(|_| {}))?;
        let streams = (0..STREAMS).map(|number| recorded.begin(&writer, &format!("cam{number:02}"), BEGIN));
        let mut streams = streams.collect::<Result<Vec<_>>>()?;
        let (mut pushed, mut number) = (0, 0);
        while pushed < bytes {
            let sample = recorded.sample(number)?;
            for stream in &mut streams {
                push(stream, &sample)?;
                pushed += sample.data.iter().map(|data| data.len() as u64).sum::<u64>();
            }
            number += 1;
        }
        drop(streams);
        writer.close()?;
    }
    let volume = Volume::open(path)?;
    let mut streams: Vec<StreamId> = volume.streams().iter().map(|stream| stream.id).collect();
    ensure!(streams.len() == STREAMS, "{} has {} streams", path.display(), streams.len());
    streams.rotate_left(7);
    let node = keha_fs::partition::at(path).ok().flatten().map_or(path.to_owned(), |there| there.device);
    Ok(Made { path: path.to_owned(), node, size_bytes: volume.info().size_bytes, streams })
}

/// The blocks of a stream that are full.
pub(crate) fn sealed(volume: &Volume, stream: StreamId) -> Vec<StreamRow> {
    let mut rows = volume.stream_rows(stream);
    rows.retain(|row| row.state == BlockState::Sealed && row.wall.is_some());
    rows
}

/// Puts a file out of the page cache, as far as the system lets it.
pub(crate) fn forget(path: &Path) -> Result<()> {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", path.to_str().context("no text")?));
    dd.args(["iflag=nocache", "count=0", "status=none"]);
    ensure!(dd.status()?.success(), "{dd:?} failed");
    Ok(())
}
