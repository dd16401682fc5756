//! `keha stream return`: a camera that went on on another volume because its own had failed is recorded on its own again.
//!
//! The server that records is asked over the control socket of the camera's own volume, which has to be open again.

use crate::commands::channel::Channel;
use crate::failure::Exit;
use crate::output::Output;
use crate::volume_argument;
use keha_fs::Volume;

/// Arguments of `keha stream return`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "All streams of the camera return. Cameras never return by themselves, neither when their volume works again nor when \
                  the server is started again."
)]
pub(crate) struct Args {
    /// The camera's own volume, a path or partuuid:UUID (KEHA_VOLUME where it is left out), and the camera
    #[arg(value_name = "[VOLUME] CAMERA", num_args = 1..=2, required = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let (path, camera) = volume_argument::path_and_word(&args.words, "camera")?;
    let volume = Volume::open(&path)?;
    let channel = Channel::open(&volume, &path, "stream return")?;
    let returned = channel.bring_home(camera);
    let closed = channel.close();
    returned.map_err(|error| error.into_error("it is recorded where it was", "GET /api/v1/cameras"))?;
    closed?;
    output.say(&format!("keha: {camera} is recorded into {} again", path.display()));
    Ok(Exit::Done)
}
