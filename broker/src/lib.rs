//! An MQTT 3.1.1 and 5.0 broker as a library.
//!
//! It knows packets, sessions, filters and windows, and no application: what a topic means is decided by a [`hook::Hook`], and
//! what outlives a connection is kept by a [`store::Store`], with a twin in memory. The order of the rooms is the
//! way of a message: bytes in ([`Broker::serve`]), packets ([`codec`]), session, hook, tail, pump, bytes out.
//!
//! ```no_run
//! # async fn example(hook: std::sync::Arc<dyn chasqui_broker::hook::Hook>) -> std::io::Result<()> {
//! use chasqui_broker::{Broker, Config, store::ram::RamStore};
//! use std::sync::Arc;
//!
//! let broker = Broker::new(Config::default(), hook, Arc::new(RamStore::default()));
//! broker.start().expect("a store in memory can be read");
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:1883").await?;
//! tokio::join!(broker.serve(listener), broker.tend());
//! # Ok(())
//! # }
//! ```

pub mod codec;
pub mod config;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod hook;
pub mod link;
pub mod message;
#[doc(hidden)]
pub mod mutation;
pub mod retained;
pub mod router;
pub mod shared;
pub mod source;
pub mod stage;
pub mod stats;
pub mod store;
pub mod topic;

mod broker;
mod groups;
mod net;
mod plain;
mod quota;
mod recheck;
mod registry;
mod retention;
mod session;
mod sharing;
mod sources;
mod sys;
mod timers;

pub use broker::Broker;
pub use config::Config;
pub use net::{
    ClientCertificates, Listener, ListenerOptions, Stream, Tls, TlsError, TlsFiles, Transport, UserFrom,
};
pub use quota::{Bucket, PublishRates, Rate};
