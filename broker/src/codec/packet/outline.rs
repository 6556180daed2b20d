//! The outline that nearly all 5.0 packets share: something fixed, a block of properties, a payload; and the two properties
//! that may be left out, reason string and user properties.
//!
//! Invariant: reason string and user properties never make a packet larger than its receiver takes ([MQTT-3.2.2-19],
//! [MQTT-3.2.2-20] and their like for the other packets), nor reach one that has asked for no problem information.

use crate::codec::frame::{check_size, write_header};
use crate::codec::primitive::{Block, Sink, varint_len};
use crate::codec::property::PropertyId;
use crate::codec::user_property::write_pair;
use crate::codec::{ByteStr, EncodeError, MAX_FIELD_LEN, Peer, UserProperties};
use crate::mutation::{Mutation, mutated};

/// Why something happened, in words: the properties that may be left out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Diagnostics<'a> {
    reason_string: Option<&'a str>,
    user: User<'a>,
}

#[derive(Debug, Clone, Copy)]
enum User<'a> {
    Pairs(&'a [(&'a str, &'a str)]),
    Wire(&'a [u8]),
}

impl Default for User<'_> {
    fn default() -> Self {
        Self::Pairs(&[])
    }
}

impl<'a> Diagnostics<'a> {
    /// Of a packet made on the spot. What is too long for a field of the protocol is left out.
    pub(super) fn of_pairs(reason_string: Option<&'a str>, pairs: &'a [(&'a str, &'a str)]) -> Self {
        let fits = |text: &str| text.len() <= MAX_FIELD_LEN;
        let all_fit = pairs.iter().all(|(name, value)| fits(name) && fits(value));
        Self {
            reason_string: reason_string.filter(|reason| fits(reason)),
            user: User::Pairs(if all_fit { pairs } else { &[] }),
        }
    }

    pub(super) fn of(reason_string: Option<&'a ByteStr>, user: &'a UserProperties) -> Self {
        Self { reason_string: reason_string.map(ByteStr::as_str), user: User::Wire(user.as_wire()) }
    }

    fn is_empty(&self) -> bool {
        self.reason_string.is_none()
            && match self.user {
                User::Pairs(pairs) => pairs.is_empty(),
                User::Wire(wire) => wire.is_empty(),
            }
    }

    /// The most of it that the receiver takes, where `body_len` gives the length of the body with so many bytes of
    /// these.
    fn fitting(self, max_packet_size: u32, body_len: impl Fn(usize) -> usize) -> Self {
        let without_user = Self { user: User::default(), ..self };
        let without_reason = Self { reason_string: None, ..self };
        [self, without_user, without_reason]
            .into_iter()
            .find(|some| check_size(body_len(some.len()), max_packet_size).is_ok())
            .unwrap_or_default()
    }
}

impl Block for Diagnostics<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        if let Some(reason) = self.reason_string {
            put_text(out, PropertyId::ReasonString, Some(reason));
        }
        match self.user {
            User::Pairs(pairs) => pairs.iter().for_each(|(name, value)| write_pair(out, name, value)),
            User::Wire(wire) => out.put(wire),
        }
    }
}

/// A 5.0 packet in its parts.
pub(super) struct Outline<'a, P> {
    /// The first byte.
    pub(super) first: u8,
    /// What stands before the properties.
    pub(super) head: &'a [u8],
    /// The properties that must be there.
    pub(super) properties: P,
    /// The properties that may be left out.
    pub(super) diagnostics: Diagnostics<'a>,
    /// Whether the packet carries diagnostics to a receiver that wants no problem information.
    pub(super) always_diagnostics: bool,
    /// Bytes of the head that remain if there are no properties, where the packet has a short form without even their
    /// length.
    pub(super) short: Option<usize>,
    /// What stands behind the properties.
    pub(super) tail: &'a [u8],
}

impl<P: Block> Outline<'_, P> {
    /// Writes the packet, with as much of the diagnostics as fits.
    pub(super) fn encode(self, out: &mut impl Sink, peer: Peer) -> Result<usize, EncodeError> {
        let needed = self.properties.len();
        let around = self.head.len() + self.tail.len();
        let body_len = |extra: usize| match (self.short, needed + extra) {
            (Some(short), 0) => short,
            (_, len) => around + varint_len(len as u32) + len,
        };
        let mut diagnostics = self.diagnostics;
        let unwanted = !peer.problem_information && !mutated(Mutation::SendsUnwantedProblems);
        if unwanted && !self.always_diagnostics {
            diagnostics = Diagnostics::default();
        }
        if !diagnostics.is_empty() && !mutated(Mutation::SendsNoShorterWords) {
            diagnostics = diagnostics.fitting(peer.max_packet_size, body_len);
        }
        let extra = diagnostics.len();
        let body = body_len(extra);
        let total = check_size(body, peer.max_packet_size)?;

        out.reserve(total);
        write_header(out, self.first, body);
        match (self.short, needed + extra) {
            (Some(short), 0) => out.put(&self.head[..short]),
            (_, len) => {
                out.put(self.head);
                out.put_varint(len as u32);
                self.properties.write(out);
                diagnostics.write(out);
                out.put(self.tail);
            }
        }
        Ok(total)
    }
}

/// No properties that must be there.
pub(super) struct Nothing;

impl Block for Nothing {
    fn write<S: Sink>(&self, _out: &mut S) {}
}

/// Writes a property of one byte.
pub(super) fn put_flag(out: &mut impl Sink, id: PropertyId, value: Option<bool>) {
    if let Some(value) = value {
        out.put(&[id as u8, u8::from(value)]);
    }
}

/// Writes a two-byte property.
pub(super) fn put_u16(out: &mut impl Sink, id: PropertyId, value: Option<u16>) {
    if let Some(value) = value {
        out.put_u8(id as u8);
        out.put_u16(value);
    }
}

/// Writes a four-byte property.
pub(super) fn put_u32(out: &mut impl Sink, id: PropertyId, value: Option<u32>) {
    if let Some(value) = value {
        out.put_u8(id as u8);
        out.put_u32(value);
    }
}

/// Writes a string property.
pub(super) fn put_text(out: &mut impl Sink, id: PropertyId, value: Option<&str>) {
    put_binary(out, id, value.map(str::as_bytes));
}

/// Writes a binary property. The caller has checked its length.
pub(super) fn put_binary(out: &mut impl Sink, id: PropertyId, value: Option<&[u8]>) {
    if let Some(value) = value {
        out.put_u8(id as u8);
        out.put_field(value);
    }
}

/// A binary field can be written.
pub(super) fn check_field(field: &'static str, bytes: &[u8]) -> Result<(), EncodeError> {
    if bytes.len() > MAX_FIELD_LEN {
        return Err(EncodeError::FieldTooLong { field });
    }
    Ok(())
}
