//! Every limit of the protocol and the service, in one file, with its unit in its name and their relations asserted.
//!
//! Limits that a client author meets are in `topics.md` too; a test compares the two. The others are
//! bounds inside the server. Where a setting can change one, this is its default.

/// A limit as documentation shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The constant's name; its end says the unit.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What it bounds, and what happens beyond.
    pub meaning: &'static str,
}

macro_rules! limits {
    ($(#[$about:meta])* $table:ident: $($(#[doc = $meaning:literal])+ $name:ident: $kind:ty = $value:expr;)+) => {
        $($(#[doc = $meaning])+ pub const $name: $kind = $value;)+
        $(#[$about])*
        pub const $table: &[Limit] =
            &[$(Limit { name: stringify!($name), value: $name as u64, meaning: concat!($($meaning),+).trim_ascii() },)+];
    };
}

limits! {
    /// The limits that a client author meets.
    PROTOCOL:

    /// Letters in a user, device or group id.
    ID_MAX_BYTES: usize = 64;
    /// A `client_msg_id`.
    CLIENT_MSG_ID_MAX_BYTES: usize = 16;
    /// A text or other body, encoded as protobuf.
    BODY_MAX_BYTES: usize = 65_536;
    /// An address (`url`) or a name of a file, a place, a sticker, a contact: any short text in a body or a preview.
    SHORT_TEXT_MAX_BYTES: usize = 2_048;
    /// A caption, the description of a preview, the excerpt of a quote, the address of a place.
    CAPTION_MAX_BYTES: usize = 4_096;
    /// A thumbnail.
    THUMBNAIL_MAX_BYTES: usize = 16_384;
    /// The waveform of a voice note.
    WAVEFORM_MAX_BYTES: usize = 1_024;
    /// Users that one message mentions.
    MENTIONS_MAX: usize = 256;
    /// A whole `Send`: body, quote, mentions, preview.
    SEND_MAX_BYTES: usize = 131_072;
    /// How long after it was said a message can be edited.
    EDIT_WINDOW_MS: u64 = 15 * 60 * 1_000;
    /// How often a message can be edited.
    EDITS_MAX: usize = 32;
    /// How long after it was said a message can be deleted for everyone.
    DELETE_WINDOW_MS: u64 = 48 * 60 * 60 * 1_000;
    /// How long a message that disappears may be there, in seconds.
    TIMER_MAX_S: u32 = 366 * 24 * 60 * 60;
    /// The sign of a reaction.
    REACTION_MAX_BYTES: usize = 64;
    /// Messages on a page of history.
    HISTORY_MAX_ITEMS: usize = 100;
    /// The same in bytes; one message is on it even when it has more.
    HISTORY_MAX_BYTES: usize = 262_144;
    /// Conversations on a page of `do/sync`.
    SYNC_MAX_ITEMS: usize = 50;
    /// Unread messages that are counted; this stands for as many or more.
    UNREAD_MAX: u32 = 999;
    /// A draft.
    DRAFT_MAX_BYTES: usize = 8_192;
    /// Users on somebody's contact and block list together; one more is refused.
    TIES_PER_USER: usize = 5_000;
    /// Users of one `do/contact.add` or `do/contact.remove`.
    CONTACTS_PER_COMMAND: usize = 256;
    /// Users on a page of `do/contacts`.
    CONTACTS_MAX_ITEMS: usize = 250;
    /// Messages that go with a report.
    REPORT_MESSAGES_MAX: usize = 20;
    /// The same in bytes.
    REPORT_MAX_BYTES: usize = 262_144;
    /// The note of a report.
    REPORT_NOTE_MAX_BYTES: usize = 1_024;
    /// The payload of any other command, but for `do/edit`, which may have as much as a `Send`.
    COMMAND_MAX_BYTES: usize = 16_384;
    /// A `Typing`.
    TYPING_MAX_BYTES: usize = 256;
    /// The same `Typing` to the same peer within this time is not passed on again.
    TYPING_REPEAT_MS: u64 = 1_000;
    /// How long a `Typing` holds for who gets it, without another.
    TYPING_LIFE_MS: u64 = 6_000;
    /// Who is back within this time was not away: no change of presence.
    PRESENCE_GRACE_MS: u64 = 10_000;
    /// Least time between two values of one presence topic, conflated.
    PRESENCE_INTERVAL_MS: u64 = 1_000;
    /// Values of presence topics that one connection is given in any second; the rest wait, conflated.
    PRESENCE_PER_SECOND: usize = 50;
    /// Presence topics that one connection subscribes to; one more is refused.
    PRESENCE_WATCHES_PER_CONNECTION: usize = 5_000;
    /// An MQTT packet of any kind; what the server announces as Maximum Packet Size.
    PACKET_MAX_BYTES: usize = 1_048_576;
    /// The CONNECT packet, its will included: until then nobody knows who it is.
    PACKET_BEFORE_CONNECT_MAX_BYTES: usize = 16_384;
    /// From the opened connection to its CONNECT.
    CONNECT_WAIT_MS: u64 = 10_000;
    /// A topic name or filter.
    TOPIC_MAX_BYTES: usize = 4_096;
    /// Levels of a topic name or filter.
    TOPIC_MAX_LEVELS: usize = 128;
    /// Filters that one session holds.
    SUBSCRIPTIONS_PER_SESSION: usize = 2_000;
    /// Devices of one user; one more is refused.
    DEVICES_PER_USER: usize = 10;
    /// QoS 1 and 2 messages a client may have unanswered on 5.0; what the server announces as Receive Maximum.
    RECEIVE_MAXIMUM: u16 = 128;
    /// Messages in flight to a client on 3.1.1, which cannot say its own Receive Maximum.
    WINDOW_V311: u16 = 32;
    /// Accepted `client_msg_id`s remembered per device.
    DEDUPE_IDS_PER_DEVICE: usize = 256;
    /// Members of a group, all of whom have its messages in their own log; one more is refused.
    GROUP_MAX_MEMBERS: usize = 256;
    /// The name of a group.
    GROUP_NAME_MAX_BYTES: usize = 256;
    /// The description of a group.
    GROUP_DESCRIPTION_MAX_BYTES: usize = 2_048;
    /// The photo of a group: the reference to it, encoded as protobuf.
    GROUP_PHOTO_MAX_BYTES: usize = 4_096;
    /// Members that a receipt names one by one; above, it counts.
    RECEIPT_MAX_MEMBERS: usize = 32;
    /// Least time between two values of one receipt topic, conflated.
    RECEIPT_INTERVAL_MS: u64 = 250;
    /// The longest a publisher over its rate is made to wait before it is refused instead.
    RATE_WAIT_MAX_MS: u64 = 5_000;
    /// A log entry that no device takes ends after this, visibly.
    ENTRY_EXPIRY_MS: u64 = 30 * DAY_MS;
    /// The record of a session that is not seen ends after this, whatever expiry it asked for.
    SESSION_EXPIRY_MAX_MS: u64 = 30 * DAY_MS;
    /// How far ahead of the last stored one packet ids continue after an unclean stop.
    PACKET_ID_DISTANCE: u16 = 32_768;
}

limits! {
    /// Bounds inside the server.
    SERVICE:

    /// A body that inbox entries carry themselves; larger ones they point to.
    INLINE_BODY_MAX_BYTES: usize = 256;
    /// The longest a cursor's move waits for a batch to ride on; a crash re-delivers what moved within it.
    CURSOR_DELAY_MS: u64 = 20;
    /// The least time between two flushes of the commit log when busy, and between two steps of the sequencer.
    FLUSH_INTERVAL_MS: u64 = 1;
    /// Changes held in memory before a chunk goes down to the state store.
    OVERLAY_MAX_BYTES: usize = 64 * MIB;
    /// Age of the oldest such change.
    OVERLAY_MAX_AGE_MS: u64 = 5_000;
    /// Commands waiting for the sequencer; when full, the sockets they come from are not read.
    SEQUENCER_QUEUE_MAX_ITEMS: usize = 8_192;
    /// The same in bytes.
    SEQUENCER_QUEUE_MAX_BYTES: usize = 64 * MIB;
    /// Records in one batch of the commit log.
    BATCH_MAX_ITEMS: usize = 4_096;
    /// The same in bytes.
    BATCH_MAX_BYTES: usize = 8 * MIB;
    /// Generic messages waiting for a clean session; full of QoS above 0, the session is disconnected.
    CLEAN_QUEUE_MAX_ITEMS: usize = 4_096;
    /// The same in bytes.
    CLEAN_QUEUE_MAX_BYTES: usize = 4 * MIB;
    /// Generic messages waiting for a persistent session; beyond, the session ends as a whole.
    PERSISTENT_QUEUE_MAX_ITEMS: usize = 100_000;
    /// The same in bytes.
    PERSISTENT_QUEUE_MAX_BYTES: usize = 256 * MIB;
    /// Signals waiting for one connection; the oldest go first.
    SIGNAL_QUEUE_MAX_ITEMS: usize = 64;
    /// Users of whom it is kept when they were there last; beyond, those who left longest ago are as if never seen.
    PRESENCE_SEEN_MAX_ITEMS: usize = 500_000;
    /// Values of presence topics that all connections together are given in one tick (50 ms); the rest wait, conflated.
    PRESENCE_UPDATES_PER_TICK: usize = 2_048;
    /// Of these, how many while others wait for the lock.
    PRESENCE_UPDATES_AT_ONCE: usize = 128;
    /// A reason string; longer ones are cut.
    REASON_MAX_BYTES: usize = 256;
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const MIB: usize = 1_024 * 1_024;

/// The longest topic of the contract: `json/` and three ids around `u//typing/g//`.
pub const LONGEST_TOPIC_BYTES: usize = "json/u//typing/g//".len() + 3 * ID_MAX_BYTES;
/// The most levels a topic of the contract has, `json/` included.
pub const DEEPEST_TOPIC_LEVELS: usize = 7;

const _: () = assert!(LONGEST_TOPIC_BYTES <= TOPIC_MAX_BYTES, "every topic of the contract can be published");
const _: () = assert!(DEEPEST_TOPIC_LEVELS <= TOPIC_MAX_LEVELS);
const _: () =
    assert!(BODY_MAX_BYTES < SEND_MAX_BYTES, "the largest body leaves room for the rest of its message");
const _: () = assert!(INLINE_BODY_MAX_BYTES < BODY_MAX_BYTES);
const _: () =
    assert!(4 * SEND_MAX_BYTES + TOPIC_MAX_BYTES < PACKET_MAX_BYTES, "the largest message fits, as JSON too");
const _: () = assert!(COMMAND_MAX_BYTES <= SEND_MAX_BYTES);
const _: () = assert!(DRAFT_MAX_BYTES < COMMAND_MAX_BYTES);
const _: () = assert!(
    2 * (HISTORY_MAX_BYTES + SEND_MAX_BYTES) < PACKET_MAX_BYTES,
    "a page fits into a packet, its last message however large, and as JSON where bodies are text"
);
const _: () = assert!(PACKET_BEFORE_CONNECT_MAX_BYTES < PACKET_MAX_BYTES);
const _: () = assert!(PACKET_MAX_BYTES < 268_435_455, "what a remaining length can say [MQTT-2.1.4]");
const _: () = assert!(
    (RECEIVE_MAXIMUM as usize) < DEDUPE_IDS_PER_DEVICE,
    "every message a device can still retry is one whose id is remembered"
);
const _: () = assert!(WINDOW_V311 > 0 && RECEIVE_MAXIMUM > 0, "zero is a protocol error [MQTT-3.1.2.11.3]");
const _: () = assert!(WINDOW_V311 < PACKET_ID_DISTANCE && RECEIVE_MAXIMUM < PACKET_ID_DISTANCE);
const _: () = assert!(RECEIPT_MAX_MEMBERS <= GROUP_MAX_MEMBERS);
const _: () = assert!(
    GROUP_NAME_MAX_BYTES + GROUP_DESCRIPTION_MAX_BYTES + GROUP_PHOTO_MAX_BYTES < COMMAND_MAX_BYTES,
    "a group can be described in one command"
);
const _: () = assert!(
    GROUP_MAX_MEMBERS * (ID_MAX_BYTES + 2) > COMMAND_MAX_BYTES,
    "long ids are added in several commands"
);
const _: () = assert!(CONTACTS_PER_COMMAND <= TIES_PER_USER && CONTACTS_MAX_ITEMS <= TIES_PER_USER);
const _: () = assert!(
    CONTACTS_MAX_ITEMS * (ID_MAX_BYTES + 64) < PACKET_MAX_BYTES,
    "a page of contacts fits into a packet, as JSON too"
);
const _: () = assert!(PRESENCE_INTERVAL_MS < PRESENCE_GRACE_MS);
const _: () = assert!(PRESENCE_PER_SECOND <= PRESENCE_UPDATES_AT_ONCE);
const _: () = assert!(PRESENCE_UPDATES_AT_ONCE <= PRESENCE_UPDATES_PER_TICK);
const _: () = assert!(FLUSH_INTERVAL_MS < CURSOR_DELAY_MS && CURSOR_DELAY_MS < OVERLAY_MAX_AGE_MS);
const _: () = assert!(CURSOR_DELAY_MS < RECEIPT_INTERVAL_MS);
const _: () = assert!(RATE_WAIT_MAX_MS < CONNECT_WAIT_MS);
const _: () =
    assert!(SESSION_EXPIRY_MAX_MS / 1_000 < u32::MAX as u64, "Session Expiry Interval is 32 bits of seconds");
const _: () = assert!(PACKET_MAX_BYTES <= BATCH_MAX_BYTES && BATCH_MAX_BYTES <= SEQUENCER_QUEUE_MAX_BYTES);
const _: () = assert!(BATCH_MAX_ITEMS <= SEQUENCER_QUEUE_MAX_ITEMS);
const _: () = assert!(SEQUENCER_QUEUE_MAX_BYTES <= OVERLAY_MAX_BYTES);
const _: () = assert!(PACKET_MAX_BYTES <= CLEAN_QUEUE_MAX_BYTES, "one packet always fits an empty queue");
const _: () = assert!(
    CLEAN_QUEUE_MAX_ITEMS < PERSISTENT_QUEUE_MAX_ITEMS && CLEAN_QUEUE_MAX_BYTES < PERSISTENT_QUEUE_MAX_BYTES
);
const _: () = assert!(REASON_MAX_BYTES < COMMAND_MAX_BYTES);
