//! The contract's tests: what parses and what does not, what survives the way through, and `topics.md` against the code.

mod contract;
mod error;
mod filter;
mod ids;
mod send;
mod topic;
mod wire;
