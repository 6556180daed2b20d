//! Bytes that came in, cut into packets.
//!
//! What one read brought is copied once into one buffer, and its packets are slices of it. The beginning of a packet
//! that is not all there waits in a buffer that grows with what arrives, never ahead of it; a packet that is too
//! large is refused when its fixed header is there, before its body is taken.

use crate::codec::frame::{Peek, peek};
use crate::codec::{DecodeError, Limits, Packet, Version, decode};
use bytes::Bytes;

#[derive(Debug, Default)]
pub(crate) struct Input {
    chunk: Bytes,
    at: usize,
    /// The beginning of a packet, and how long it will be as far as is known.
    partial: Vec<u8>,
    needed: usize,
}

impl Input {
    /// Takes what a read brought. Only after [`Input::next`] has said that there is no whole packet left.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.at, self.chunk.len());
        if self.partial.is_empty() {
            self.chunk = Bytes::copy_from_slice(bytes);
            self.at = 0;
        } else {
            self.partial.extend_from_slice(bytes);
            if self.partial.len() >= self.needed {
                self.chunk = Bytes::from(std::mem::take(&mut self.partial));
                self.at = 0;
            }
        }
    }

    /// The next whole packet.
    pub(crate) fn next(
        &mut self,
        version: Option<Version>,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        if self.at == self.chunk.len() {
            return Ok(None);
        }
        if let Some((packet, len)) = decode(version, &self.chunk, self.at, limits)? {
            self.at += len;
            if self.at == self.chunk.len() {
                self.chunk = Bytes::new();
                self.at = 0;
            }
            return Ok(Some(packet));
        }
        let rest = &self.chunk[self.at..];
        self.needed = match peek(rest, version, limits.max_packet_size)? {
            Peek::Frame(frame) => frame.total_len,
            Peek::Need(_) => rest.len() + 1,
        };
        self.partial.extend_from_slice(rest);
        self.chunk = Bytes::new();
        self.at = 0;
        Ok(None)
    }

    /// What has arrived of the packet that could not be decoded.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.chunk[self.at..]
    }

    /// Whether something has arrived that is not decoded.
    pub(crate) fn has_more(&self) -> bool {
        self.at < self.chunk.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { max_packet_size: 300, max_topic_levels: 10 };

    fn packets(input: &mut Input) -> usize {
        let mut count = 0;
        while input.next(Some(Version::V311), &LIMITS).expect("valid packets").is_some() {
            count += 1;
        }
        count
    }

    proptest! {
        /// However the bytes are cut, the same packets come out, and no more is kept than has come.
        #[test]
        fn packets_do_not_depend_on_how_their_bytes_arrive(
            payloads in proptest::collection::vec(0usize..200, 1..10),
            cuts in proptest::collection::vec(1usize..80, 1..60),
        ) {
            let mut wire = Vec::new();
            for payload in &payloads {
                let body = 3 + payload;
                wire.push(0x30);
                if body < 128 { wire.push(body as u8) } else { wire.extend([(body % 128) as u8 | 0x80, (body / 128) as u8]) }
                wire.extend([0, 1, b't']);
                wire.extend(std::iter::repeat_n(b'x', *payload));
            }
            let mut input = Input::default();
            let (mut rest, mut count, mut cuts) = (&wire[..], 0, cuts.into_iter().cycle());
            while !rest.is_empty() {
                let cut = cuts.next().unwrap_or(1).min(rest.len());
                input.take(&rest[..cut]);
                rest = &rest[cut..];
                count += packets(&mut input);
                prop_assert!(input.partial.len() <= 300);
            }
            prop_assert_eq!(count, payloads.len());
            prop_assert!(input.partial.is_empty() && !input.has_more());
        }
    }

    #[test]
    fn a_packet_that_is_too_large_is_refused_by_its_header() {
        let mut input = Input::default();
        input.take(&[0x30, 0xff, 0xff, 0xff, 0x7f]);
        assert!(matches!(input.next(Some(Version::V311), &LIMITS), Err(DecodeError::PacketTooLarge { .. })));
        assert!(input.partial.is_empty());
    }
}
