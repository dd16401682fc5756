//! Finding a configuration by its hash, in whatever block of the stream it stands.

use super::{StreamRow, Volume};
use crate::configuration::Configuration;
use crate::error::Result;
use crate::format::chunk::ChunkKind;
use crate::format::table::Row;
use crate::recover::Recovered;
use crate::scan::Take;
use crate::types::{BlockIndex, ConfigurationHash, StreamId};
use std::sync::{Arc, PoisonError};

/// How many are kept in memory: a camera may change them as often as it likes.
const CONFIGURATIONS_KEPT: usize = 256;

impl Volume {
    /// The configuration of this hash if it is known of the stream already or stands in the block of this row; no other block is looked into, so
    /// that a made-up hash costs little. Each block begins with the configuration that its first samples need.
    ///
    /// # Errors
    /// [`crate::Error::Overwritten`] if the ring has taken the block for something else.
    pub fn configuration_in_block(
        &self,
        stream: StreamId,
        row: &StreamRow,
        hash: ConfigurationHash,
    ) -> Result<Option<Arc<Configuration>>> {
        if let Some(configuration) = self.known_configuration(stream, hash) {
            return Ok(Some(configuration));
        }
        let take = Take { block: row.block, sequence: row.sequence, stream };
        let now = self.state.row(row.block);
        if Recovered::take(row.block, &now) != take || !now.is_linked() {
            return Err(self.overwritten(&take));
        }
        let Some(found) = self.configuration_in(row.block, &now, hash).map(Arc::new) else {
            return if self.is_passed(&take) { Err(self.overwritten(&take)) } else { Ok(None) };
        };
        self.know_configuration(stream, hash, &found);
        Ok(Some(found))
    }

    /// What is known of another stream is not for who asks for this one.
    fn known_configuration(&self, stream: StreamId, hash: ConfigurationHash) -> Option<Arc<Configuration>> {
        let known = self.shared.configurations.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(stream, hash)).cloned()
    }

    fn know_configuration(
        &self,
        stream: StreamId,
        hash: ConfigurationHash,
        configuration: &Arc<Configuration>,
    ) {
        let mut known = self.shared.configurations.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CONFIGURATIONS_KEPT {
            known.clear();
        }
        known.insert((stream, hash), Arc::clone(configuration));
    }

    /// The configuration of this hash: known already, in this block, or in any other of the stream.
    pub(super) fn configuration(
        &self,
        stream: StreamId,
        hash: ConfigurationHash,
        first: &Take,
    ) -> Option<Arc<Configuration>> {
        let known = self.known_configuration(stream, hash);
        if known.is_some() {
            return known;
        }
        let row = self.state.row(first.block);
        let others = self.stream_blocks(stream).into_iter().rev();
        let found = std::iter::once((first.block, row))
            .chain(others)
            .find_map(|(block, row)| self.configuration_in(block, &row, hash))?;
        let found = Arc::new(found);
        self.know_configuration(stream, hash, &found);
        Some(found)
    }

    fn configuration_in(
        &self,
        block: BlockIndex,
        row: &Row,
        hash: ConfigurationHash,
    ) -> Option<Configuration> {
        let take = Recovered::take(block, row);
        let (footer, _) = self.places(block, row);
        let mut places = footer
            .chunks
            .iter()
            .filter(|place| place.kind == ChunkKind::CONFIGURATION && place.configuration == hash);
        places.find_map(|place| {
            let loaded = self.scanner().load_at(&take, place.offset as usize, place.bytes as usize)?;
            let mut copies = loaded.payloads().into_iter().filter_map(|payload| payload.data);
            copies.find_map(|copy| {
                Configuration::decode(&copy).filter(|configuration| configuration.hash() == hash)
            })
        })
    }
}
