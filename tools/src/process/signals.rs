//! SIGINT, SIGTERM and SIGHUP stop cleanly; a second one stops at once. To a server SIGHUP says that its configuration changed.

use crate::failure::Exit;
use crate::output;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Two signals closer than this are one wish: a terminal and a parent process may both pass it on.
const SAME_WISH: Duration = Duration::from_millis(500);

/// Calls `stop` on a thread of its own at the first signal, once; ends the process at the next.
///
/// # Errors
/// Those of installing the handlers.
pub(crate) fn on_stop(stop: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    watch(stop, None)
}

/// As [`on_stop`], but SIGHUP calls `reload`, each time.
///
/// # Errors
/// Those of installing the handlers.
pub(crate) fn on_stop_or_reload(
    stop: impl FnOnce(&'static str) + Send + 'static,
    reload: impl FnMut() + Send + 'static,
) -> io::Result<()> {
    watch(stop, Some(Box::new(reload)))
}

fn watch(
    stop: impl FnOnce(&'static str) + Send + 'static,
    mut reload: Option<Box<dyn FnMut() + Send>>,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut stop = Some(stop);
        let mut first = Instant::now();
        for signal in signals.forever() {
            if let (SIGHUP, Some(reload)) = (signal, &mut reload) {
                reload();
                continue;
            }
            match stop.take() {
                Some(stop) => {
                    first = Instant::now();
                    stop(name(signal));
                }
                None if first.elapsed() < SAME_WISH => {}
                None => {
                    output::say_always("keha: stopped at once; what was not yet on the disk is lost");
                    std::process::exit(Exit::Failed as i32);
                }
            }
        }
    })?;
    Ok(())
}

/// A flag that the first signal sets; the next one ends the process.
///
/// # Errors
/// Those of installing the handlers.
pub(crate) fn flag() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    on_stop(move |_| set.store(true, Ordering::SeqCst))?;
    Ok(flag)
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        SIGHUP => "SIGHUP",
        _ => "signal",
    }
}
