//! One file per packet, with the same verbs in each: `decode` the body and `encode` the whole packet, for both versions and
//! whichever side sends it.
//!
//! Every `encode` gives the number of bytes written. 0 means that this version has no form of the packet (DISCONNECT from a
//! 3.1.1 server, a refusal in a 3.1.1 PUBACK): nothing was written, and the caller closes the connection instead.

pub mod ack;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod encoded_publish;
pub mod message_properties;
mod outline;
pub mod ping;
pub mod publish;
pub mod suback;
pub mod subscribe;
pub mod unsuback;
pub mod unsubscribe;

pub use connect::Will;
