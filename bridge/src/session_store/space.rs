//! The spaces of ordered records that this crate uses. The numbers are on disk: they are never reused.

/// Retained messages, by topic in the order of [`chasqui_broker::retained::key_of_topic`].
pub(crate) const RETAINED: u8 = 1;
/// Sessions that hold plain filters, by owner and client id.
pub(crate) const PLAIN_SESSIONS: u8 = 2;
/// Where sessions stand in their sources, by owner and client id.
pub(crate) const CURSORS: u8 = 3;
/// QoS 2 publishes that were carried out and not released, by owner, client id and packet id.
pub(crate) const RECEIVED: u8 = 5;
/// Accounts, by user.
pub(crate) const ACCOUNTS: u8 = 4;
/// When retained messages expire: by Unix milliseconds, big-endian, and topic.
pub(crate) const RETAINED_EXPIRIES: u8 = 6;
/// The conversations of users, by user and the hour of the newest message.
pub(crate) const CHATS: u8 = 8;
/// Messages that users have taken away for themselves, by user, conversation and number.
pub(crate) const HIDDEN: u8 = 9;
/// Messages that users have marked, named in the same way.
pub(crate) const STARRED: u8 = 11;
/// When the time of messages is over: by Unix milliseconds, conversation and number.
pub(crate) const EXPIRIES: u8 = 10;
/// What users are to each other, by both: written by the sequencer.
pub(crate) const TIES: u8 = 16;
/// How much is retained, under the empty name: messages and bytes, big-endian.
pub(crate) const RETAINED_TOTALS: u8 = 7;
/// When users came, by user: written by the sequencer.
pub(crate) const CAME: u8 = 20;
/// What users reported, by an id that follows from what they say.
pub(crate) const REPORTS: u8 = 21;
