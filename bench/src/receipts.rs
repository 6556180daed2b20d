//! What the tool knows of Chasqui's receipts: a mark that says what was read, and a receipt that says how far the other side is.

use chasqui_proto::v1;
use prost::Message as _;

/// Where a user says what they have read.
pub(crate) const READ_TOPIC: &str = "do/read";

/// Whether a topic is that of a receipt: `u/{user}/receipts/{chat}`.
pub(crate) fn is_receipt(topic: &[u8]) -> bool {
    topic.split(|byte| *byte == b'/').nth(2) == Some(b"receipts")
}

/// Writes what says that a conversation was read up to a message.
pub(crate) fn write_read(out: &mut Vec<u8>, conversation: &str, up_to_seq: u64) {
    out.clear();
    v1::Read { conversation: conversation.to_owned(), up_to_seq, ..v1::Read::default() }.encode_raw(out);
}

/// Up to which message the other side has it, and has read it; `None` for no receipt.
pub(crate) fn read_receipt(payload: &[u8]) -> Option<[u64; 2]> {
    let receipt = v1::Receipt::decode(payload).ok()?;
    Some([receipt.delivered, receipt.read])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_and_marks_are_those_of_the_contract() {
        assert!(
            is_receipt(b"u/alice/receipts/u/bob") && !is_receipt(b"u/receipts/in") && !is_receipt(b"u/alice")
        );
        let receipt = v1::Receipt { delivered: 7, read: 5, ..v1::Receipt::default() };
        assert_eq!(read_receipt(&receipt.encode_to_vec()), Some([7, 5]));
        assert_eq!(read_receipt(b"\xff"), None);
        let mut out = b"before".to_vec();
        write_read(&mut out, "u/bob", 9);
        let read = v1::Read::decode(&out[..]).expect("a Read");
        assert_eq!((read.conversation.as_str(), read.up_to_seq), ("u/bob", 9));
    }
}
