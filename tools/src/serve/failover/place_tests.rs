use super::{CameraFacts, Condition, Move, Refusal, VolumeFacts, plan};
use keha_fs::StreamName;
use std::collections::BTreeSet;

const NAMES: [&str; 3] = ["main", "archive", "third"];

fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("a name")
}

fn volume(at: usize, condition: usize, takes_over: bool, room: u64) -> VolumeFacts {
    let condition =
        [Condition::Good, Condition::Unclear, Condition::Failed("gone".into())][condition].clone();
    VolumeFacts {
        name: NAMES[at].to_owned(),
        condition,
        takes_over,
        bytes: 1000,
        known: BTreeSet::new(),
        room,
    }
}

fn camera(camera: &str, home: &str, at: &str, streams: usize) -> CameraFacts {
    let further = (1..streams).map(|further| name(&format!("{camera}/s{further}")));
    CameraFacts {
        name: camera.to_owned(),
        home: home.to_owned(),
        at: at.to_owned(),
        streams: std::iter::once(name(camera)).chain(further).collect(),
    }
}

/// What a world is when the moves were made.
fn after(
    volumes: &[VolumeFacts],
    cameras: &[CameraFacts],
    moves: &[Move],
) -> (Vec<VolumeFacts>, Vec<CameraFacts>) {
    let (mut volumes, mut cameras) = (volumes.to_vec(), cameras.to_vec());
    for made in moves {
        let camera = cameras.iter_mut().find(|camera| camera.name == made.camera).expect("it is known");
        let volume = volumes.iter_mut().find(|volume| volume.name == made.to).expect("it is known");
        let new = camera.streams.iter().filter(|stream| !volume.known.contains(*stream)).count() as u64;
        assert!(new <= volume.room, "{made:?} finds no room");
        volume.room -= new;
        volume.known.extend(camera.streams.iter().cloned());
        camera.at.clone_from(&made.to);
    }
    (volumes, cameras)
}

fn has_failed(volumes: &[VolumeFacts], name: &str) -> bool {
    let found = volumes.iter().find(|volume| volume.name == name);
    found.is_none_or(|volume| matches!(volume.condition, Condition::Failed(_)))
}

fn holds(volumes: &[VolumeFacts], cameras: &[CameraFacts], refused: &BTreeSet<Refusal>) {
    let world = || format!("{volumes:?} {cameras:?} {refused:?}");
    let moves = plan(volumes, cameras, refused);
    for made in &moves {
        let camera = cameras.iter().find(|camera| camera.name == made.camera).expect("it is known");
        assert_eq!(camera.at, made.from, "{}", world());
        assert!(
            has_failed(volumes, &made.from),
            "{} leaves a volume that is there: {}",
            made.camera,
            world()
        );
        let to = volumes.iter().find(|volume| volume.name == made.to).expect("it is known");
        assert_eq!(to.condition, Condition::Good, "{}", world());
        assert!(to.takes_over || to.name == camera.home, "{}", world());
        assert!(!refused.contains(&(made.camera.clone(), made.to.clone())), "{}", world());
    }
    let (volumes_after, cameras_after) = after(volumes, cameras, &moves);
    for camera in cameras_after.iter().filter(|camera| has_failed(volumes, &camera.at)) {
        for volume in volumes_after.iter().filter(|volume| volume.condition == Condition::Good) {
            let new = camera.streams.iter().filter(|stream| !volume.known.contains(*stream)).count() as u64;
            let takes = volume.takes_over || volume.name == camera.home;
            let is_refused = refused.contains(&(camera.name.clone(), volume.name.clone()));
            assert!(!takes || is_refused || new > volume.room, "{} waits: {}", camera.name, world());
        }
    }
    assert_eq!(plan(&volumes_after, &cameras_after, refused), [], "{}", world());
}

/// All volumes there can be, but for their size.
fn volumes(at: usize) -> impl Iterator<Item = VolumeFacts> + Clone {
    let all = (0..3).flat_map(|condition| [false, true].map(|takes_over| (condition, takes_over)));
    all.flat_map(move |(condition, takes_over)| {
        [0, 1, 2, 9].map(|room| volume(at, condition, takes_over, room))
    })
}

/// All cameras of a name there can be with so many volumes; the last place is a volume that is gone.
fn cameras(of: &'static str, volumes: usize) -> impl Iterator<Item = CameraFacts> + Clone {
    let places = move || NAMES.into_iter().take(volumes).chain(["gone"]);
    let all = NAMES.into_iter().take(volumes).flat_map(move |home| places().map(move |at| (home, at)));
    all.flat_map(move |(home, at)| [1, 2].map(|streams| camera(of, home, at, streams)))
}

#[test]
fn whatever_two_volumes_and_two_cameras_are_the_invariants_hold() {
    for first in volumes(0) {
        for second in volumes(1) {
            let both = [first.clone(), second.clone()];
            for front in cameras("front", 2) {
                for yard in cameras("yard", 2) {
                    holds(&both, &[front.clone(), yard], &BTreeSet::new());
                }
            }
        }
    }
}

#[test]
fn whatever_three_volumes_and_a_camera_are_the_invariants_hold_also_where_one_refused() {
    let refusals = [BTreeSet::new(), BTreeSet::from([("front".to_owned(), "archive".to_owned())])];
    for first in volumes(0) {
        for second in volumes(1) {
            for third in volumes(2).filter(|volume| volume.room != 1) {
                let all = [first.clone(), second.clone(), third];
                for front in cameras("front", 3).filter(|camera| camera.streams.len() == 2) {
                    refusals.iter().for_each(|refused| holds(&all, std::slice::from_ref(&front), refused));
                }
            }
        }
    }
}

fn goes(volumes: &[VolumeFacts], cameras: &[CameraFacts]) -> Vec<(String, String)> {
    let moves = plan(volumes, cameras, &BTreeSet::new());
    moves.into_iter().map(|made| (made.camera, made.to)).collect()
}

#[test]
fn cameras_of_a_volume_that_failed_are_spread_by_how_much_of_a_disk_each_stream_has() {
    let (main, archive, third) = (volume(0, 2, true, 9), volume(1, 0, true, 9), volume(2, 0, true, 9));
    let cameras: Vec<_> = ["a", "b", "c", "d"].map(|name| camera(name, "main", "main", 1)).into();
    let to = |to: [&str; 4]| -> Vec<_> {
        ["a", "b", "c", "d"].into_iter().zip(to).map(|(name, to)| (name.to_owned(), to.to_owned())).collect()
    };
    let even = goes(&[main.clone(), archive.clone(), third.clone()], &cameras);
    assert_eq!(even, to(["archive", "third", "archive", "third"]));
    let large = VolumeFacts { bytes: 3000, ..third };
    assert_eq!(goes(&[main, archive, large], &cameras), to(["third", "third", "archive", "third"]));
}

#[test]
fn one_whose_refuge_fails_goes_home_if_it_can_and_further_if_not() {
    let moved = camera("front", "main", "archive", 1);
    let world = |main: usize| [volume(0, main, false, 9), volume(1, 2, true, 9), volume(2, 0, true, 9)];
    let to = |to: &str| vec![("front".to_owned(), to.to_owned())];
    assert_eq!(goes(&world(0), std::slice::from_ref(&moved)), to("main"));
    assert_eq!(goes(&world(2), std::slice::from_ref(&moved)), to("third"));
    // That it works again brings nobody back.
    let well = [volume(0, 0, true, 9), volume(1, 0, true, 9)];
    assert_eq!(goes(&well, &[moved]), []);
}

#[test]
fn streams_that_a_volume_has_already_need_no_room_there() {
    let full = VolumeFacts { known: BTreeSet::from([name("front")]), ..volume(1, 0, true, 0) };
    let world = [volume(0, 2, true, 9), full];
    let (front, yard) = (camera("front", "main", "main", 1), camera("yard", "main", "main", 1));
    assert_eq!(goes(&world, &[front, yard]), [("front".to_owned(), "archive".to_owned())]);
}
