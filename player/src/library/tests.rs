use super::{AGE_MIN, Library};
use keha_fs::{CreateOptions, StreamName, Writer, WriterOptions, create};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
