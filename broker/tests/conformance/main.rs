//! What the standards demand of a server, statement by statement, in bytes over a real socket: `conformance.md` beside this folder says which
//! test shows which statement. Most tests run for 3.1.1 and for 5.0 from one body.
//!
//! To add a test: write it in the module of its chapter, and name it in the row of the statement it shows. [`table`] fails until both
//! are there.

#[path = "../support/mod.rs"]
mod support;

mod door;
#[cfg(feature = "mutations")]
mod mutants;
mod raw;
mod statements;
mod table;

mod acks;
mod alias;
mod auth;
mod closing;
mod connack;
mod connect;
mod delivery;
mod format;
mod publish;
mod qos2;
mod retained;
mod sessions;
mod shared;
mod subscribe;
mod topics;
mod transport;
mod wills;
