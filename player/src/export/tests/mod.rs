//! Exports from an archive in memory, checked by reading the files back and by other programs.

mod files;
mod memory;
mod pictures;
mod planning;
mod properties;
mod trouble;

#[path = "../../../tests/support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "shared with the integration tests, where it is a crate's own")]
mod support;

use super::{Error, ExportReport, ExportRequest, Output, Result, export_from};
use keha_fs::{StreamName, TimeRange, WallTime};
use memory::MemoryArchive;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::LazyLock;
use support::clip::{AAC, Clip, H264, H265, MULAW, encode};
use support::verify::ReadBlock;
use tempfile::TempDir;

/// 2026-03-01T12:00:00Z and a crooked part, so that rounding shows.
const NOON: WallTime = WallTime(1_772_366_400_123_456_789);
const SECOND_NS: i64 = 1_000_000_000;

static AVC: LazyLock<Clip> = LazyLock::new(|| encode(4, "320x240", H264, AAC));
static HEVC: LazyLock<Clip> = LazyLock::new(|| encode(4, "320x240", H265, MULAW));
static LARGER: LazyLock<Clip> = LazyLock::new(|| encode(4, "640x360", H264, AAC));

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn request(streams: &[&str], from_ns: Option<i64>, to_ns: Option<i64>) -> ExportRequest {
    let at = |ns: i64| NOON.plus_ns(ns);
    ExportRequest {
        streams: streams.iter().map(|text| name(text)).collect(),
        range: TimeRange { from: from_ns.map(at), to: to_ns.map(at) },
        run: None,
    }
}

/// An export into `out.mkv` in a directory of its own.
struct Exported {
    directory: TempDir,
    result: Result<ExportReport>,
}

impl Exported {
    fn of(archive: &MemoryArchive, request: &ExportRequest) -> Exported {
        let directory = tempfile::tempdir().unwrap();
        let output = Output::File { path: directory.path().join("out.mkv"), force: false };
        let result = export_from(archive, request, output, &mut |_| ControlFlow::Continue(()));
        Exported { directory, result }
    }

    fn report(&self) -> &ExportReport {
        self.result.as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(&self) -> &Error {
        self.result.as_ref().expect_err("the export fails")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The names in the directory, sorted.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The blocks of one file, which other programs open without a warning and whose manifest holds.
    fn blocks(&self, name: &str) -> Vec<ReadBlock> {
        let path = self.path(name);
        support::check::opens_without_a_warning(&path);
        support::verify::manifest(&path, &self.path(&format!("{name}.json"))).unwrap();
        support::verify::blocks(&path)
    }
}
