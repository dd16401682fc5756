//! Live video of what this server records: the hub, on the tails of whoever records and the volumes that are read.

use crate::control::Control;
use crate::server::Services;
use keha_fs::{StreamName, Tail, Volume};
use keha_player::library::Library;
use keha_player::live::{LiveHub, LiveOptions, LiveSource};
use std::sync::Arc;
use std::time::Duration;

/// How old what is known of a volume may be that is opened anew.
const AGE_MAX: Duration = Duration::from_secs(10);

/// The hub of a server.
pub(crate) fn hub(services: &Services) -> Arc<LiveHub> {
    let (library, control) = (Arc::clone(&services.library), Arc::clone(&services.control));
    Arc::new(LiveHub::new(Arc::new(Recorded { library, control }), LiveOptions::default()))
}

struct Recorded {
    library: Arc<Library>,
    control: Arc<dyn Control>,
}

impl LiveSource for Recorded {
    fn tail(&self, stream: &StreamName) -> Option<Tail> {
        self.control.tail(stream)
    }

    fn volume(&self, stream: &StreamName) -> keha_player::Result<Volume> {
        // Where it goes on, not where it has most: the other one may have failed, and never answer.
        match self.volume_of(stream) {
            Some(volume) => self.library.open_now_in(&volume, AGE_MAX),
            None => self.library.open_now(stream, AGE_MAX),
        }
    }

    fn place(&self, stream: &StreamName) -> String {
        self.volume_of(stream).unwrap_or_default()
    }
}

impl Recorded {
    /// The volume that a stream is recorded into.
    fn volume_of(&self, stream: &StreamName) -> Option<String> {
        let cameras = self.control.cameras();
        cameras.into_iter().find(|camera| camera.name == stream.camera()).map(|camera| camera.volume)
    }
}
