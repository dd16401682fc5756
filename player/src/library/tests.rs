use super::shelf::{AGE_MIN, Patience};
use super::{Library, shelf::Shelf};
use keha_fs::{CreateOptions, StreamName, Volume, Writer, WriterOptions, create};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ANY_AGE: Duration = Duration::from_secs(3600);

fn volume(directory: &Path, name: &str, streams: &[&str]) -> (String, PathBuf) {
    let path = directory.join(name);
    let options = CreateOptions { size_bytes: 64 << 20, ..CreateOptions::default() };
    create(&path, &options, &mut |_, _| std::ops::ControlFlow::Continue(())).expect("a volume");
    let writer = Writer::open(&path, WriterOptions::default(), Box::new(|_| {})).expect("a writer");
    for stream in streams {
        writer.stream(&StreamName::new(stream).expect("a name")).expect("admitted");
    }
    writer.close().expect("closed");
    (name.to_owned(), path)
}

#[test]
fn a_missing_volume_is_told_and_the_others_are_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let (attic, missing) =
        (volume(directory.path(), "attic", &["front"]), ("gone".to_owned(), directory.path().join("x")));
    let library = Library::new([missing, attic]);
    let all = library.snapshots(ANY_AGE);
    assert!(all[0].1.is_err() && all[1].1.is_ok());
    let found = library.find(&StreamName::new("front").expect("a name"), ANY_AGE).expect("found");
    assert_eq!(found.snapshot.name, "attic");
    // It may be in the one that is missing.
    assert!(matches!(
        library.find(&StreamName::new("yard").expect("a name"), ANY_AGE),
        Err(crate::Error::Volume(keha_fs::Error::Io { .. }))
    ));
    let there = volume(directory.path(), "x", &["yard"]);
    assert!(there.1.exists());
    library.outdate();
    assert!(library.find(&StreamName::new("yard").expect("a name"), ANY_AGE).is_ok());
    assert!(library.snapshot("nowhere", ANY_AGE).is_err());
}

#[test]
fn a_snapshot_serves_until_it_is_too_old() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = Library::new([volume(directory.path(), "attic", &["front"])]);
    let first = library.snapshot("attic", ANY_AGE).expect("a snapshot");
    assert!(Arc::ptr_eq(
        &first,
        &library.snapshot("attic", Duration::ZERO).expect("the same: it is younger than the least age")
    ));
    let mut again = std::iter::repeat_with(|| library.snapshot("attic", AGE_MIN).expect("a snapshot"));
    let newer = again.find(|again| !Arc::ptr_eq(again, &first)).expect("a newer one, in time");
    assert_eq!(newer.volume.info(), first.volume.info());
}

#[test]
fn a_change_is_told_however_young_the_snapshot_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let library = Library::new([volume(directory.path(), "attic", &["front"])]);
    let first = library.snapshot("attic", ANY_AGE).expect("a snapshot");
    library.outdate();
    let second = library.snapshot("attic", ANY_AGE).expect("a snapshot");
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &library.snapshot("attic", ANY_AGE).expect("a snapshot")));
}

#[test]
fn volumes_that_stay_keep_their_snapshots() {
    let directory = tempfile::tempdir().expect("a directory");
    let (attic, cellar) = (volume(directory.path(), "attic", &[]), volume(directory.path(), "cellar", &[]));
    let library = Library::new([attic.clone()]);
    let first = library.snapshot("attic", ANY_AGE).expect("a snapshot");
    library.set_volumes([cellar, attic]);
    assert_eq!(library.volumes(), ["cellar", "attic"]);
    assert!(Arc::ptr_eq(&first, &library.snapshot("attic", ANY_AGE).expect("a snapshot")));
}

/// A library whose volumes open as said.
fn opened(
    volumes: impl IntoIterator<Item = (String, PathBuf)>,
    open: impl Fn(&Path) -> keha_fs::Result<Volume> + Send + Sync + 'static,
) -> Library {
    let library =
        Library { open: Arc::new(move |path: &Path, _: Option<&Volume>| open(path)), ..Library::default() };
    library.set_volumes(volumes);
    library
}

fn shelf(library: &Library, name: &str) -> Arc<Shelf> {
    library.shelves().into_iter().find(|shelf| shelf.name == name).expect("a volume")
}

const AT_ONCE: Patience = Patience::SinceBegun(Duration::ZERO);

#[test]
fn a_volume_that_hangs_costs_one_thread_and_nobody_waits_for_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let hung = Arc::new(Mutex::new(()));
    let tries = Arc::new(AtomicUsize::new(0));
    let (gate, count) = (Arc::clone(&hung), Arc::clone(&tries));
    let library = opened([volume(directory.path(), "attic", &["front"])], move |path| {
        count.fetch_add(1, Ordering::SeqCst);
        drop(gate.lock());
        Volume::open(path)
    });
    let disk = hung.lock().expect("free");
    let attic = shelf(&library, "attic");
    for _ in 0..20 {
        let error = attic.snapshot(ANY_AGE, AT_ONCE).err().expect("it hangs");
        assert!(matches!(&error, crate::Error::Busy(why) if why.contains("attic")), "{error}");
    }
    drop(disk);
    let first = library.snapshot("attic", ANY_AGE).expect("it answers again");
    assert_eq!(tries.load(Ordering::SeqCst), 1, "one thread for all who asked");
    // And while the next one is taken, the last one serves.
    let disk = hung.lock().expect("free");
    let stale = || attic.snapshot(Duration::ZERO, AT_ONCE);
    let mut answers = std::iter::repeat_with(|| (stale(), tries.load(Ordering::SeqCst)));
    let (last, _) = answers.find(|(answer, tries)| answer.is_err() || *tries == 2).expect("in time");
    // Who begins it waits for it, and this one had no patience.
    let served = last.or_else(|_| stale()).expect("the last one serves");
    assert!(Arc::ptr_eq(&served, &first));
    drop(disk);
}

#[test]
fn a_stream_that_is_found_does_not_wait_for_another_volume_that_hangs() {
    let directory = tempfile::tempdir().expect("a directory");
    let hung = Arc::new(Mutex::new(()));
    let gate = Arc::clone(&hung);
    let (attic, cellar) =
        (volume(directory.path(), "attic", &["front"]), volume(directory.path(), "cellar", &["yard"]));
    let library = opened([cellar, attic], move |path| {
        if path.ends_with("cellar") {
            drop(gate.lock());
        }
        Volume::open(path)
    });
    let _disk = hung.lock().expect("free");
    library.snapshot("attic", ANY_AGE).expect("the other one answers");
    let name = StreamName::new("front").expect("a name");
    let found = library.find(&name, ANY_AGE).expect("found in the one that answers");
    assert_eq!(found.snapshot.name, "attic");
}

#[test]
fn a_volume_that_fails_is_not_tried_by_each_who_asks() {
    let directory = tempfile::tempdir().expect("a directory");
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let library = opened([("gone".to_owned(), directory.path().join("x"))], move |path| {
        count.fetch_add(1, Ordering::SeqCst);
        Volume::open(path)
    });
    let before = Instant::now();
    for _ in 0..50 {
        let error = library.snapshot("gone", Duration::ZERO).err().expect("it is missing");
        assert!(matches!(error, crate::Error::Volume(keha_fs::Error::Io { .. })), "{error}");
    }
    let seconds = before.elapsed().as_secs() as usize;
    assert!(tries.load(Ordering::SeqCst) <= 1 + seconds, "{tries:?} tries in {seconds} s");
    library.outdate();
    assert!(library.snapshot("gone", ANY_AGE).is_err());
    assert!(tries.load(Ordering::SeqCst) >= 2, "a change is looked at at once");
}

#[test]
fn the_same_file_is_looked_at_again_and_another_one_is_opened() {
    let directory = tempfile::tempdir().expect("a directory");
    let again = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&again);
    let open = Library::default().open;
    let counted = move |path: &Path, before: Option<&Volume>| {
        seen.lock().expect("no panic").push(before.is_some());
        open(path, before)
    };
    let library = Library { open: Arc::new(counted), ..Library::default() };
    let attic = volume(directory.path(), "attic", &["front"]);
    library.set_volumes([attic.clone()]);
    let names = || {
        library.outdate();
        let snapshot = library.snapshot("attic", ANY_AGE).expect("a snapshot");
        snapshot.streams.iter().map(|stream| stream.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((names(), names()), (vec!["front".to_owned()], vec!["front".to_owned()]));
    let writer = Writer::open(&attic.1, WriterOptions::default(), Box::new(|_| {})).expect("a writer");
    writer.stream(&StreamName::new("yard").expect("a name")).expect("admitted");
    assert_eq!(names(), ["front", "yard"]);
    writer.close().expect("closed");
    assert_eq!(names(), ["front", "yard"]);
    let (_, other) = volume(directory.path(), "other", &["gate"]);
    std::fs::rename(other, &attic.1).expect("it is replaced");
    assert_eq!(names(), ["gate"]);
    assert_eq!(*again.lock().expect("no panic"), [false, true, true, true, false]);
}

#[test]
fn a_volume_that_was_left_behind_is_missing_to_those_alone_who_are_in_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (attic, cellar) =
        (volume(directory.path(), "attic", &["front"]), volume(directory.path(), "cellar", &["yard"]));
    let library = Library::new([attic, cellar.clone()]);
    assert_eq!(library.all(ANY_AGE).len(), 2);
    std::fs::rename(&cellar.1, cellar.1.with_extension("away")).expect("moved");
    library.forget("cellar");
    let name = |name| StreamName::new(name).expect("a name");
    let missing = |stream| {
        let whole = library.find_any(&name(stream), ANY_AGE);
        whole.missing().iter().map(|missing| (missing.volume.clone(), missing.known.is_some())).collect()
    };
    let [front, yard, nobody]: [Vec<(String, bool)>; 3] = ["front", "yard", "nobody"].map(missing);
    assert_eq!((front, yard, nobody), (Vec::new(), vec![("cellar".to_owned(), true)], Vec::new()));
    assert!(library.find_all(&name("front"), ANY_AGE).is_ok());
    let all = library.all(ANY_AGE);
    let all: Vec<(&str, usize, usize)> =
        all.iter().map(|whole| (whole.name.as_str(), whole.parts().len(), whole.missing().len())).collect();
    assert_eq!(all, [("front", 1, 0), ("yard", 0, 1)]);
    std::fs::rename(cellar.1.with_extension("away"), &cellar.1).expect("moved");
    library.outdate();
    assert!(library.find_all(&name("yard"), ANY_AGE).is_ok_and(|whole| whole.missing().is_empty()));
}

/// It was given as if it were alive, with its device held open.
#[test]
fn what_was_being_read_of_a_volume_when_it_was_left_behind_is_given_to_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let hung = Arc::new(Mutex::new(()));
    let (gate, read) = (Arc::clone(&hung), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&read);
    let library = opened([volume(directory.path(), "attic", &["front"])], move |path| {
        let opened = Volume::open(path);
        count.fetch_add(1, Ordering::SeqCst);
        drop(gate.lock());
        opened
    });
    let attic = shelf(&library, "attic");
    let disk = hung.lock().expect("free");
    attic.begin(ANY_AGE);
    while read.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    std::fs::remove_file(directory.path().join("attic")).expect("gone");
    library.forget("attic");
    drop(disk);
    let error = library.snapshot("attic", ANY_AGE).err().expect("it is dead");
    assert!(matches!(error, crate::Error::Volume(keha_fs::Error::Io { .. })), "{error}");
    // What was read tells what it had all the same.
    let whole = library.find_any(&StreamName::new("front").expect("a name"), ANY_AGE);
    assert!(whole.missing().first().is_some_and(|missing| missing.known.is_some()));
}
