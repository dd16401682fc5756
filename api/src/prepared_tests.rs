//! What is kept of prepared files: given again where it would be the same again, in so much memory and for so long.

use super::*;
use crate::testing::{NOON, footage};
use axum::response::IntoResponse;
use keha_fs::{EraseRequest, StreamName, TimeRange, Volume, WallTime, Writer, WriterOptions};
use keha_player::footage::{Format, prepare};
use keha_player::library::Library;
use keha_player::timeline::Index;
use std::sync::Barrier;
use tempfile::TempDir;

/// A volume with ten seconds of one stream.
struct Footage {
    _directory: TempDir,
    volume: Volume,
    /// How often something was prepared of it.
    prepared: AtomicUsize,
}

impl Footage {
    fn new() -> Footage {
        let directory = tempfile::tempdir().expect("a directory");
        let (_, path) = footage(directory.path(), &["door"]);
        let volume = Volume::open(&path).expect("a volume");
        Footage { _directory: directory, volume, prepared: AtomicUsize::new(0) }
    }

    /// The first so many seconds.
    fn asked(&self, seconds: i64) -> Asked {
        let range = TimeRange { from: Some(NOON), to: Some(NOON.plus_ns(seconds * 1_000_000_000)) };
        let name = StreamName::new("door").expect("a name");
        let id = self.volume.stream(&name).expect("it is there").id;
        let standing = Standing::of(&Index::new(&self.volume), &[id], range);
        assert!(standing.is_some());
        let request = FootageRequest { streams: vec![name], range, format: Format::Mp4, part: None };
        Asked {
            volumes: vec![self.volume.info().id],
            request,
            standing: standing.map(|standing| vec![standing]),
        }
    }

    fn prepare(&self, desk: &Arc<Desk>, asked: &Asked) -> Result<Arc<Kept>, Problem> {
        desk.prepare(asked.clone(), &|| true, |_| {
            self.prepared.fetch_add(1, Ordering::SeqCst);
            prepare(&self.volume, &asked.request)
        })
    }

    fn count(&self) -> usize {
        self.prepared.load(Ordering::SeqCst)
    }

    fn bytes(&self, asked: &Asked) -> u64 {
        let prepared = prepare(&self.volume, &asked.request).expect("it is there");
        prepared.memory_bytes() + asked.standing.iter().flatten().map(Standing::memory_bytes).sum::<u64>()
    }
}

fn status<T>(result: Result<T, Problem>) -> Option<StatusCode> {
    result.err().map(|problem| problem.into_response().status())
}

fn taken(desk: &Desk) -> u64 {
    desk.taken.load(Ordering::SeqCst)
}

#[test]
fn prepared_files_take_so_much_memory_and_give_it_back() {
    let desk = Arc::new(Desk { memory_max: 100, ..Desk::default() });
    let first = desk.take(60).expect("room");
    assert_eq!(status(desk.take(41)), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(status(desk.take(101)), Some(StatusCode::UNPROCESSABLE_ENTITY), "it never will have room");
    let second = desk.take(40).expect("room");
    drop(first);
    drop(second);
    assert_eq!(taken(&desk), 0);
    assert!(desk.take(100).is_ok());
}

#[test]
fn a_file_that_cannot_be_prepared_takes_nothing() {
    let (desk, footage) = (Arc::new(Desk::default()), Footage::new());
    for _ in 0..2 * AT_ONCE_MAX {
        let refused = desk.prepare(footage.asked(1), &|| true, |_| Err(keha_player::Error::Cancelled));
        assert!(refused.is_err());
    }
    let state = desk.state();
    assert_eq!((taken(&desk), state.making.len(), state.kept.len()), (0, 0, 0));
}

#[test]
fn what_was_prepared_is_given_again_for_as_long_as_it_stands() {
    let (desk, footage) = (Arc::new(Desk::default()), Footage::new());
    let asked = footage.asked(5);
    let tags: Vec<String> =
        (0..3).map(|_| footage.prepare(&desk, &asked).expect("a file").entity_tag()).collect();
    assert_eq!(footage.count(), 1);
    assert!(tags.iter().all(|tag| *tag == tags[0]));
    // Something of it was overwritten, say.
    let standing = Standing::of(&Index::default(), &[], asked.request.range).map(|standing| vec![standing]);
    let now = Asked { standing, ..asked.clone() };
    assert!(now.standing.is_some() && now != asked);
    footage.prepare(&desk, &now).expect("a file");
    assert_eq!(footage.count(), 2);
    assert_eq!(desk.state().kept.len(), 1, "the one before is not kept beside it");
    footage.prepare(&desk, &now).expect("a file");
    assert_eq!(footage.count(), 2);
    // Of another volume, another range, another form.
    let mut mkv = now.clone();
    mkv.request.format = Format::Mkv;
    for other in [Asked { volumes: vec![VolumeId::default()], ..now }, footage.asked(6), mkv] {
        let before = footage.count();
        footage.prepare(&desk, &other).expect("a file");
        assert_eq!(footage.count(), before + 1);
    }
}

#[test]
fn what_may_not_stand_is_prepared_for_each() {
    let (desk, footage) = (Arc::new(Desk::default()), Footage::new());
    let asked = Asked { standing: None, ..footage.asked(5) };
    let files: Vec<_> = (0..3).map(|_| footage.prepare(&desk, &asked).expect("a file")).collect();
    assert_eq!((footage.count(), desk.state().kept.len()), (3, 0));
    drop(files);
    assert_eq!(taken(&desk), 0);
}

#[test]
fn what_the_disk_does_not_have_is_prepared_anew() {
    let (desk, footage) = (Arc::new(Desk::default()), Footage::new());
    let asked = footage.asked(5);
    footage.prepare(&desk, &asked).expect("a file").spoil();
    footage.prepare(&desk, &asked).expect("a file");
    assert_eq!((footage.count(), desk.state().kept.len()), (2, 1));
}

#[test]
fn room_is_taken_from_what_is_not_used_and_was_asked_for_longest_ago() {
    let footage = Footage::new();
    let each = [4, 5, 6, 7].map(|seconds| footage.asked(seconds));
    let most = each.iter().map(|asked| footage.bytes(asked)).max().expect("four");
    let desk = Arc::new(Desk { memory_max: 3 * most, ..Desk::default() });
    let used = footage.prepare(&desk, &each[0]).expect("a file");
    for asked in [&each[1], &each[2], &each[1]] {
        footage.prepare(&desk, asked).expect("a file");
    }
    assert_eq!(footage.count(), 3);
    // The first is in use, the second was asked for last.
    footage.prepare(&desk, &each[3]).expect("there is room");
    assert!(taken(&desk) <= desk.memory_max);
    for (asked, again) in [(&each[0], 0), (&each[1], 0), (&each[3], 0), (&each[2], 1)] {
        let before = footage.count();
        footage.prepare(&desk, asked).expect("a file");
        assert_eq!(footage.count() - before, again, "{:?}", asked.request.range);
    }
    drop(used);
    let all: Vec<_> = [&each[2], &each[3]].map(|asked| footage.prepare(&desk, asked)).into();
    let third = footage.prepare(&desk, &each[0]);
    assert!(all.iter().chain([&third]).all(Result::is_ok));
    assert_eq!(status(footage.prepare(&desk, &each[1])), Some(StatusCode::SERVICE_UNAVAILABLE));
    drop((all, third));
    assert!(footage.prepare(&desk, &each[1]).is_ok());
}

#[test]
fn so_many_are_kept_and_for_so_long() {
    let (desk, footage) = (Arc::new(Desk::default()), Footage::new());
    let asked = footage.asked(1);
    let of = |number: i64| {
        let mut asked = asked.clone();
        asked.request.range.to = Some(NOON.plus_ns(1_000_000_000 + number));
        asked
    };
    for number in 0..KEPT_MAX as i64 + 3 {
        footage.prepare(&desk, &of(number)).expect("a file");
    }
    let mut state = desk.state();
    assert_eq!(state.kept.len(), KEPT_MAX);
    assert!(!state.kept.iter().any(|laid| laid.asked == of(0)), "the oldest went");
    state.forget(Instant::now());
    assert_eq!(state.kept.len(), KEPT_MAX);
    state.forget(Instant::now() + FOR);
    assert!(state.kept.is_empty());
    drop(state);
    assert_eq!(taken(&desk), 0);
}

#[test]
fn who_asks_for_what_is_being_prepared_waits_for_it() {
    let (desk, footage) = (Arc::new(Desk::default()), Footage::new());
    let asked = footage.asked(5);
    let (begun, may_end) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            desk.prepare(asked.clone(), &|| false, |is_wanted| {
                begun.wait();
                may_end.wait();
                // Whoever asked first is gone; others wait.
                assert!(is_wanted());
                footage.prepared.fetch_add(1, Ordering::SeqCst);
                prepare(&footage.volume, &asked.request)
            })
        });
        begun.wait();
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| footage.prepare(&desk, &asked))).collect();
        let waiting =
            || desk.state().making.iter().map(|one| one.waiting.load(Ordering::SeqCst)).sum::<usize>();
        while waiting() < 3 {
            std::thread::yield_now();
        }
        may_end.wait();
        let file = first.join().expect("no panic").expect("a file");
        for other in others {
            let given = other.join().expect("no panic").expect("the same");
            assert!(Arc::ptr_eq(&file, &given));
        }
    });
    assert_eq!(footage.count(), 1);
}

#[test]
fn where_preparing_fails_the_next_who_waits_tries() {
    let (desk, footage) = (Arc::new(Desk::default()), Footage::new());
    let asked = footage.asked(5);
    let (begun, may_end) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            desk.prepare(asked.clone(), &|| true, |_| {
                begun.wait();
                may_end.wait();
                Err(keha_player::Error::Cancelled)
            })
        });
        begun.wait();
        let other = scope.spawn(|| footage.prepare(&desk, &asked));
        // One whose client is gone does not wait.
        let gone = desk.prepare(asked.clone(), &|| false, |_| panic!("it is being prepared"));
        assert!(gone.is_err());
        may_end.wait();
        assert!(first.join().expect("no panic").is_err());
        assert!(other.join().expect("no panic").is_ok());
    });
    assert_eq!(footage.count(), 1);
}

#[tokio::test]
async fn what_was_erased_meanwhile_is_not_given() {
    let directory = tempfile::tempdir().expect("a directory");
    let (name, path) = footage(directory.path(), &["door"]);
    let library = Library::new([(name, path.clone())]);
    let app = crate::testing::app((directory.path(), ""), false, Arc::default(), library);
    let at = |seconds: i64| NOON.plus_ns(seconds * 1_000_000_000);
    let stream = StreamName::new("door").expect("a name");
    let ask = |to: Option<WallTime>| {
        let range = TimeRange { from: Some(at(0)), to };
        let request =
            FootageRequest { streams: vec![stream.clone()], range, format: Format::Mp4, part: None };
        crate::filed::filed(&app, &request, &|| true).map(|filed| filed.prepared)
    };
    let file = |to| ask(to).expect("a file");
    assert!(Arc::ptr_eq(&file(Some(at(5))), &file(Some(at(5)))));
    assert!(!Arc::ptr_eq(&file(None), &file(None)), "what is open may go on");
    let writer = Writer::open(&path, WriterOptions::default(), Box::new(|_| {})).expect("a writer");
    writer.erase(EraseRequest { stream: stream.clone(), from: at(1), to: at(2) }).expect("erased");
    writer.close().expect("closed");
    app.services.library.outdate();
    assert_eq!(app.desk.state().kept.len(), 1);
    // All of it stood in one chunk.
    assert_eq!(status(ask(Some(at(5)))), Some(StatusCode::NOT_FOUND));
}
