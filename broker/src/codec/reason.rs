//! Reason codes of MQTT 5.0 (section 2.4): their names, which packet may carry each, who may send it, and what MQTT
//! 3.1.1 says in its place.
//!
//! Invariant: a decoded packet never holds a code that its type may not carry.

use std::fmt;

use super::{PacketType, Sender};

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)+) => {
        /// What a packet says about the request it answers, or why a connection ends.
        ///
        /// 0x00 has three names in the standard; all are [`ReasonCode::Success`] here (see [`ReasonCode::GRANTED_QOS_0`]
        /// and [`ReasonCode::NORMAL_DISCONNECTION`]).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $value,)+
        }

        impl ReasonCode {
            /// All codes of the standard, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code with this number, if the standard defines it.
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The name the standard gives it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reason_codes! {
    /// Done; granted QoS 0; normal disconnection.
    Success = 0x00, "Success";
    /// Subscribed, at most at QoS 1.
    GrantedQoS1 = 0x01, "Granted QoS 1";
    /// Subscribed, at most at QoS 2.
    GrantedQoS2 = 0x02, "Granted QoS 2";
    /// The client goes and wants its will published.
    DisconnectWithWill = 0x04, "Disconnect with Will Message";
    /// Accepted, and nobody is subscribed.
    NoMatchingSubscribers = 0x10, "No matching subscribers";
    /// There was no such subscription to remove.
    NoSubscriptionExisted = 0x11, "No subscription existed";
    /// One more step of the authentication.
    ContinueAuthentication = 0x18, "Continue authentication";
    /// The client asks to authenticate again.
    ReAuthenticate = 0x19, "Re-authenticate";
    /// Refused without a reason that may be told.
    UnspecifiedError = 0x80, "Unspecified error";
    /// The packet cannot be parsed.
    MalformedPacket = 0x81, "Malformed Packet";
    /// The packet breaks a rule or came at the wrong time.
    ProtocolError = 0x82, "Protocol Error";
    /// Valid, and this server does not do it.
    ImplementationSpecificError = 0x83, "Implementation specific error";
    /// The server does not speak the version asked for.
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version";
    /// The client id is valid text and not allowed.
    ClientIdentifierNotValid = 0x85, "Client Identifier not valid";
    /// Who are you?
    BadUserNameOrPassword = 0x86, "Bad User Name or Password";
    /// Known, and not allowed to.
    NotAuthorized = 0x87, "Not authorized";
    /// The server is not available.
    ServerUnavailable = 0x88, "Server unavailable";
    /// The server is busy; try again later.
    ServerBusy = 0x89, "Server busy";
    /// The client is banned by an operator.
    Banned = 0x8A, "Banned";
    /// The server shuts down.
    ServerShuttingDown = 0x8B, "Server shutting down";
    /// The authentication method is unknown or not the one begun with.
    BadAuthenticationMethod = 0x8C, "Bad authentication method";
    /// Nothing was heard for one and a half keep-alive times.
    KeepAliveTimeout = 0x8D, "Keep Alive timeout";
    /// Another connection uses this client id now.
    SessionTakenOver = 0x8E, "Session taken over";
    /// The topic filter is not accepted.
    TopicFilterInvalid = 0x8F, "Topic Filter invalid";
    /// The topic name is not accepted.
    TopicNameInvalid = 0x90, "Topic Name invalid";
    /// The packet id is already in use.
    PacketIdentifierInUse = 0x91, "Packet Identifier in use";
    /// The packet id is not known.
    PacketIdentifierNotFound = 0x92, "Packet Identifier not found";
    /// More unacknowledged publishes than the receive maximum.
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded";
    /// A topic alias of 0, above the maximum, or not set before.
    TopicAliasInvalid = 0x94, "Topic Alias invalid";
    /// Larger than the maximum packet size.
    PacketTooLarge = 0x95, "Packet too large";
    /// Too many messages in too short a time.
    MessageRateTooHigh = 0x96, "Message rate too high";
    /// A limit of the server or of an operator is reached.
    QuotaExceeded = 0x97, "Quota exceeded";
    /// Ended by an operator.
    AdministrativeAction = 0x98, "Administrative action";
    /// The payload is not what its format indicator says.
    PayloadFormatInvalid = 0x99, "Payload format invalid";
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A, "Retain not supported";
    /// The QoS is above the server's maximum.
    QoSNotSupported = 0x9B, "QoS not supported";
    /// Use another server for now.
    UseAnotherServer = 0x9C, "Use another server";
    /// Use another server from now on.
    ServerMoved = 0x9D, "Server moved";
    /// Shared subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported";
    /// Connecting too often.
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded";
    /// Connected for as long as this connection may be.
    MaximumConnectTime = 0xA0, "Maximum connect time";
    /// Subscription identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1, "Subscription Identifiers not supported";
    /// Wildcards in filters are not supported.
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported";
}

impl ReasonCode {
    /// 0x00 in a SUBACK.
    pub const GRANTED_QOS_0: Self = Self::Success;
    /// 0x00 in a DISCONNECT.
    pub const NORMAL_DISCONNECTION: Self = Self::Success;

    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// True for a refusal or failure (0x80 and above).
    pub const fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// Whether `sender` may put this code into a packet of that type (section 2.4, and the table of each packet).
    pub const fn allowed_in(self, packet: PacketType, sender: Sender) -> bool {
        use PacketType as P;
        use ReasonCode as R;
        match packet {
            P::Connack => matches!(
                self,
                R::Success
                    | R::UnspecifiedError
                    | R::MalformedPacket
                    | R::ProtocolError
                    | R::ImplementationSpecificError
                    | R::UnsupportedProtocolVersion
                    | R::ClientIdentifierNotValid
                    | R::BadUserNameOrPassword
                    | R::NotAuthorized
                    | R::ServerUnavailable
                    | R::ServerBusy
                    | R::Banned
                    | R::BadAuthenticationMethod
                    | R::TopicNameInvalid
                    | R::PacketTooLarge
                    | R::QuotaExceeded
                    | R::PayloadFormatInvalid
                    | R::RetainNotSupported
                    | R::QoSNotSupported
                    | R::UseAnotherServer
                    | R::ServerMoved
                    | R::ConnectionRateExceeded
            ),
            P::Puback | P::Pubrec => matches!(
                self,
                R::Success
                    | R::NoMatchingSubscribers
                    | R::UnspecifiedError
                    | R::ImplementationSpecificError
                    | R::NotAuthorized
                    | R::TopicNameInvalid
                    | R::PacketIdentifierInUse
                    | R::QuotaExceeded
                    | R::PayloadFormatInvalid
            ),
            P::Pubrel | P::Pubcomp => matches!(self, R::Success | R::PacketIdentifierNotFound),
            P::Suback => matches!(
                self,
                R::Success
                    | R::GrantedQoS1
                    | R::GrantedQoS2
                    | R::UnspecifiedError
                    | R::ImplementationSpecificError
                    | R::NotAuthorized
                    | R::TopicFilterInvalid
                    | R::PacketIdentifierInUse
                    | R::QuotaExceeded
                    | R::SharedSubscriptionsNotSupported
                    | R::SubscriptionIdentifiersNotSupported
                    | R::WildcardSubscriptionsNotSupported
            ),
            P::Unsuback => matches!(
                self,
                R::Success
                    | R::NoSubscriptionExisted
                    | R::UnspecifiedError
                    | R::ImplementationSpecificError
                    | R::NotAuthorized
                    | R::TopicFilterInvalid
                    | R::PacketIdentifierInUse
            ),
            P::Disconnect => self.allowed_in_disconnect(sender),
            P::Auth => match sender {
                Sender::Client => matches!(self, R::ContinueAuthentication | R::ReAuthenticate),
                Sender::Server => matches!(self, R::Success | R::ContinueAuthentication),
            },
            P::Connect | P::Publish | P::Subscribe | P::Unsubscribe | P::Pingreq | P::Pingresp => false,
        }
    }

    const fn allowed_in_disconnect(self, sender: Sender) -> bool {
        use ReasonCode as R;
        let either = matches!(
            self,
            R::Success
                | R::UnspecifiedError
                | R::MalformedPacket
                | R::ProtocolError
                | R::ImplementationSpecificError
                | R::TopicNameInvalid
                | R::ReceiveMaximumExceeded
                | R::TopicAliasInvalid
                | R::PacketTooLarge
                | R::MessageRateTooHigh
                | R::QuotaExceeded
                | R::AdministrativeAction
                | R::PayloadFormatInvalid
        );
        let one_side = match sender {
            Sender::Client => matches!(self, R::DisconnectWithWill),
            Sender::Server => matches!(
                self,
                R::NotAuthorized
                    | R::ServerBusy
                    | R::ServerShuttingDown
                    | R::BadAuthenticationMethod
                    | R::KeepAliveTimeout
                    | R::SessionTakenOver
                    | R::TopicFilterInvalid
                    | R::RetainNotSupported
                    | R::QoSNotSupported
                    | R::UseAnotherServer
                    | R::ServerMoved
                    | R::SharedSubscriptionsNotSupported
                    | R::ConnectionRateExceeded
                    | R::MaximumConnectTime
                    | R::SubscriptionIdentifiersNotSupported
                    | R::WildcardSubscriptionsNotSupported
            ),
        };
        either || one_side
    }

    /// The CONNACK return code of MQTT 3.1.1 that says the same, or none: then the connection is closed without a
    /// CONNACK (3.1.1: [MQTT-3.2.2-6]).
    pub const fn connack_v311(self) -> Option<u8> {
        match self {
            Self::Success => Some(0),
            Self::UnsupportedProtocolVersion => Some(1),
            Self::ClientIdentifierNotValid => Some(2),
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::ServerShuttingDown
            | Self::QuotaExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::ConnectionRateExceeded => Some(3),
            Self::BadUserNameOrPassword => Some(4),
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => Some(5),
            _ => None,
        }
    }

    /// The reason a 3.1.1 CONNACK return code stands for, as a client reads it.
    pub const fn from_connack_v311(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedProtocolVersion),
            2 => Some(Self::ClientIdentifierNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.as_u8())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_a_bijection() {
        assert_eq!(ReasonCode::ALL.len(), 43);
        for value in 0..=u8::MAX {
            let listed = ReasonCode::ALL.iter().copied().find(|code| code.as_u8() == value);
            assert_eq!(ReasonCode::from_u8(value), listed);
        }
        assert_eq!(ReasonCode::PacketTooLarge.to_string(), "Packet too large (0x95)");
    }

    /// Counts taken from the tables of the standard: a code added to or lost from a packet changes one of them.
    #[test]
    fn as_many_codes_per_packet_as_the_standard_lists() {
        use PacketType as P;
        let count =
            |packet, sender| ReasonCode::ALL.iter().filter(|code| code.allowed_in(packet, sender)).count();
        assert_eq!(count(P::Connack, Sender::Server), 22);
        assert_eq!(count(P::Puback, Sender::Client), 9);
        assert_eq!(count(P::Pubrec, Sender::Server), 9);
        assert_eq!(count(P::Pubrel, Sender::Client), 2);
        assert_eq!(count(P::Pubcomp, Sender::Server), 2);
        assert_eq!(count(P::Suback, Sender::Server), 12);
        assert_eq!(count(P::Unsuback, Sender::Server), 7);
        assert_eq!(count(P::Disconnect, Sender::Client), 14);
        assert_eq!(count(P::Disconnect, Sender::Server), 29);
        assert_eq!(count(P::Auth, Sender::Client), 2);
        assert_eq!(count(P::Auth, Sender::Server), 2);
        assert_eq!(count(P::Publish, Sender::Client), 0);
    }

    #[test]
    fn connack_codes_of_3_1_1_survive_the_round_trip() {
        for code in 0..=5 {
            let reason = ReasonCode::from_connack_v311(code).expect("0 to 5 are defined");
            assert_eq!(reason.connack_v311(), Some(code));
        }
        assert_eq!(ReasonCode::from_connack_v311(6), None);
        assert_eq!(ReasonCode::MalformedPacket.connack_v311(), None);
    }
}
