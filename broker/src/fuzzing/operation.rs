//! What can happen to one session, as values that a fuzzer makes up.

use arbitrary::{Arbitrary, Unstructured};

/// A whole history of one client id, from its first connection on.
#[derive(Debug, Clone)]
pub struct History {
    /// Which standard the client speaks.
    pub v5: bool,
    /// Its first CONNECT.
    pub first: Hello,
    /// What happens, in order. An operation that makes no sense when its turn comes does nothing.
    pub operations: Vec<Operation>,
}

impl<'a> Arbitrary<'a> for History {
    /// As many operations as there are bytes for: derived, a list would end after two of them on average.
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<History> {
        let mut history =
            History { v5: bytes.arbitrary()?, first: bytes.arbitrary()?, operations: Vec::new() };
        while !bytes.is_empty() {
            history.operations.push(bytes.arbitrary()?);
        }
        Ok(history)
    }
}

/// How long a session is to outlive its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It ends with it.
    Never,
    /// A few seconds.
    Soon,
    /// For ever.
    Kept,
}

/// A CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Hello {
    /// Clean Start.
    pub clean: bool,
    /// Session Expiry Interval; 3.1.1 says it by Clean Session.
    pub expiry: Expiry,
    /// Receive Maximum, from 1 to 8.
    pub receive_maximum: u8,
    /// A Maximum Packet Size below the large messages.
    pub small: bool,
}

/// Topics that any client may use, and what the application makes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// `p/a`
    A,
    /// `p/b`
    B,
    /// A topic that the application carries out.
    Command,
    /// A topic that is refused.
    Refused,
    /// A topic that nobody subscribes to.
    Nobody,
}

/// Filters that the client subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// `p/#`
    Plain,
    /// `p/a`
    PlainA,
    /// `log/#`
    Log,
    /// `log/a`
    LogA,
    /// `state/#`
    State,
    /// `+/a`: plain topics, and the log.
    Mixed,
    /// A filter that is refused.
    Refused,
}

/// What goes with a message.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// 0 to 2.
    pub qos: Level,
    /// RETAIN.
    pub retain: bool,
    /// With a Message Expiry Interval of a second.
    pub expires: bool,
    /// Larger than a client takes that said so.
    pub large: bool,
}

/// A QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// At most once.
    Q0,
    /// At least once.
    Q1,
    /// Exactly once.
    Q2,
}

/// The four acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    /// PUBACK
    Puback,
    /// PUBREC
    Pubrec,
    /// PUBREL
    Pubrel,
    /// PUBCOMP
    Pubcomp,
}

/// Something that happens.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    /// The client connects; an older connection is taken over.
    Connect(Hello),
    /// The client says DISCONNECT, on 5.0 perhaps with another expiry.
    Disconnect(Option<Expiry>),
    /// The network is gone.
    Break,
    /// The server stops in good order and starts again.
    Restart,
    /// The server dies and starts again: what was durable is there.
    Crash,

    /// The client publishes under a free packet id near this one.
    Publish(Topic, Manner, u8),
    /// The client publishes under a packet id that is perhaps in use.
    PublishOver(Topic, Level, u8),
    /// The client says PUBREL for a publish that was received.
    Release(u8),
    /// The client takes so many packets off its connection.
    Receive(u8),
    /// The client answers a message that it has received, as its QoS and stage want it; or refuses it, where 5.0 can.
    Acknowledge {
        /// Which of those that are to be answered.
        which: u8,
        /// With a reason code that refuses.
        refuse: bool,
    },
    /// An acknowledgement that nothing asked for.
    Stray(AckKind, u8),
    /// The client subscribes.
    Subscribe {
        /// To what.
        filter: Filter,
        /// At most at this QoS.
        qos: Level,
        /// Retain Handling, 0 to 2.
        handling: u8,
        /// No Local.
        no_local: bool,
    },
    /// The client unsubscribes.
    Unsubscribe(Filter),
    /// The client says PINGREQ.
    Ping,

    /// The application decides on a SUBSCRIBE, or on the filters of a session that comes back.
    Grant,
    /// The application answers one of its commands, perhaps with a refusal.
    Answer(u8, bool),
    /// Somebody else publishes.
    Deliver(Topic, Manner),
    /// The application appends to its log, and announces it now or later.
    Append {
        /// At which QoS the entry is shown.
        qos: Level,
        /// To its second topic.
        second: bool,
        /// An entry that this client does not get to see.
        hidden: bool,
        /// What was not announced is.
        announce: bool,
    },
    /// The application sets one of its values.
    Set(bool),
    /// So many commits become durable.
    Commit(u8),
    /// The socket takes so many bytes more; 255 for any number.
    Room(u8),
    /// Time passes, tenths of seconds.
    Wait(u8),
}

/// One byte chooses: a derived choice takes four, and all ways alike. What stands here twice comes twice as often.
macro_rules! choices {
    ($($of:ident: $($one:ident)*;)*) => {$(
        impl<'a> Arbitrary<'a> for $of {
            fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<$of> {
                Ok(*bytes.choose(&[$($of::$one),*])?)
            }
        }
    )*};
}

choices! {
    Expiry: Kept Kept Never Soon;
    Topic: A A B B Command Refused Nobody;
    Filter: Plain Plain PlainA Log Log LogA State Mixed Refused;
    Level: Q0 Q1 Q1 Q2 Q2;
    AckKind: Puback Pubrec Pubrel Pubcomp;
}

impl<'a> Arbitrary<'a> for Operation {
    /// What carries messages on comes more often than what ends a connection.
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Operation> {
        Ok(match bytes.arbitrary::<u8>()? {
            0..3 => Operation::Connect(bytes.arbitrary()?),
            3..5 => Operation::Disconnect(bytes.arbitrary()?),
            5..7 => Operation::Break,
            7..8 => Operation::Restart,
            8..10 => Operation::Crash,
            10..30 => Operation::Publish(bytes.arbitrary()?, bytes.arbitrary()?, bytes.arbitrary()?),
            30..31 => Operation::PublishOver(bytes.arbitrary()?, bytes.arbitrary()?, bytes.arbitrary()?),
            31..41 => Operation::Release(bytes.arbitrary()?),
            41..66 => Operation::Receive(bytes.arbitrary::<u8>()? % 8),
            66..98 => Operation::Acknowledge { which: bytes.arbitrary()?, refuse: bytes.ratio(1, 16)? },
            98..99 => Operation::Stray(bytes.arbitrary()?, bytes.arbitrary()?),
            99..111 => Operation::Subscribe {
                filter: bytes.arbitrary()?,
                qos: bytes.arbitrary()?,
                handling: bytes.arbitrary()?,
                no_local: bytes.ratio(1, 4)?,
            },
            111..114 => Operation::Unsubscribe(bytes.arbitrary()?),
            114..116 => Operation::Ping,
            116..136 => Operation::Grant,
            136..146 => Operation::Answer(bytes.arbitrary()?, bytes.ratio(1, 8)?),
            146..180 => Operation::Deliver(bytes.arbitrary()?, bytes.arbitrary()?),
            180..200 => Operation::Append {
                qos: bytes.arbitrary()?,
                second: bytes.arbitrary()?,
                hidden: bytes.ratio(1, 4)?,
                announce: bytes.ratio(2, 3)?,
            },
            200..206 => Operation::Set(bytes.arbitrary()?),
            206..242 => Operation::Commit(bytes.arbitrary::<u8>()? % 8),
            242..250 => Operation::Room(bytes.arbitrary()?),
            250.. => Operation::Wait(bytes.arbitrary::<u8>()? % 64),
        })
    }
}

impl<'a> Arbitrary<'a> for Manner {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Manner> {
        Ok(Manner {
            qos: bytes.arbitrary()?,
            retain: bytes.ratio(1, 8)?,
            expires: bytes.ratio(1, 8)?,
            large: bytes.ratio(1, 4)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Hello {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Hello> {
        Ok(Hello {
            clean: bytes.ratio(1, 4)?,
            expiry: bytes.arbitrary()?,
            receive_maximum: bytes.arbitrary()?,
            small: bytes.ratio(1, 4)?,
        })
    }
}
