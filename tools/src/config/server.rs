//! `keha.toml`: what `keha serve` serves, where it records, and which cameras.
//!
//! `dist/keha.example.toml` shows every key. The file is read whole and checked whole: names, volumes that are referred to,
//! what is there twice, addresses, and that nobody else can read what holds secrets. Paths count from the file.

use super::cameras::{self, Entry, RawEntry};
use super::keys::{self, Shape};
use super::protected::{self, Protected};
use crate::commands::record;
use crate::failure::Failure;
use crate::units::{io, scrub, size};
use keha_api::{Certificate, Tls};
use keha_fs::partition;
use keha_player::library::CHUNKS_BYTES;
use keha_recorder::Camera;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// Where the server listens if nothing else is said.
pub(crate) const HTTP: &str = "127.0.0.1:8480";

/// A configuration that is right.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) volumes: Vec<VolumeEntry>,
    pub(crate) cameras: Vec<CameraEntry>,
}

/// How it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) http: SocketAddr,
    pub(crate) base_path: String,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<IpAddr>,
    /// Certificate and private key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) state: Option<PathBuf>,
    /// How much footage that was read is kept in memory.
    pub(crate) cache_bytes: u64,
}

/// A volume to record into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeEntry {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// It is created with this size where it is missing.
    pub(crate) size_bytes: Option<u64>,
    /// In which time all of it is verified once; not at all if `None`.
    pub(crate) scrub: Option<Duration>,
    pub(crate) io: io::Io,
    /// Cameras of a volume that failed may be recorded here.
    pub(crate) takes_over: bool,
}

/// A camera to record, and where.
#[derive(Clone, Debug)]
pub(crate) struct CameraEntry {
    pub(crate) entry: Entry,
    pub(crate) camera: Camera,
    pub(crate) volume: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    server: RawServer,
    #[serde(default)]
    volumes: Vec<RawVolume>,
    #[serde(default)]
    cameras: Vec<RawEntry>,
}

#[derive(Default, Deserialize)]
struct RawServer {
    http: Option<Spanned<String>>,
    base_path: Option<Spanned<String>>,
    #[serde(default)]
    allowed_origins: Vec<Spanned<String>>,
    #[serde(default)]
    trusted_proxies: Vec<Spanned<String>>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    state: Option<PathBuf>,
    cache: Option<Spanned<String>>,
}

#[derive(Deserialize)]
struct RawVolume {
    name: Spanned<String>,
    path: PathBuf,
    size: Option<String>,
    scrub: Option<String>,
    io_engine: Option<String>,
    io_depth: Option<i64>,
    takes_over: Option<bool>,
}

pub(super) static FILE: Shape = Shape {
    keys: &["server", "volumes", "cameras"],
    inside: &[
        ("server", "server", &SERVER),
        ("volumes", "volume", &VOLUME),
        ("cameras", "camera", &cameras::CAMERA_IN_VOLUME),
    ],
};
pub(super) static SERVER: Shape = Shape {
    keys: &[
        "http",
        "base_path",
        "allowed_origins",
        "trusted_proxies",
        "tls_certificate",
        "tls_key",
        "state",
        "cache",
    ],
    inside: &[],
};
pub(super) static VOLUME: Shape =
    Shape { keys: &["name", "path", "size", "scrub", "io_engine", "io_depth", "takes_over"], inside: &[] };

/// Reads the file, and the passwords that it points at.
///
/// # Errors
/// Whatever is wrong with it, with the line.
pub(crate) fn from_file(path: &Path) -> anyhow::Result<Config> {
    let file = protected::read(path)?;
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let raw: File = keys::parse(&file.text, &FILE).map_err(wrong)?;
    let base = path.parent().unwrap_or(Path::new(""));
    let server = server(raw.server, &file.text, base).map_err(wrong)?;
    if let Some((certificate, key)) = &server.tls {
        protected::read(certificate)?;
        let Protected { readable_by_others, .. } = protected::read(key)?;
        if readable_by_others {
            let key = key.display();
            let why = format!("{key}: holds a private key and others can read it: chmod 600 {key}");
            return Err(Failure::failed(why));
        }
        // What the server would refuse is refused here.
        Certificate::open(&Tls { certificate: certificate.clone(), key: key.clone() })?;
    }
    let volumes = volumes(raw.volumes, &file.text, base).map_err(wrong)?;
    let entries = cameras::entries(raw.cameras, path, &file)?;
    let cameras = entries.into_iter().map(|entry| {
        let place = format!("{}: line {}", path.display(), entry.line.unwrap_or_default());
        camera(entry, &volumes).map_err(|error| error.context(place))
    });
    let cameras = cameras.collect::<anyhow::Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = cameras.iter().find(|camera| !names.insert(camera.entry.name.as_str())) {
        let (line, name) = (twice.entry.line.unwrap_or_default(), &twice.entry.name);
        return Err(wrong(format!("line {line}: camera {name} is given twice: give each a name of its own")));
    }
    Ok(Config { server, volumes, cameras })
}

/// The state directory that a file names; nothing else of the file needs to be right.
///
/// # Errors
/// It cannot be read.
pub(crate) fn state_of(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let file = protected::read(path)?;
    let raw: File =
        keys::parse(&file.text, &FILE).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    Ok(raw.server.state.map(|state| path.parent().unwrap_or(Path::new("")).join(state)))
}

fn server(raw: RawServer, text: &str, base: &Path) -> Result<Server, String> {
    let RawServer {
        http,
        base_path,
        allowed_origins,
        trusted_proxies,
        tls_certificate,
        tls_key,
        state,
        cache,
    } = raw;
    let at = |value: &Spanned<String>| format!("line {}: server: ", keys::line(text, value.span().start));
    let default: Result<SocketAddr, _> = HTTP.parse();
    let http = match &http {
        Some(text) => address(text.get_ref()).map_err(|why| format!("{}http: {why}", at(text)))?,
        None => default.map_err(|_| format!("{HTTP} is no address"))?,
    };
    if let Some(path) = base_path.as_ref().filter(|path| !is_base_path(path.get_ref())) {
        return Err(format!("{}base_path: write it as /keha, or leave it out", at(path)));
    }
    if let Some(origin) = allowed_origins.iter().find(|origin| !is_origin(origin.get_ref())) {
        return Err(format!("{}allowed_origins: write each as https://example.org", at(origin)));
    }
    let proxy = |proxy: &Spanned<String>| -> Result<IpAddr, String> {
        let why = || format!("{}trusted_proxies: write each as an address, such as 127.0.0.1", at(proxy));
        proxy.get_ref().parse().map_err(|_| why())
    };
    let tls = match (tls_certificate, tls_key) {
        (Some(certificate), Some(key)) => Some((base.join(certificate), base.join(key))),
        (None, None) => None,
        _ => return Err("server: give tls_certificate and tls_key, or neither".into()),
    };
    let cache_bytes = match &cache {
        Some(text) => size::parse(text.get_ref()).map_err(|why| format!("{}cache: {why}", at(text)))?,
        None => CHUNKS_BYTES,
    };
    Ok(Server {
        http,
        base_path: base_path.map(Spanned::into_inner).unwrap_or_default(),
        allowed_origins: allowed_origins.into_iter().map(Spanned::into_inner).collect(),
        trusted_proxies: trusted_proxies.iter().map(proxy).collect::<Result<_, _>>()?,
        tls,
        state: state.map(|state| base.join(state)),
        cache_bytes,
    })
}

/// Reads an address to listen on.
///
/// # Errors
/// A sentence that says how to write it.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("write an address and a port, such as {HTTP} or [::]:8480"))
}

fn is_base_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let segments = |rest: &str| rest.split('/').all(|part| !part.is_empty() && part.chars().all(plain));
    text.is_empty() || text.strip_prefix('/').is_some_and(segments)
}

fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}

fn volumes(raw: Vec<RawVolume>, text: &str, base: &Path) -> Result<Vec<VolumeEntry>, String> {
    if raw.is_empty() {
        return Err("names no volume: begin each with [[volumes]]".into());
    }
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    let mut volumes = Vec::with_capacity(raw.len());
    for RawVolume { name, path, size, scrub, io_engine, io_depth, takes_over } in raw {
        let line = keys::line(text, name.span().start);
        let name = name.into_inner();
        let wrong = |why: &str| format!("line {line}: volume {name}: {why}");
        // What names streams names volumes.
        if keha_fs::StreamName::new(&name).map_or(true, |parsed| parsed.camera() != name) {
            return Err(wrong("a name is 1 to 63 of a-z, 0-9, _ and -, and begins with a letter or digit"));
        }
        // Not a path that counts from the file, and in one way of writing.
        let id = partition::id_of(&path).map_err(|error| wrong(&error.to_string()))?;
        if id.is_some() && size.is_some() {
            return Err(wrong(
                "size: a partition is never taken by itself: leave it out, and use `keha volume create`",
            ));
        }
        let path = match id {
            Some(id) => format!("{}{id}", partition::PREFIX).into(),
            None => base.join(path),
        };
        if !names.insert(name.clone()) {
            return Err(wrong("it is given twice: give each a name of its own"));
        }
        if !paths.insert(path.clone()) {
            return Err(wrong("another volume has this path"));
        }
        let size_bytes = size.as_deref().map(size::parse).transpose();
        let size_bytes = size_bytes.map_err(|why| wrong(&format!("size: {why}")))?;
        let scrub = scrub.as_deref().map_or(Ok(scrub::Every::default()), scrub::parse);
        let scrub = scrub.map_err(|why| wrong(&format!("scrub: {why}")))?.0;
        let engine = io_engine.as_deref().map_or(Ok(io::Io::default().engine), io::parse_engine);
        let engine = engine.map_err(|why| wrong(&format!("io_engine: {why}")))?;
        let depth = io_depth.map_or(Ok(io::Io::default().depth), io::depth);
        let depth = depth.map_err(|why| wrong(&format!("io_depth: {why}")))?;
        let (io, takes_over) = (io::Io { engine, depth }, takes_over.unwrap_or(true));
        volumes.push(VolumeEntry { name, path, size_bytes, scrub, io, takes_over });
    }
    Ok(volumes)
}

fn camera(entry: Entry, volumes: &[VolumeEntry]) -> anyhow::Result<CameraEntry> {
    let camera = record::camera(&entry)?;
    let named = |volume: &&VolumeEntry| entry.volume.as_ref().is_none_or(|name| *name == volume.name);
    match volumes.iter().find(named) {
        Some(volume) => Ok(CameraEntry { camera, volume: volume.name.clone(), entry }),
        None => {
            let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
            Err(Failure::usage(format!(
                "camera {}: there is no volume {:?}; there is {}",
                entry.name,
                entry.volume.unwrap_or_default(),
                names.join(", ")
            )))
        }
    }
}
