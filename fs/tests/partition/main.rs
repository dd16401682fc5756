//! Volumes on partitions, on real block devices: loop devices that each test makes for itself. Without the right to make them the tests
//! are skipped, and say so.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "volumes in files are not made here")]
mod common;
mod disk;
mod finding;
mod grow;
mod guards;
#[path = "../../../tests/src/loop_device.rs"]
mod loop_device;
mod volume;
