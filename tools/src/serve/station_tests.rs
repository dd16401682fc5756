//! Changes of a station with real volumes, and a state directory that does not answer.

use super::*;
use crate::config::server::from_file;
use crate::recording::document::tests::round;
use crate::serve::failover::place::Move;
use crate::serve::slot::Left;
use keha_api::control::{CameraSettings, Control, ControlError};
use keha_fs::{HoldRequest, Undone, Volume};
use keha_recorder::Crossing;
use std::fs::{File, OpenOptions};
use std::sync::mpsc::{Receiver, channel, sync_channel};

const PATIENCE: Duration = Duration::from_secs(60);
const URL: &str = "testsrc://?size=320x240&fps=10&gop=10";

struct World {
    dir: tempfile::TempDir,
    station: Arc<Station>,
    _woken: Receiver<Wake>,
}

impl World {
    /// One volume, `main`, that is open, and these cameras.
    fn new(cameras: &str) -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("keha.toml");
        let text = format!(
            "[server]\nhttp = \"127.0.0.1:0\"\n[[volumes]]\nname = \"main\"\npath = \"main.ring\"\nsize = \"64MiB\"\n{cameras}"
        );
        std::fs::write(&file, text).expect("written");
        let state = dir.path().join("state");
        std::fs::create_dir(&state).expect("made");
        let (wake, woken) = sync_channel(1000);
        let read: ReadConfig = Box::new(move || from_file(&file));
        let config = read().expect("a configuration");
        let mut station = Station::new(read, Library::default(), &state, wake);
        station.going_on = GoingOn::new(ToCome::open(&state).waiting(Duration::from_millis(200)));
        let station = Arc::new(station);
        {
            let _edit = station.edit();
            station.apply(&config);
        }
        let world = World { dir, station, _woken: woken };
        let slot = world.slot();
        slot.open(&world.station.wake, world.station.above(&slot));
        assert_eq!(slot.failed(), None);
        {
            let _change = world.station.change();
            world.station.bring_all();
        }
        world
    }

    fn slot(&self) -> Arc<Slot> {
        self.station.slot("main").expect("it is configured")
    }

    /// Whoever changes this file of the state directory waits, as for a disk that does not answer, until this is dropped.
    fn hang(&self, file: &str) -> File {
        let lock = self.dir.path().join(format!("state/{file}.lock"));
        let held = OpenOptions::new().create(true).truncate(false).write(true).open(lock).expect("a file");
        held.lock().expect("it is free");
        held
    }
}

/// Whoever kept something held what everybody needs who changes something: also cameras whose volume failed did not go over.
#[test]
fn while_a_camera_is_being_kept_on_a_disk_that_does_not_answer_others_make_changes() {
    let world = World::new(&format!("[[cameras]]\nname = \"yard\"\nurl = \"{URL}\"\n"));
    let hung = world.hang("cameras.json");
    let (station, adds) = (Arc::clone(&world.station), Arc::clone(&world.station));
    let settings = CameraSettings { url: URL.to_owned(), streams: Vec::new(), login: None, volume: None };
    let adding = thread::spawn(move || adds.add_camera("door", &settings));
    let (made, makes) = channel();
    thread::spawn(move || {
        while !station.wanted().contains_key("door") {
            thread::yield_now();
        }
        drop(station.change());
        let yard = StreamName::new("yard").expect("a name");
        made.send(station.set_recording(&yard, false)).expect("somebody waits");
    });
    let changed = makes.recv_timeout(PATIENCE).expect("nobody waits for that disk but who asked");
    changed.expect("it is stopped");
    assert!(!adding.is_finished(), "it is not answered for before it is kept");
    let door = world.station.wanted().get("door").cloned().expect("it is wanted");
    assert!(world.slot().records(&door), "but it is recorded");
    drop(hung);
    adding.join().expect("it ends").expect("it is kept");
    assert!(world.station.kept.read().expect("readable").contains_key("door"));
    world.station.end();
}

/// It was an error of bringing the camera, which whoever added or moved it took for a camera that is not recorded.
#[test]
fn a_retention_that_the_volume_does_not_take_keeps_no_camera_from_being_recorded_and_is_tried_again() {
    let cameras = format!("[[cameras]]\nname = \"yard\"\nurl = \"{URL}\"\nquota = \"1KiB\"\n");
    let world = World::new(&cameras);
    let yard = world.station.wanted().get("yard").cloned().expect("it is wanted");
    let slot = world.slot();
    assert!(slot.records(&yard));
    {
        let _change = world.station.change();
        world.station.bring_one(&yard, ASSIGNED).expect("it is recorded");
    }
    assert_eq!(slot.why_not("yard").1, None, "nothing is wrong with recording it");
    let later = Instant::now() + Duration::from_secs(11);
    assert_eq!(slot.tick(later).1, Some(Need::Bring));
    world.station.end();
}

/// They had been let go, and nobody recorded them any more until something else was changed.
#[test]
fn cameras_of_a_volume_that_cannot_be_closed_to_be_opened_anew_wait_for_it_as_before() {
    let world = World::new(&format!("[[cameras]]\nname = \"yard\"\nurl = \"{URL}\"\n"));
    let yard = world.station.wanted().get("yard").cloned().expect("it is wanted");
    let slot = world.slot();
    let failing = || round(Health::Failing { error: "EIO".to_owned() });
    [failing(), failing()].iter().for_each(|report| drop(slot.round(report)));
    let looks = slot.live();
    world.station.open_anew(&slot);
    assert!(looks.is_some(), "it stays open");
    drop(looks);
    slot.round(&round(Health::Good));
    let later = Instant::now() + Duration::from_secs(11);
    assert_eq!(slot.tick(later).1, Some(Need::Bring));
    {
        let _change = world.station.change();
        world.station.bring_all();
    }
    assert!(slot.records(&yard));
    world.station.end();
}

/// Each came back alone: the first of them took all the room that there was, and each had its own time.
#[test]
fn streams_of_a_volume_that_was_opened_anew_come_back_together() {
    let camera = |name: &str| format!("[[cameras]]\nname = \"{name}\"\nurl = \"{URL}\"\n");
    let world = World::new(&["yard", "door", "gate"].map(camera).concat());
    for name in ["yard", "door"] {
        let name = StreamName::new(name).expect("a name");
        lock(&world.station.left_over).insert(name, Left { last: None, undone: Undone::default() });
    }
    let (_begins, all) = world.station.all_coming("main", &WhereLeft::new(), ASSIGNED);
    let told = all.iter().map(|(camera, coming)| {
        let name = camera.camera.name();
        let from = coming.get(name).and_then(|coming| coming.from.as_ref());
        let together = from.and_then(|from| from.crossing.as_ref()).map(Crossing::streams);
        (name.to_string(), from.is_some_and(|from| from.own), together)
    });
    let told: Vec<_> = told.collect();
    let own = |name: &str| (name.to_owned(), true, Some(2));
    assert_eq!(told, [own("door"), ("gate".to_owned(), false, None), own("yard")]);
    world.station.end();
}

/// The move was taken for made, and what waited was forgotten.
#[test]
fn a_camera_does_not_go_over_to_a_volume_that_was_closed_meanwhile() {
    let other = "[[volumes]]\nname = \"archive\"\npath = \"archive.ring\"\nsize = \"64MiB\"\n";
    let camera = format!("[[cameras]]\nname = \"yard\"\nurl = \"{URL}\"\nvolume = \"main\"\n");
    let world = World::new(&format!("{other}{camera}"));
    let yard = StreamName::new("yard").expect("a name");
    let left = || Left { last: None, undone: Undone::default() };
    lock(&world.station.left_over).insert(yard.clone(), left());
    let made = Move {
        camera: "yard".to_owned(),
        from: "main".to_owned(),
        to: "archive".to_owned(),
        why: "EIO".to_owned(),
    };
    let went = world.station.go_on(&made, &mut AllLeft::new(), None);
    assert!(went.is_none(), "archive is not open");
    let at = world.station.wanted().get("yard").map(|camera| camera.volume.clone());
    assert_eq!(at.as_deref(), Some("main"));
    assert!(lock(&world.station.refused).contains_key(&("yard".to_owned(), "archive".to_owned())));
    assert_eq!(world.station.moves.of("yard", "main"), None);
    world.station.end();
}

/// Whoever changed something next waited for it, for as long as the disk of a volume that nobody wants did not answer.
#[test]
fn a_volume_that_is_no_longer_configured_and_cannot_be_closed_holds_up_no_change() {
    let world = World::new("");
    let slot = world.slot();
    let other = "[server]\nhttp = \"127.0.0.1:0\"\n[[volumes]]\nname = \"archive\"\npath = \"archive.ring\"\nsize = \"64MiB\"\n";
    std::fs::write(world.dir.path().join("keha.toml"), other).expect("written");
    // Closing waits for this, as for a disk.
    let looks = slot.live();
    let (done, changed) = channel();
    let station = Arc::clone(&world.station);
    thread::spawn(move || {
        let config = (station.read)().expect("a configuration");
        let _edit = station.edit();
        station.apply(&config);
        drop(station.change());
        done.send(()).expect("somebody waits");
    });
    changed.recv_timeout(PATIENCE).expect("nobody waits for that disk");
    assert!(looks.is_some(), "it is not closed yet");
    drop(looks);
    assert!(world.station.end().error.is_none());
    assert!(slot.live().is_none(), "the end waits for it");
}

/// Requests waited for that disk as long as it took, each with a thread, and those that needed nothing of it behind them.
#[test]
fn what_is_still_to_come_is_held_and_lifted_only_where_that_can_be_noted_and_the_rest_at_once() {
    let world = World::new(&format!("[[cameras]]\nname = \"yard\"\nurl = \"{URL}\"\n"));
    let station = &world.station;
    let hold = |from_s: i64, to_s: i64| {
        let (from, to) = (now().plus_ns(from_s * 1_000_000_000), now().plus_ns(to_s * 1_000_000_000));
        let (stream, label) = (StreamName::new("yard").expect("a name"), String::new());
        station.add_hold_in("main", HoldRequest { stream, from, to, label, expires: None })
    };
    let standing = || Volume::open(&world.slot().path).expect("a volume").holds().len();
    let began = Instant::now();
    let past = loop {
        match hold(-60, -3) {
            Ok(past) if !past.growing => break past,
            Ok(early) => drop(station.lift_hold(early.id).expect("lifted")),
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        thread::sleep(Duration::from_millis(100));
    };
    let hung = world.hang("to_come.json");
    let refused = hold(-60, 60).expect_err("that cannot be noted");
    assert!(matches!(refused, ControlError::Unkept { .. }), "{refused}");
    assert!(refused.to_string().contains("to_come.json"), "{refused}");
    assert_eq!(standing(), 1, "it is lifted again");
    station.lift_hold(past.id).expect("that needs no file");
    drop(hung);
    let growing = loop {
        // The thread that hung there may be at it still.
        match hold(-60, 60) {
            Ok(growing) => break growing,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
    };
    let hung = world.hang("to_come.json");
    let refused = station.lift_hold(growing.id).expect_err("that cannot be noted");
    assert!(matches!(refused, ControlError::Unkept { .. }), "{refused}");
    assert_eq!(standing(), 1, "it stands");
    drop(hung);
    while let Err(error) = station.lift_hold(growing.id) {
        assert!(began.elapsed() < PATIENCE, "{error}");
    }
    assert_eq!(standing(), 0);
    station.end();
}
