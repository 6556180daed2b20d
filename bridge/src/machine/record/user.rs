//! A user: the heads of their logs, and how far each of their devices is.

use crate::machine::codec::{self, DecodeError, Input, put_bytes, put_number};
use chasqui_proto::DeviceId;
use smallvec::SmallVec;

const VERSION: u8 = 1;
const EXISTS: u8 = 1;
const HIDES_READS: u8 = 2;
const LIVED_BEFORE: u8 = 4;

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
    /// How many times a user of this name was removed: who comes under it later is somebody else, and a member of nothing.
    pub lives: u32,
    /// What was said before, in Unix milliseconds, is none of theirs: when this one came, where there were others of the name before; else 0.
    pub since_ms: u64,
    /// The devices attached to the inbox, in the order of their ids.
    pub devices: SmallVec<[Device; 1]>,
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

    /// Up to where the inbox is needed by nobody: what all devices have; with no device, what some device
    /// had.
    pub fn done_with(&self) -> u64 {
        self.devices.iter().map(|device| device.acked).min().unwrap_or(self.floor)
    }

    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = u8::from(self.exists) * EXISTS
            + u8::from(self.hides_reads) * HIDES_READS
            + u8::from(self.lives > 0) * LIVED_BEFORE;
        out.extend_from_slice(&[VERSION, flags]);
        if self.lives > 0 {
            put_number(out, u64::from(self.lives));
            put_number(out, self.since_ms);
        }
        for number in [self.inbox_head, self.trimmed, self.floor, self.state_head, self.devices.len() as u64]
        {
            put_number(out, number);
        }
        for device in &self.devices {
            put_bytes(out, device.id.as_bytes());
            put_number(out, device.acked);
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
                lives: if lived_before { lives(input)? } else { 0 },
                since_ms: if lived_before { input.number()? } else { 0 },
                inbox_head: input.number()?,
                trimmed: input.number()?,
                floor: input.number()?,
                state_head: input.number()?,
                devices: SmallVec::new(),
            };
            for _ in 0..input.number()? {
                let id = DeviceId::parse(input.text()?).ok()?;
                user.devices.push(Device { id, acked: input.number()? });
            }
            (flags & !(EXISTS | HIDES_READS | LIVED_BEFORE) == 0).then_some(user)
        })
    }

    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        if self.devices.spilled() { self.devices.capacity() * size_of::<Device>() } else { 0 }
    }
}

/// How many times a user of a name was removed, where one was.
fn lives(input: &mut Input<'_>) -> Option<u32> {
    u32::try_from(input.number()?).ok().filter(|lives| *lives > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(
            exists: bool, hides_reads: bool, (lives, since_ms) in prop_oneof![Just((0u32, 0u64)), (1u32..300, any::<u64>())],
            numbers: [u64; 4],
            devices in prop::collection::vec(("[A-Za-z0-9_-]{1,64}", any::<u64>()), 0..4),
        ) {
            let [inbox_head, trimmed, floor, state_head] = numbers;
            let devices =
                devices.iter().map(|(id, acked)| Device { id: DeviceId::parse(id).unwrap(), acked: *acked }).collect();
            let user = User { exists, inbox_head, trimmed, floor, state_head, hides_reads, lives, since_ms, devices };
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
    fn a_newer_version_is_refused() {
        assert_eq!(User::decode(&[9]), Err(DecodeError::Newer { what: "user", found: 9, known: 1 }));
    }
}
