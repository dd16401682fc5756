//! [`Device`]: a block device that a volume is made on, claimed for as long as that takes.
//!
//! What must not live here: whether it may be taken, and what is written.

use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::create::write_zeros;
use super::direct::{self, Access, Opened, Place};
use super::{AlignedBuffer, FileReader};
use crate::error::{Error, Result};
use crate::partition::{Partition, guard};

/// An existing block device.
#[derive(Debug)]
pub(crate) struct Device {
    /// As it was named.
    path: PathBuf,
    place: Place,
    number: u64,
    partition: Option<Partition>,
    /// Only where it is claimed.
    opened: Option<Opened>,
}

impl Device {
    /// Finds a device and sees that nobody uses it, without taking it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a file; [`Error::InUse`], [`Error::NotSafe`], [`Error::NoDevice`], [`Error::Io`].
    pub(crate) fn look(path: &Path) -> Result<Device> {
        let place = direct::place(path)?;
        let wrong = || Error::Invalid(format!("{}: not a block device", path.display()));
        let number = place.number.ok_or_else(wrong)?;
        guard::unused(path, number)?;
        let partition = guard::writable(path, number)?;
        Ok(Device { path: path.to_owned(), place, number, partition, opened: None })
    }

    /// As [`Device::look`], and keeps everybody else from it.
    ///
    /// # Errors
    /// As [`Device::look`], and [`Error::Locked`].
    pub(crate) fn claim(path: &Path) -> Result<Device> {
        let opened = direct::open(path, Access::Create, true)?;
        // Whatever was true before: from here on nobody else has it.
        Ok(Device { opened: Some(opened), ..Device::look(path)? })
    }

    /// Whether it is meant for a volume; see [`guard`].
    ///
    /// # Errors
    /// [`Error::NotSafe`].
    pub(crate) fn meant(&self, force: bool) -> Result<()> {
        guard::meant(&self.path, self.number, self.partition.as_ref(), force)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of opening.
    pub(crate) fn reader(&self) -> Result<FileReader> {
        FileReader::open(&self.place.node)
    }

    /// Writes whole sectors.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where it is not claimed, else what the device says.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.opened()?.file.write_all_at(&AlignedBuffer::from(bytes), at)
    }

    /// Writes zeros from its begin on.
    ///
    /// # Errors
    /// As [`Device::write`]; [`io::ErrorKind::Interrupted`] after a `Break`.
    pub(crate) fn prewrite(
        &self,
        bytes: u64,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> io::Result<()> {
        write_zeros(&self.opened()?.file, &self.place.node, bytes, progress)
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.opened()?.file.sync_all()
    }

    fn opened(&self) -> io::Result<&Opened> {
        self.opened.as_ref().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}
