//! What does the I/O of a volume, and how many requests at once: `io_engine` and `io_depth` in `keha.toml`, `--io-engine` and
//! `--io-depth` of commands that write.

use keha_fs::disk::{IO_DEPTH, IO_DEPTH_MAX, IoEngine};

/// What holds if nothing is said.
const DEFAULT_ENGINE: &str = "auto";

/// How a volume is to be read from and written to.
// What stands above a field is what `--help` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Io {
    /// What does the I/O: io_uring, threads, or auto for io_uring where it is to be had
    #[arg(long = "io-engine", value_name = "ENGINE", value_parser = parse_engine, default_value = DEFAULT_ENGINE)]
    pub(crate) engine: IoEngine,
    /// How many requests the disk sees at once, 1 to 32
    #[arg(long = "io-depth", value_name = "N", value_parser = parse_depth, default_value_t = IO_DEPTH)]
    pub(crate) depth: usize,
}

impl Default for Io {
    fn default() -> Io {
        Io { engine: IoEngine::Auto, depth: IO_DEPTH }
    }
}

/// Reads `auto`, `io_uring` or `threads`.
///
/// # Errors
/// A sentence that says how to write it.
pub(crate) fn parse_engine(text: &str) -> Result<IoEngine, String> {
    match text {
        "auto" => Ok(IoEngine::Auto),
        "io_uring" => Ok(IoEngine::Uring),
        "threads" => Ok(IoEngine::Threads),
        _ => Err("write auto, io_uring or threads".to_owned()),
    }
}

/// An engine as it is written.
pub(crate) fn show_engine(engine: IoEngine) -> &'static str {
    match engine {
        IoEngine::Uring => "io_uring",
        IoEngine::Threads => "threads",
        _ => DEFAULT_ENGINE,
    }
}

/// Reads a number of requests.
///
/// # Errors
/// As [`depth`].
pub(crate) fn parse_depth(text: &str) -> Result<usize, String> {
    depth(text.parse().unwrap_or_default())
}

/// A number of requests, if it is one.
///
/// # Errors
/// A sentence that says which there are.
pub(crate) fn depth(number: i64) -> Result<usize, String> {
    let depth = usize::try_from(number).ok().filter(|depth| (1..=IO_DEPTH_MAX).contains(depth));
    depth.ok_or_else(|| format!("write a number from 1 to {IO_DEPTH_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_read_as_it_is_shown() {
        assert_eq!(parse_engine(DEFAULT_ENGINE), Ok(Io::default().engine));
        for name in ["auto", "io_uring", "threads"] {
            assert_eq!(parse_engine(name).map(show_engine), Ok(name));
        }
        for wrong in ["", "uring", "Threads", "auto "] {
            assert!(parse_engine(wrong).is_err_and(|why| why.contains("io_uring")), "{wrong}");
        }
    }

    #[test]
    fn a_depth_is_a_number_from_one_to_as_many_as_are_of_use() {
        assert_eq!((parse_depth("1"), parse_depth("32")), (Ok(1), Ok(IO_DEPTH_MAX)));
        for wrong in ["", "0", "-4", "33", "4.0", "many", "99999999999999999999"] {
            assert!(parse_depth(wrong).is_err_and(|why| why.contains("1 to 32")), "{wrong}");
        }
    }
}
