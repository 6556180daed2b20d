//! The stages of a message's way through the server, in one place, so that metrics, traces and logs share the words.

/// Where a message is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Its packet is decoded.
    Received,
    /// It may go where it wants to go.
    Authorized,
    /// It has its place in its conversation.
    Sequenced,
    /// The batch that holds it is flushed.
    Durable,
    /// Its sender was told so.
    Acked,
    /// A device has acknowledged it.
    Delivered,
    /// Somebody has read it.
    Read,
}
