//! The marks of named exports ([`keha_player::footage::Marks`]), a file each in `exports/` of the state directory, so that a download that
//! is gone on with does not cost what was downloaded before, also after the server was started again.
//!
//! They are a help, and nothing else: without them a range is made from the beginning. So what cannot be written is not written, and what
//! does not read back as it was written (its first line is the hash of what follows) is not there. One that is torn by a crash does not
//! read back. Marks of exports that are gone are removed as those go, and when the server starts.

use keha_player::footage::Marks;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most bytes of a file of marks: of those that would take more every second one goes, as often as that takes.
const BYTES_MAX: u64 = 4 << 20;
/// What the files are called behind the dot.
const EXTENSION: &str = "marks";
/// And before they are whole.
const NEW: &str = "new";

/// The files.
pub(crate) struct MarkFiles {
    directory: PathBuf,
}

impl MarkFiles {
    /// Those in a state directory, of these exports alone.
    pub(crate) fn open(state: &Path, is_known: impl Fn(&str) -> bool) -> MarkFiles {
        let directory = state.join("exports");
        let all = fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in all {
            let id = path.file_stem().and_then(|id| id.to_str());
            let is_left_over = match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) => !id.is_some_and(&is_known),
                // A server that ended while it wrote left it.
                Some(NEW) => true,
                _ => false,
            };
            if is_left_over {
                let _gone_already = fs::remove_file(&path);
            }
        }
        MarkFiles { directory }
    }

    /// Keeps the marks of an export. Blocks.
    pub(crate) fn keep(&self, id: &str, marks: &Marks) {
        let Some(bytes) = written(marks.clone(), BYTES_MAX) else { return };
        let (new, path) = (self.path(id).with_extension(NEW), self.path(id));
        let written = fs::create_dir_all(&self.directory)
            .and_then(|()| fs::write(&new, bytes))
            .and_then(|()| fs::rename(&new, &path));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "the marks of an export are not kept: going on with it takes longer");
        }
    }

    /// The marks of an export, if they are there and whole. Blocks.
    pub(crate) fn read(&self, id: &str) -> Option<Marks> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(id)).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (hash, text) = (bytes.get(..end)?, bytes.get(end + 1..)?);
        let is_whole = hash == blake3::hash(text).to_hex().as_bytes();
        is_whole.then(|| serde_json::from_slice(text).ok())?
    }

    /// The export is gone.
    pub(crate) fn forget(&self, id: &str) {
        let _none = fs::remove_file(self.path(id));
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.{EXTENSION}"))
    }
}

/// Marks as they are written, in at most so many bytes; `None` where there are none.
fn written(mut marks: Marks, bytes_max: u64) -> Option<Vec<u8>> {
    while !marks.is_empty() {
        let text = serde_json::to_vec(&marks).ok()?;
        let mut bytes = blake3::hash(&text).to_hex().as_bytes().to_vec();
        bytes.push(b'\n');
        bytes.extend_from_slice(&text);
        if bytes.len() as u64 <= bytes_max {
            return Some(bytes);
        }
        marks.thin();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOON, footage};
    use keha_fs::{StreamName, TimeRange, Volume};
    use keha_player::footage::{FootageRequest, Format, prepare};

    fn marks(directory: &Path) -> Marks {
        let (_, path) = footage(directory, &["door"]);
        let volume = Volume::open(&path).expect("a volume");
        let range = TimeRange { from: Some(NOON), to: None };
        let streams = vec![StreamName::new("door").expect("a name")];
        let request = FootageRequest { streams, range, format: Format::Mkv, part: None };
        let prepared = prepare(&volume, &request).expect("a file");
        prepared.measure_while(&volume, 1, &|| true).expect("measured").1
    }

    #[test]
    fn marks_are_there_as_long_as_their_export_and_only_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let marks = marks(directory.path());
        assert!(marks.len() > 3);
        let files = MarkFiles::open(directory.path(), |_| true);
        for id in ["a", "b", "c"] {
            assert_eq!(files.read(id), None);
            files.keep(id, &marks);
            assert_eq!(files.read(id).as_ref(), Some(&marks));
        }
        files.forget("a");
        assert_eq!(files.read("a"), None);
        let torn = files.path("b").with_extension(NEW);
        fs::write(&torn, b"half").expect("written");
        let again = MarkFiles::open(directory.path(), |id| id == "b");
        assert_eq!((again.read("b").as_ref(), again.read("c")), (Some(&marks), None));
        assert!(!torn.exists(), "what a crash left");
        let whole = fs::read(again.path("b")).expect("there");
        for cut in [0, 10, 64, 65, whole.len() - 1] {
            fs::write(again.path("b"), whole.get(..cut).expect("shorter")).expect("written");
            assert_eq!(again.read("b"), None, "{cut}");
        }
        let mut changed = whole;
        let digit = changed.iter().rposition(u8::is_ascii_digit).expect("a number");
        changed[digit] ^= 1;
        fs::write(again.path("b"), changed).expect("written");
        assert_eq!(again.read("b"), None, "another number");
    }

    /// Of a file whose marks took more than is read, they were written and never good for anything.
    #[test]
    fn marks_that_take_too_much_are_fewer() {
        let directory = tempfile::tempdir().expect("a directory");
        let marks = marks(directory.path());
        let files = MarkFiles::open(directory.path(), |_| true);
        let all = written(marks.clone(), u64::MAX).expect("some").len() as u64;
        assert_eq!(written(marks.clone(), all).map(|bytes| bytes.len() as u64), Some(all));
        let fewer = written(marks.clone(), all - 1).expect("some");
        assert!((fewer.len() as u64) < all);
        fs::create_dir_all(&files.directory).expect("made");
        fs::write(files.path("a"), fewer).expect("written");
        let read = files.read("a").expect("whole");
        assert!(!read.is_empty() && read.len() <= marks.len().div_ceil(2), "{}", read.len());
        assert_eq!(written(marks, 100), None, "not even one");
    }
}
