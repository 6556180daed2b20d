//! WebSocket frames taken apart as they come (RFC 6455, section 5), without waiting for the end of one.
//!
//! MQTT packets do not care where frames begin and end [MQTT-6.0.0-2], so payload is unmasked where it lies and handed on at once: nothing
//! is gathered, whatever length a frame claims to have. What is kept is the beginning of a header, and a ping to be answered.

use crate::mutation::{Mutation, mutated};
use smallvec::SmallVec;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The longest payload of a ping, pong or close.
const MAX_CONTROL: u64 = 125;
/// A header with the longest length and a mask.
const MAX_HEADER: usize = 14;

/// A payload of a control frame. Inline: these are small and rare.
pub(super) type ControlPayload = SmallVec<[u8; 16]>;

/// What a peer did that ends a connection, with the close code that tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("a text frame: MQTT is sent in binary frames [MQTT-6.0.0-1]")]
    Text,
    #[error("a frame without a mask (RFC 6455, 5.1)")]
    Unmasked,
    #[error("a reserved bit or opcode (RFC 6455, 5.2)")]
    Reserved,
    #[error("a frame length written wrong (RFC 6455, 5.2)")]
    Length,
    #[error("a fragment where none can be (RFC 6455, 5.4)")]
    Fragment,
    #[error("a control frame that is too long or in pieces (RFC 6455, 5.5)")]
    Control,
}

impl Violation {
    /// The code of the close frame (RFC 6455, 7.4.1).
    pub(super) fn close_code(self) -> u16 {
        match self {
            Violation::Text => 1003,
            _ => 1002,
        }
    }
}

/// Why no more payload comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer sent a close frame.
    Closed,
    /// It has to be closed.
    Violated(Violation),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Ping,
    Ignored,
    Close,
}

/// Takes the frames of a client apart.
#[derive(Debug)]
pub(super) struct Frames {
    header: [u8; MAX_HEADER],
    header_len: u8,
    /// Of the frame whose payload is coming.
    kind: Kind,
    left: u64,
    mask: [u8; 4],
    /// Whether a message is under way that more fragments belong to.
    fragmented: bool,
    /// A ping whose payload is coming.
    ping: ControlPayload,
    /// What the next pong is to say; only the newest ping is answered (RFC 6455, 5.5.3).
    pub(super) pong: Option<ControlPayload>,
    /// Set once, after which nothing is taken any more.
    pub(super) end: Option<End>,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames {
            header: [0; MAX_HEADER],
            header_len: 0,
            kind: Kind::Ignored,
            left: 0,
            mask: [0; 4],
            fragmented: false,
            ping: ControlPayload::new(),
            pong: None,
            end: None,
        }
    }

    /// Takes what came. The payload in it is left at its beginning; how many bytes that is.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut out) = (0, 0);
        while at < bytes.len() && self.end.is_none() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                let payload = &mut bytes[at..at + count];
                unmask(payload, &mut self.mask);
                match self.kind {
                    Kind::Data => {
                        bytes.copy_within(at..at + count, out);
                        out += count;
                    }
                    Kind::Ping => self.ping.extend_from_slice(payload),
                    Kind::Ignored | Kind::Close => {}
                }
                at += count;
                self.left -= count as u64;
                self.end_frame();
                continue;
            }
            self.header[usize::from(self.header_len)] = bytes[at];
            self.header_len += 1;
            at += 1;
            if usize::from(self.header_len) == header_len(&self.header[..usize::from(self.header_len)]) {
                let begun = self.begin_frame();
                self.header_len = 0;
                match begun {
                    Ok(()) => self.end_frame(),
                    Err(violation) => self.end = Some(End::Violated(violation)),
                }
            }
        }
        out
    }

    /// A header is there.
    fn begin_frame(&mut self) -> Result<(), Violation> {
        let header = &self.header[..usize::from(self.header_len)];
        let parsed = FrameHeader::parse(&mut Cursor::new(header)).ok().flatten();
        let Some((frame, length)) = parsed else { return Err(Violation::Reserved) };
        if frame.rsv1 || frame.rsv2 || frame.rsv3 {
            return Err(Violation::Reserved); // No extension is agreed on.
        }
        self.mask = frame.mask.ok_or(Violation::Unmasked)?;
        let shortest = match length {
            0..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        };
        if header.len() != 6 + shortest || length >> 63 != 0 {
            return Err(Violation::Length);
        }
        self.left = length;
        self.kind = match frame.opcode {
            OpCode::Data(Data::Text) if !mutated(Mutation::TakesTextFrames) => return Err(Violation::Text),
            OpCode::Data(Data::Binary | Data::Text) if self.fragmented => return Err(Violation::Fragment),
            OpCode::Data(Data::Continue) if !self.fragmented => return Err(Violation::Fragment),
            OpCode::Data(Data::Binary | Data::Text | Data::Continue) => {
                self.fragmented = !frame.is_final;
                Kind::Data
            }
            OpCode::Control(_) if length > MAX_CONTROL || !frame.is_final => return Err(Violation::Control),
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Ignored,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                return Err(Violation::Reserved);
            }
        };
        Ok(())
    }

    /// What is to be done when the payload is all there.
    fn end_frame(&mut self) {
        if self.left > 0 {
            return;
        }
        match self.kind {
            Kind::Ping => self.pong = Some(std::mem::take(&mut self.ping)),
            Kind::Close => self.end = Some(End::Closed),
            Kind::Data | Kind::Ignored => {}
        }
    }
}

/// How long a header is, as far as its beginning says.
fn header_len(begun: &[u8]) -> usize {
    let Some(second) = begun.get(1) else { return 2 };
    let length = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Takes the mask off, and turns it so that it fits what comes next.
fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let word = u32::from_ne_bytes(*mask);
    let mut words = payload.chunks_exact_mut(4);
    for bytes in &mut words {
        let plain = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) ^ word;
        bytes.copy_from_slice(&plain.to_ne_bytes());
    }
    let rest = words.into_remainder();
    for (byte, mask) in rest.iter_mut().zip(*mask) {
        *byte ^= mask;
    }
    let turn = rest.len();
    mask.rotate_left(turn);
}

/// A frame from the server begins with this: final, unmasked.
pub(super) fn put_header(out: &mut Vec<u8>, opcode: OpCode, length: usize) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing to a Vec cannot fail.
    let _ = header.format(length as u64, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tungstenite::protocol::frame::Frame;

    /// A frame as a client would send it, built by the library.
    fn frame(opcode: OpCode, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mask = [0x11, 0x22, 0x83, 0x04];
        let header = FrameHeader { opcode, is_final: last, mask: Some(mask), ..FrameHeader::default() };
        header.format(payload.len() as u64, &mut out).expect("a Vec takes everything");
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    const BINARY: OpCode = OpCode::Data(Data::Binary);
    const CONTINUE: OpCode = OpCode::Data(Data::Continue);
    const PING: OpCode = OpCode::Control(Control::Ping);
    const CLOSE: OpCode = OpCode::Control(Control::Close);

    fn end_of(wire: &[u8]) -> (Vec<u8>, Option<End>) {
        let (mut frames, mut bytes) = (Frames::new(), wire.to_vec());
        let count = frames.take(&mut bytes);
        (bytes[..count].to_vec(), frames.end)
    }

    proptest! {
        /// However the bytes are cut, and however the payload is spread over frames, it comes out whole and in order.
        #[test]
        fn payload_does_not_depend_on_frames_nor_on_reads(
            parts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>(), any::<bool>()), 0..12),
            cuts in proptest::collection::vec(1usize..90, 1..40),
        ) {
            let (mut wire, mut expected, mut inside, mut pong) = (Vec::new(), Vec::new(), false, None);
            for (payload, last, ping) in &parts {
                wire.extend(frame(if inside { CONTINUE } else { BINARY }, *last, payload));
                expected.extend_from_slice(payload);
                inside = !last;
                if *ping {
                    // Between the fragments of a message too.
                    let said = &payload[..payload.len().min(125)];
                    wire.extend(frame(PING, true, said));
                    pong = Some(ControlPayload::from_slice(said));
                }
            }
            let (mut frames, mut found, mut rest) = (Frames::new(), Vec::new(), &wire[..]);
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() { break }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                let mut bytes = now.to_vec();
                let count = frames.take(&mut bytes);
                found.extend_from_slice(&bytes[..count]);
                rest = later;
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(frames.pong, pong);
            prop_assert_eq!(frames.end, None);
        }

        /// Whatever comes, it ends in order: no panic, and never more payload than bytes.
        #[test]
        fn any_bytes_are_answered(wire in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (payload, _) = end_of(&wire);
            prop_assert!(payload.len() <= wire.len());
        }

        /// What the server sends is what the library reads.
        #[test]
        fn headers_are_read_by_the_library(length in prop_oneof![0usize..300, 65_530usize..65_540]) {
            let mut out = Vec::new();
            put_header(&mut out, BINARY, length);
            let (header, found) = FrameHeader::parse(&mut Cursor::new(&out)).expect("valid").expect("whole");
            prop_assert_eq!((header.opcode, header.is_final, header.mask, found), (BINARY, true, None, length as u64));
            let whole = Frame::message(vec![0; length], BINARY, true);
            prop_assert_eq!(whole.len(), out.len() + length);
        }
    }

    #[test]
    fn what_breaks_the_rules_ends_the_connection() {
        let text = OpCode::Data(Data::Text);
        let mut unmasked = Vec::new();
        put_header(&mut unmasked, BINARY, 0);
        let mut reserved = frame(BINARY, true, b"x");
        reserved[0] |= 0x40;
        let long = |head: &[u8]| [&[0x82], head, &[0; 4], b"x"].concat();
        for (wire, violation) in [
            (frame(text, true, b"x"), Violation::Text),
            (unmasked, Violation::Unmasked),
            (reserved, Violation::Reserved),
            (vec![0x83, 0x80, 0, 0, 0, 0], Violation::Reserved),
            (vec![0x8B, 0x80, 0, 0, 0, 0], Violation::Reserved),
            (long(&[0xFE, 0, 1]), Violation::Length),
            (long(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 1]), Violation::Length),
            (long(&[0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1]), Violation::Length),
            (frame(CONTINUE, true, b"x"), Violation::Fragment),
            ([frame(BINARY, false, b""), frame(BINARY, true, b"x")].concat(), Violation::Fragment),
            (frame(PING, false, b"x"), Violation::Control),
            (frame(PING, true, &[0; 126]), Violation::Control),
        ] {
            assert_eq!(end_of(&wire), (Vec::new(), Some(End::Violated(violation))), "{wire:02x?}");
        }
        assert_eq!((Violation::Text.close_code(), Violation::Unmasked.close_code()), (1003, 1002));
    }

    #[test]
    fn what_came_before_the_end_counts_and_nothing_after_it() {
        let wire =
            [frame(BINARY, true, b"before"), frame(CLOSE, true, &[3, 232]), frame(BINARY, true, b"after")];
        assert_eq!(end_of(&wire.concat()), (b"before".to_vec(), Some(End::Closed)));
    }

    #[test]
    fn a_frame_that_claims_to_be_huge_costs_nothing() {
        let (payload, end) =
            end_of(&[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, b'x']);
        assert_eq!((payload, end), (b"x".to_vec(), None));
        assert!(size_of::<Frames>() <= 128, "{}", size_of::<Frames>());
    }
}
