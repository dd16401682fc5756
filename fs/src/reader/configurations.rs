//! Finding a configuration by its hash, in whatever block of the stream it stands.

use super::Volume;
use crate::configuration::Configuration;
use crate::format::chunk::ChunkKind;
use crate::format::table::Row;
use crate::recover::Recovered;
use crate::scan::Take;
use crate::types::{BlockIndex, ConfigurationHash, StreamId};
use std::sync::{Arc, PoisonError};

/// How many are kept in memory: a camera may change them as often as it likes.
const CONFIGURATIONS_KEPT: usize = 256;

impl Volume {
    /// The configuration of this hash: known already, in this block, or in any other of the stream.
    pub(super) fn configuration(
        &self,
        stream: StreamId,
        hash: ConfigurationHash,
        first: &Take,
    ) -> Option<Arc<Configuration>> {
        let mut known = self.configurations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(configuration) = known.get(&hash) {
            return Some(Arc::clone(configuration));
        }
        let row = self.state.row(first.block);
        let others = self.stream_blocks(stream).into_iter().rev();
        let found = std::iter::once((first.block, row))
            .chain(others)
            .find_map(|(block, row)| self.configuration_in(block, &row, hash))?;
        let found = Arc::new(found);
        if known.len() >= CONFIGURATIONS_KEPT {
            known.clear();
        }
        known.insert(hash, Arc::clone(&found));
        Some(found)
    }

    fn configuration_in(
        &self,
        block: BlockIndex,
        row: &Row,
        hash: ConfigurationHash,
    ) -> Option<Configuration> {
        let take = Recovered::take(block, row);
        let (footer, _) = self.contents(block, row);
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
