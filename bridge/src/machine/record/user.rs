//! A user: the heads of their logs, and how far each of their devices is.

use crate::machine::codec::{self, DecodeError, Input, put_bytes, put_number};
use chasqui_proto::DeviceId;
use smallvec::SmallVec;

const VERSION: u8 = 1;
const EXISTS: u8 = 1;
const HIDES_READS: u8 = 2;
const LIVED_BEFORE: u8 = 4;
const HAS_TIES: u8 = 8;
/// Two bits for who sees whether they are there.
const AUDIENCE: u8 = 16 | 32;
const AUDIENCE_SHIFT: u32 = 4;
const HAS_LOST: u8 = 64;

/// A user.
///
/// Always `trimmed ≤ each device's acked ≤ floor ≤ inbox_head`. A removed user keeps the heads, so that
/// positions are not used again should the name be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Whether there is such a user; false also for the default, a name never heard of.
    pub exists: bool,
    /// Position of the newest inbox entry; entries are numbered from 1 without a gap.
    pub inbox_head: u64,
    /// Inbox entries up to here are gone: every device has them.
    pub trimmed: u64,
    /// The end of the contiguous prefix of the inbox that some device has, or had. Outlives devices.
    pub floor: u64,
    /// Position of the newest receipt this user was given.
    pub state_head: u64,
    /// Says nothing about what this user reads, and is told nothing about others' reading.
    pub hides_reads: bool,
    /// Who sees whether this user is there.
    pub presence: Audience,
    /// How many others are something to this user: records of [`Tie`](super::Tie) that are kept for this one of the name.
    pub ties: u32,
    /// How many times a user of this name was removed: who comes under it later is somebody else, and a member of nothing.
    pub lives: u32,
    /// What was said before, in Unix milliseconds, is none of theirs: when this one came, where there were others of the name before; else 0.
    pub since_ms: u64,
    /// The devices attached to the inbox, in the order of their ids.
    pub devices: SmallVec<[Device; 1]>,
    /// Devices whose cursor the server forgot without being asked to, and that have not been told, the last ones of them.
    pub lost: Box<[LostDevice]>,
}

/// A device whose cursor is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostDevice {
    /// Its id.
    pub id: DeviceId,
    /// Since when, Unix milliseconds.
    pub at_ms: u64,
}

/// Who sees whether a user is there, and since when not. Who is blocked never does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Audience {
    /// Everybody.
    #[default]
    Everyone,
    /// Those on the user's contact list.
    Contacts,
    /// Nobody; and the user sees it of nobody.
    Nobody,
}

impl Audience {
    /// As the number of [`v1::settings::Audience`](chasqui_proto::v1::settings::Audience), and in the record.
    pub fn number(self) -> u8 {
        match self {
            Audience::Everyone => 0,
            Audience::Contacts => 1,
            Audience::Nobody => 2,
        }
    }

    /// The audience of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Audience> {
        [Audience::Everyone, Audience::Contacts, Audience::Nobody].get(usize::from(number)).copied()
    }
}

/// A device: a persistent session that reads the inbox at QoS 1 or 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// It has every inbox entry up to here.
    pub acked: u64,
}

impl User {
    /// The device of this id, if it is attached.
    pub fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == *id)
    }

    /// The device of this id, if it is to be told that its cursor is forgotten.
    pub fn lost(&self, id: &DeviceId) -> Option<&LostDevice> {
        self.lost.iter().find(|lost| lost.id == *id)
    }

    /// Up to where the inbox is needed by nobody: what all devices have; with no device, what some device
    /// had.
    pub fn done_with(&self) -> u64 {
        self.devices.iter().map(|device| device.acked).min().unwrap_or(self.floor)
    }

    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = u8::from(self.exists) * EXISTS
            + u8::from(self.hides_reads) * HIDES_READS
            + u8::from(self.lives > 0) * LIVED_BEFORE
            + u8::from(self.ties > 0) * HAS_TIES
            + u8::from(!self.lost.is_empty()) * HAS_LOST
            + (self.presence.number() << AUDIENCE_SHIFT);
        out.extend_from_slice(&[VERSION, flags]);
        if self.lives > 0 {
            put_number(out, u64::from(self.lives));
            put_number(out, self.since_ms);
        }
        if self.ties > 0 {
            put_number(out, u64::from(self.ties));
        }
        for number in [self.inbox_head, self.trimmed, self.floor, self.state_head, self.devices.len() as u64]
        {
            put_number(out, number);
        }
        for device in &self.devices {
            put_bytes(out, device.id.as_bytes());
            put_number(out, device.acked);
        }
        if !self.lost.is_empty() {
            put_number(out, self.lost.len() as u64);
        }
        for lost in &self.lost {
            put_bytes(out, lost.id.as_bytes());
            put_number(out, lost.at_ms);
        }
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no user.
    pub fn decode(stored: &[u8]) -> Result<User, DecodeError> {
        codec::versioned("user", VERSION, stored, |input| {
            let flags = input.byte()?;
            let lived_before = flags & LIVED_BEFORE != 0;
            let mut user = User {
                exists: flags & EXISTS != 0,
                hides_reads: flags & HIDES_READS != 0,
                presence: Audience::from_number((flags & AUDIENCE) >> AUDIENCE_SHIFT)?,
                lives: if lived_before { above_none(input)? } else { 0 },
                since_ms: if lived_before { input.number()? } else { 0 },
                ties: if flags & HAS_TIES != 0 { above_none(input)? } else { 0 },
                inbox_head: input.number()?,
                trimmed: input.number()?,
                floor: input.number()?,
                state_head: input.number()?,
                devices: SmallVec::new(),
                lost: Box::default(),
            };
            for _ in 0..input.number()? {
                let id = DeviceId::parse(input.text()?).ok()?;
                user.devices.push(Device { id, acked: input.number()? });
            }
            if flags & HAS_LOST != 0 {
                let mut lost = Vec::new();
                for _ in 0..above_none(input)? {
                    let id = DeviceId::parse(input.text()?).ok()?;
                    lost.push(LostDevice { id, at_ms: input.number()? });
                }
                user.lost = lost.into();
            }
            let known = EXISTS | HIDES_READS | LIVED_BEFORE | HAS_TIES | AUDIENCE | HAS_LOST;
            (flags & !known == 0).then_some(user)
        })
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        let devices = if self.devices.spilled() { self.devices.capacity() * size_of::<Device>() } else { 0 };
        devices + size_of_val(&*self.lost)
    }
}

/// A count that is written where there is something to count.
fn above_none(input: &mut Input<'_>) -> Option<u32> {
    u32::try_from(input.number()?).ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(
            exists: bool, hides_reads: bool, audience in 0u8..3, ties in 0u32..300, (lives, since_ms) in prop_oneof![Just((0u32, 0u64)), (1u32..300, any::<u64>())],
            numbers: [u64; 4],
            devices in prop::collection::vec(("[A-Za-z0-9_-]{1,64}", any::<u64>()), 0..4),
            lost in prop::collection::vec(("[A-Za-z0-9_-]{1,64}", any::<u64>()), 0..3),
        ) {
            let [inbox_head, trimmed, floor, state_head] = numbers;
            let devices =
                devices.iter().map(|(id, acked)| Device { id: DeviceId::parse(id).unwrap(), acked: *acked }).collect();
            let lost = lost.iter().map(|(id, at_ms)| LostDevice { id: DeviceId::parse(id).unwrap(), at_ms: *at_ms }).collect();
            let presence = Audience::from_number(audience).unwrap();
            let user = User {
                exists, inbox_head, trimmed, floor, state_head, hides_reads, presence, ties, lives, since_ms, devices, lost,
            };
            let mut stored = Vec::new();
            user.encode(&mut stored);
            prop_assert_eq!(User::decode(&stored), Ok(user));
            prop_assert!(User::decode(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = User::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn records_from_before_there_was_presence_are_read() {
        let stored = [VERSION, EXISTS | HIDES_READS, 9, 4, 5, 7, 0];
        let user = User {
            exists: true,
            hides_reads: true,
            inbox_head: 9,
            trimmed: 4,
            floor: 5,
            state_head: 7,
            ..User::default()
        };
        assert_eq!(User::decode(&stored), Ok(user));
    }

    #[test]
    fn an_audience_that_there_is_not_is_refused() {
        let stored = [VERSION, EXISTS | AUDIENCE, 0, 0, 0, 0, 0];
        assert_eq!(User::decode(&stored), Err(DecodeError::Malformed("user")));
        assert_eq!(Audience::from_number(3), None);
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(User::decode(&[9]), Err(DecodeError::Newer { what: "user", found: 9, known: 1 }));
    }
}
