//! A recorder that is stopped while something is stuck.

use super::*;
use keha_fs::{CreateOptions, WriterOptions};
use std::ops::ControlFlow;

/// A task that hears nothing: it keeps its thread.
fn stuck(recorder: &Recorder, writer: &Writer, name: &str) {
    let name = StreamName::new(name).expect("a name");
    let url = CameraUrl::parse("testsrc://").expect("an address");
    let stream = writer.stream(&name).expect("a stream");
    let (id, tail) = (stream.id(), stream.tail());
    let cell = Arc::new(Mutex::new(StatusCell::new(name.clone(), url.clone(), WallTime(0))));
    let handle = recorder.runtime.as_ref().expect("threads").spawn(async {
        std::thread::sleep(Duration::from_secs(3600));
    });
    let task = Some(Task { stop: watch::channel(false).0, handle });
    lock(&recorder.members).push(Member { camera: name.clone(), name, id, url, cell, tail, task });
}

/// The promise of a server that ends within five seconds leaves one for the disk. Two streams here were waited for twice, for six
/// seconds each time, and the threads for one more.
#[test]
fn a_stream_that_is_stuck_is_left_behind_in_time_and_nothing_begins_any_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.ring");
    let options = CreateOptions { size_bytes: 24 << 20, ..CreateOptions::default() };
    keha_fs::create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("created");
    let writer = Writer::open(&path, WriterOptions::default(), Box::new(|_| ())).expect("open");
    let recorder = Recorder::with_room(64).expect("threads");
    ["a", "b"].into_iter().for_each(|name| stuck(&recorder, &writer, name));
    let camera = Camera::new("c", "testsrc://").expect("a camera");
    recorder.add(&writer, &camera).expect("recorded");

    let began = std::time::Instant::now();
    recorder.tell_to_stop();
    // A name that is not known yet: a known one would be refused before anybody looks at that.
    let late = Camera::new("d", "testsrc://").expect("a camera");
    assert!(matches!(recorder.add(&writer, &late), Err(StartError::Stopping)));
    assert_eq!(recorder.status().len(), 3, "it is not a member either");
    let states: Vec<_> = recorder.stop().into_iter().map(|stream| stream.state).collect();
    assert_eq!(states.last(), Some(&crate::StreamState::Stopped), "what is not stuck has ended");
    writer.close().expect("all is on the disk");
    drop(recorder);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
