//! How much one peer may ask for: places for its connections, and rates.
//!
//! All of it is off where nothing is configured, and costs nothing then. What is counted by key is kept only while somebody has a place or
//! has asked too often lately.

mod places;
mod publisher;
mod rate;

pub(crate) use places::{Allowance, Place, Places, Refusal, prefix_of};
pub(crate) use publisher::{Publisher, SharedRates};
pub use rate::{Bucket, PublishRates, Rate};
