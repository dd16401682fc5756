//! The partition that a volume is on, as `keha volume info` shows it.

use crate::units::size;
use keha_fs::partition::Partition;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct PartitionDocument {
    id: String,
    /// The nodes at this moment: they change with where the disk is plugged in.
    disk: String,
    device: String,
    number: u32,
    start_bytes: u64,
    size_bytes: u64,
    type_id: String,
    /// The attribute bits, in hexadecimal digits: JSON has no numbers of 64 bits that all programs read.
    attributes: String,
    /// Whether no system uses it by itself (bit 63).
    no_auto: bool,
    logical_sector_bytes: u32,
    physical_sector_bytes: u32,
    /// What is wrong with its partition table.
    damage: Option<String>,
}

impl PartitionDocument {
    pub(super) fn new(partition: Partition) -> PartitionDocument {
        PartitionDocument {
            id: partition.id.to_string(),
            disk: partition.disk.display().to_string(),
            device: partition.device.display().to_string(),
            number: partition.number,
            start_bytes: partition.start_bytes,
            size_bytes: partition.size_bytes,
            type_id: partition.type_id.to_string(),
            attributes: format!("{:016x}", partition.attributes),
            no_auto: partition.is_no_auto(),
            logical_sector_bytes: partition.logical_sector_bytes,
            physical_sector_bytes: partition.physical_sector_bytes,
            damage: partition.damage,
        }
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let auto = if self.no_auto { "" } else { ", systems may swap to it by themselves" };
        let damage = self.damage.as_ref().map(|damage| format!("; its table is damaged in front: {damage}"));
        format!(
            "on {}: number {} on {}, {} from byte {}, type {}, attributes {}{auto}{}\n",
            self.device,
            self.number,
            self.disk,
            size::show(self.size_bytes),
            self.start_bytes,
            self.type_id,
            self.attributes,
            damage.unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::Uuid;

    fn example() -> PartitionDocument {
        PartitionDocument {
            id: Uuid::from_u128(7).to_string(),
            disk: "/dev/sdb".into(),
            device: "/dev/sdb1".into(),
            number: 1,
            start_bytes: 1 << 20,
            size_bytes: 1 << 40,
            type_id: keha_fs::partition::LINUX_SWAP.to_string(),
            attributes: "8000000000000000".into(),
            no_auto: true,
            logical_sector_bytes: 512,
            physical_sector_bytes: 4096,
            damage: None,
        }
    }

    #[test]
    fn the_document_is_as_published() {
        insta::assert_json_snapshot!(example());
    }

    #[test]
    fn the_line_is_as_published() {
        let damaged =
            PartitionDocument { no_auto: false, damage: Some("its header is gone".into()), ..example() };
        insta::assert_snapshot!(example().line() + &damaged.line());
    }
}
