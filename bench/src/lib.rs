//! A load tool for MQTT brokers, of any make: it publishes, receives, and says what that took.
//!
//! Everything that is not a socket is a plain value: a [`Client`](client::Client) takes bytes and the time, a
//! [`Plan`](run::Plan) says what all of them do, and a [`Report`](report::Report) what came of it. Few threads drive many clients,
//! each with one `epoll`, so that the tool costs a fraction of what any broker does.

pub mod client;
mod conductor;
pub mod crash;
pub mod html;
pub mod payload;
pub mod presence;
pub mod process;
mod receipts;
pub mod report;
pub mod role;
pub mod run;
pub mod scenario;
pub mod shared;
pub mod tally;
pub mod wire;
pub mod worker;
