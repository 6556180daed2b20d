//! Chasqui's messaging service: users, conversations, inboxes and receipts over the broker, in the store.
//!
//! The way of a command: [`hook`] (who may, what it means) → [`sequencer`] (in which order) → [`machine`] (what changes) → the
//! commit log → back through the hook to the connections. [`service`] puts it together, [`server`] on a machine; [`cli`] is the program.

pub mod access;
pub mod account;
pub mod cli;
pub mod entry;
pub mod hook;
mod listeners;
pub mod machine;
#[doc(hidden)]
pub mod mutation;
pub mod reload;
pub mod sequencer;
pub mod server;
pub mod service;
pub mod session_store;
pub mod settings;
