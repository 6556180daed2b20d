//! The commit log and the disks under it, from outside.
//!
//! What does not depend on the kind of disk runs over a real folder and over the twin in memory.

#[path = "commit_log/damage.rs"]
mod damage;
#[path = "commit_log/disks.rs"]
mod disks;
#[path = "commit_log/failures.rs"]
mod failures;
#[path = "commit_log/group.rs"]
mod group;
#[path = "commit_log/power_cut.rs"]
mod power_cut;
#[path = "commit_log/support.rs"]
mod support;
#[path = "commit_log/use_of_files.rs"]
mod use_of_files;
