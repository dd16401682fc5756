//! Whole images: several structures of a volume changed under right checksums, opened for reading, for writing and for repair.
//! Each of these ends, and neither reads without end nor asks for more at once than the image has.

use super::super::damage_tests::full_volume;
use super::super::driver::open_engine;
use super::super::material::{Pushed, Run, VIDEO};
use super::super::repair_tests::plan;
use super::super::{Verdict, count_judged, demand};
use super::mutate::{change, seal};
use crate::disk::ReadAt;
use crate::disk::sim::{SimDisk, SimImage, SimRng};
use crate::format::Framed;
use crate::format::scrub::ScrubSlot;
use crate::format::session::SessionSlot;
use crate::format::table::table_magic;
use crate::reader::Volume;
use crate::recover::recover;
use crate::sample::SampleFlags;
use crate::types::{BlockIndex, StreamName};
use crate::writer::Input;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many times its own size an image may be read for one thing that is asked of it.
const TIMES: u64 = 4000;

/// An image that counts what is read of it.
struct Counted {
    image: SimImage,
    bytes: AtomicU64,
    longest: AtomicU64,
}

impl ReadAt for Counted {
    fn size_bytes(&self) -> u64 {
        self.image.size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.fetch_add(buffer.len() as u64 + 64, Ordering::Relaxed);
        self.longest.fetch_max(buffer.len() as u64, Ordering::Relaxed);
        self.image.read_exact_at(buffer, offset)
    }
}

/// What is asked at once may be as long as the longest region of any volume, or as this image.
const AT_ONCE: u64 = 2 << 20;

/// So many images.
pub(super) fn run(seed: u64, turns: usize) -> Verdict<u64> {
    let (image, _) = full_volume(seed % 8)?;
    // Every other one has grown.
    let image =
        if seed.is_multiple_of(2) { image } else { super::super::grow_tests::grown(&image, 640 << 10, 0)? };
    let frames = frames(&image)?;
    let mut rng = SimRng::new(seed);
    for turn in 0..turns {
        let mut forged = image.clone();
        for _ in 0..1 + rng.below(4) {
            forge(&mut forged, &frames[rng.below(frames.len())], &mut rng)?;
        }
        if rng.below(6) == 0 {
            forged.truncate(rng.below(forged.len_bytes()));
        }
        goes_through(&forged, seed ^ turn as u64).map_err(|why| format!("turn {turn}: {why}"))?;
    }
    Ok(turns as u64)
}

/// A frame: where it is, how long it is, and where in it a checksum of what follows stands.
struct Frame {
    at: usize,
    bytes: usize,
    body_checksum_at: Option<usize>,
}

fn frames(image: &SimImage) -> Verdict<Vec<Frame>> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let bytes = image.to_vec();
    let table = table_magic(state.superblock.volume);
    let known: [(&[u8; 8], usize, Option<usize>); 13] = [
        (b"KEHA-VOL", 512, None),
        (b"KEHA-DIR", 512, None),
        (b"KEHA-STR", 512, None),
        (b"KEHA-RND", 128, Some(68)),
        (b"KEHA-HLD", 512, None),
        (&SessionSlot::MAGIC, 512, None),
        (&ScrubSlot::MAGIC, ScrubSlot::SIZE, None),
        (&table, 512, None),
        (b"KEHA-BLK", 256, None),
        (b"KEHA-CHK", 256, None),
        (b"KEHA-CHT", 256, None),
        (b"KEHA-FTR", 64, Some(44)),
        (b"KEHA-END", 512, None),
    ];
    let places = (0..bytes.len()).step_by(64);
    let frames = places.filter_map(|at| {
        let (_, size, body) = known.iter().find(|(magic, ..)| bytes[at..].starts_with(&magic[..]))?;
        (at + size <= bytes.len()).then_some(Frame { at, bytes: *size, body_checksum_at: *body })
    });
    Ok(frames.collect())
}

/// Changes a frame, or some bytes that it covers, and makes the checksums right again.
fn forge(image: &mut SimImage, frame: &Frame, rng: &mut SimRng) -> Verdict {
    const BODY: usize = 1024;
    let covered = if frame.body_checksum_at.is_some() { BODY } else { 0 };
    let length = (frame.bytes + covered).min(image.len_bytes() - frame.at);
    let mut bytes = vec![0; length];
    image.read_exact_at(&mut bytes, frame.at as u64).map_err(|error| error.to_string())?;
    let kept: Vec<u8> = bytes[..8].to_vec();
    change(&mut bytes, rng);
    bytes[..8].copy_from_slice(&kept);
    // How long the body is, the frame says; what it says may be anything now.
    if let Some(at) = frame.body_checksum_at {
        let body = rng.below(bytes.len() - frame.bytes + 1);
        let checksum = crc32c::crc32c(&bytes[frame.bytes..frame.bytes + body]);
        if rng.coin() {
            bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
        }
    }
    seal(&mut bytes[..frame.bytes]);
    image.write(frame.at as u64, &bytes);
    Ok(())
}

/// Everything that can be asked of an image is asked.
pub(super) fn goes_through(image: &SimImage, seed: u64) -> Verdict {
    count_judged();
    let counted =
        Arc::new(Counted { image: image.clone(), bytes: AtomicU64::new(0), longest: AtomicU64::new(0) });
    let reader: Arc<dyn ReadAt> = Arc::<Counted>::clone(&counted);
    let limit = TIMES * (image.size_bytes() + AT_ONCE);
    let within = |what: &str| -> Verdict {
        let (bytes, longest) =
            (counted.bytes.swap(0, Ordering::Relaxed), counted.longest.load(Ordering::Relaxed));
        demand!(bytes <= limit, "{what} reads {bytes} bytes");
        let most = image.size_bytes().max(AT_ONCE);
        demand!(longest <= most, "{what} asks for {longest} bytes at once");
        Ok(())
    };
    if let Ok(volume) = Volume::from_disk(Arc::clone(&reader), Path::new("proof")) {
        within("opening")?;
        crate::proof::hostile_tests::read_whatever_is_there(&volume)?;
        within("reading")?;
        volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
        within("check")?;
        for block in 0..volume.info().blocks.min(40) {
            let _dump = volume.dump(BlockIndex(block));
        }
        within("dump")?;
    }
    let _plan = plan(&*reader);
    within("the plan of a repair")?;
    write(image, seed);
    Ok(())
}

/// Opens it for writing, if it lets itself be, and writes a little.
fn write(image: &SimImage, seed: u64) {
    let Ok(mut engine) = open_engine(SimDisk::from_image(image.clone(), seed)) else { return };
    let Ok(name) = StreamName::new("cam0") else { return };
    if let Ok(index) = engine.admit(&name) {
        let run = Run::default();
        engine.accept(index, Input::Run(run.id));
        engine.accept(index, Input::Anchor(run.anchor(VIDEO, 1)));
        for number in 1..40 {
            let (track, flags) = (VIDEO, SampleFlags::SYNC);
            let (length, configuration, anchored) = (900, Default::default(), 1);
            let pushed = Pushed { number, track, flags, length, run, configuration, anchored };
            engine.accept(index, Input::Sample(pushed.sample()));
            if number % 8 == 0 {
                engine.round();
            }
        }
    }
    let _closed = engine.close();
}
