//! Rules of the standards, each broken on purpose: proof that the test of a rule notices.
//!
//! With the cargo feature `mutations`, which nothing but the tests of conformance turns on, the environment variable `CHASQUI_MUTATION` names one
//! rule that this broker then does not keep. Without the feature `mutated` is the constant `false`, and nothing of this is compiled in.
//!
//! To add one: a name here, which says what the broken server does; `&& !mutated(…)` or `|| mutated(…)` at the place in the code that keeps the
//! rule; and the statement and its test in `broker/tests/conformance/mutants.rs`.

macro_rules! mutations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule to be broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutation { $($(#[$doc])* $name,)* }

        impl Mutation {
            /// All of them, with their names.
            pub const ALL: &[(&str, Mutation)] = &[$((stringify!($name), Mutation::$name),)*];
        }
    };
}

mutations! {
    /// A string may contain U+0000.
    TakesNul,
    /// EF BB BF at the start of a topic name is left out.
    SkipsByteOrderMark,
    /// A variable byte integer may be longer than it needs to be.
    TakesLongIntegers,
    /// Any header flags will do.
    TakesAnyHeaderFlags,
    /// Packet id 0 is taken for 1.
    TakesPacketIdZero,
    /// Any protocol name of level 4 is served.
    TakesAnyProtocolName,
    /// A level that is not served is closed without a word.
    SilentAboutLevel,
    /// The reserved flag of CONNECT may be set.
    TakesReservedConnectFlag,
    /// Will QoS and Will Retain may be set without a will.
    TakesWillFlagsWithoutWill,
    /// 3.1.1: a password needs no user name.
    TakesPasswordAlone,
    /// 3.1.1: an empty client id may be kept.
    KeepsEmptyClientId,
    /// Bytes behind the last field do not matter.
    TakesTrailingBytes,
    /// A text frame of a WebSocket is as good as a binary one.
    TakesTextFrames,
    /// A WebSocket needs no subprotocol.
    TakesAnySubprotocol,
    /// The subprotocol of a WebSocket is not answered.
    ChoosesNoSubprotocol,
    /// AUTH may name another method than CONNECT.
    TakesAnotherMethod,
    /// An AUTH of the server that asks for more has the code of one that begins anew.
    AsksWithAnotherCode,
    /// Packets may be larger than the server takes.
    TakesLargePackets,
    /// Packets may be larger than the client takes.
    SendsLargePackets,
    /// Words that make a packet too large keep it from being sent.
    SendsNoShorterWords,
    /// Problem information goes to who asked for none.
    SendsUnwantedProblems,
    /// Session Present is always 1.
    SaysSessionPresent,
    /// A client may send any reason code that there is.
    TakesAnyReasonCode,
    /// A SUBSCRIBE or UNSUBSCRIBE may be empty.
    TakesNoFilter,
    /// Reserved bits of the subscription options may be set.
    TakesReservedOptions,
    /// No Local is taken on a shared subscription.
    TakesNoLocalOnShared,
    /// DUP may be set on a PUBLISH with QoS 0.
    TakesDupWithQoS0,
    /// A topic name may contain wildcards.
    TakesWildcardInName,
    /// A wildcard may be part of a level.
    TakesWildcardInLevel,
    /// A client may send a subscription identifier in a PUBLISH.
    TakesSubscriptionId,
    /// Content Type does not go on with the message.
    LosesContentType,
    /// User properties go on in another order.
    LosesUserProperties,
    /// The time that a message waited is not taken from its expiry.
    ForgetsWaiting,
    /// Wildcards in the first level reach topics that begin with `$`.
    ShowsDollarTopics,
    /// The answer to a SUBSCRIBE has another packet id.
    MixesUpSuback,
    /// A message goes out with DUP the first time.
    SetsDupOnNew,
    /// What is sent again has no DUP.
    RepeatsWithoutDup,
    /// A retained message is kept with QoS 0.
    KeepsAtQoS0,
    /// A retained message may be empty.
    KeepsEmpty,
    /// Every message is retained.
    KeepsWithoutRetain,
    /// What is kept goes to a new subscription without RETAIN.
    SendsKeptWithoutRetain,
    /// RETAIN goes on to established subscriptions.
    PassesRetainOn,
    /// It does so for nobody, whatever a subscription says.
    IgnoresRetainAsPublished,
    /// Retain Handling 1 is taken for 0.
    IgnoresRetainHandling1,
    /// Retain Handling 2 is taken for 0.
    IgnoresRetainHandling2,
    /// What expired while it waited for the window goes out.
    SendsExpired,
    /// Messages go out with the QoS they were published with.
    DeliversAsPublished,
    /// Overlapping subscriptions deliver at the lowest QoS of them.
    DeliversAtLowestQoS,
    /// A message has one subscription identifier at most.
    SendsOneIdentifier,
    /// No Local is not looked at.
    IgnoresNoLocal,
    /// A filter that is there already keeps its subscription.
    KeepsFirstSubscription,
    /// The codes of a SUBACK are in the reverse order.
    TurnsSubackAround,
    /// UNSUBSCRIBE removes every filter that its own covers.
    UnsubscribesWhatIsCovered,
    /// Messages go on after UNSUBSCRIBE.
    DeliversAfterUnsubscribe,
    /// The Receive Maximum of a client is no bound.
    SendsTooMuch,
    /// The server's own Receive Maximum is no bound.
    TakesTooManyPublishes,
    /// A repeated QoS 2 publish is a new one.
    DeliversQoS2Twice,
    /// Packet ids of QoS 2 publishes are not stored.
    ForgetsWhatItReceived,
    /// PUBREL has another packet id than its PUBREC.
    MixesUpPubrel,
    /// A PUBREC that refuses is taken for one that does not.
    ReleasesRefused,
    /// Any alias of a client will do.
    TakesAnyAlias,
    /// One alias more than the client takes.
    SendsTooManyAliases,
    /// A member of a share gets messages with the QoS they were published with.
    SharesAsPublished,
    /// What a member was sent at QoS 2 goes to another when its session ends.
    HandsOnWhatWasBegun,
    /// Topic names are put into small letters.
    FoldsTopics,
}

/// Whether this rule is to be broken.
#[cfg(not(feature = "mutations"))]
#[inline]
pub(crate) const fn mutated(_: Mutation) -> bool {
    false
}

/// Whether this rule is to be broken.
#[cfg(feature = "mutations")]
pub(crate) fn mutated(mutation: Mutation) -> bool {
    static NAMED: std::sync::LazyLock<Option<Mutation>> = std::sync::LazyLock::new(|| {
        let named = std::env::var("CHASQUI_MUTATION").ok()?;
        Mutation::ALL.iter().find(|(name, _)| **name == named).map(|(_, mutation)| *mutation)
    });
    *NAMED == Some(mutation)
}
