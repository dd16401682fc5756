//! `keha config check`: what a configuration file is understood as, or what is wrong with it and where.

use crate::config::server::{self, CameraEntry, Config, VolumeEntry};
use crate::failure::Exit;
use crate::output::Output;
use crate::secret;
use crate::units::{duration, io, retention, size};
use std::path::PathBuf;

/// The commands on configuration files.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say what a configuration file is understood as, or what is wrong with it
    Check(ConfigArgument),
}

/// A configuration file, everywhere the same.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConfigArgument {
    /// The configuration file
    #[arg(value_name = "FILE", env = "KEHA_CONFIG", default_value = "keha.toml")]
    file: PathBuf,
}

pub(crate) fn run(command: &Command, output: Output) -> anyhow::Result<Exit> {
    let Command::Check(ConfigArgument { file }) = command;
    let config = server::from_file(file)?;
    output.print(&secret::mask(&describe(&config)))?;
    Ok(Exit::Done)
}

fn describe(config: &Config) -> String {
    let server = &config.server;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let state = match &server.state {
        Some(state) => format!("state in {}", state.display()),
        None => "no state directory: give keha serve --state".to_owned(),
    };
    let mut text = format!("server at {scheme}://{}{}/, {state}\n", server.http, server.base_path);
    for origin in &server.allowed_origins {
        text.push_str(&format!("  answers may be read by pages of {origin}\n"));
    }
    for proxy in &server.trusted_proxies {
        text.push_str(&format!("  the proxy {proxy} is believed where a request came from\n"));
    }
    config.volumes.iter().for_each(|volume| text.push_str(&describe_volume(volume)));
    config.cameras.iter().for_each(|camera| text.push_str(&describe_camera(camera)));
    text
}

fn describe_volume(volume: &VolumeEntry) -> String {
    let missing = match volume.size_bytes {
        Some(size_bytes) => format!("created with {} where it is missing", size::show(size_bytes)),
        None => "not created".to_owned(),
    };
    let scrub = match volume.scrub {
        Some(every) => format!("verified once in {}", duration::show(every)),
        None => "not verified".to_owned(),
    };
    let (engine, depth) = (io::show_engine(volume.io.engine), volume.io.depth);
    let requests = if depth == 1 { "request" } else { "requests" };
    let others = if volume.takes_over { "" } else { ", takes nobody over" };
    format!(
        "volume {}: {}, {missing}, {scrub}, io_engine {engine} with {depth} {requests} at once{others}\n",
        volume.name,
        volume.path.display()
    )
}

fn describe_camera(camera: &CameraEntry) -> String {
    let mut text = format!("camera {} in volume {}\n", camera.entry.name, camera.volume);
    for (name, url) in camera.camera.streams() {
        text.push_str(&format!("  {name}: {url}\n"));
    }
    if let Some((username, _)) = &camera.entry.credentials {
        text.push_str(&format!("  logs in as {username}\n"));
    }
    let wanted = camera.entry.retention;
    let settings = [
        wanted.quota_bytes.map(|bytes| format!("quota {}", retention::show_quota(bytes))),
        wanted.minimum_age_s.map(|age| format!("min_age {}", retention::show_age(age))),
        wanted.maximum_age_s.map(|age| format!("max_age {}", retention::show_age(age))),
    ];
    let settings: Vec<String> = settings.into_iter().flatten().collect();
    if !settings.is_empty() {
        text.push_str(&format!("  footage: {}\n", settings.join(", ")));
    }
    text
}
