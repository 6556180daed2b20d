//! proto3 JSON, the form that payloads have under `json/`.
//!
//! As the protobuf documents have it: names in `lowerCamelCase` (`snake_case` is taken too), 64-bit numbers as strings
//! (numbers are taken too), bytes as standard base64, fields at their default left out. Fields that we do not know
//! are ignored; unlike in protobuf they are not kept, for JSON does not say what number they would have.

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why JSON could not be read or written.
#[derive(Debug, Error)]
pub enum JsonError {
    /// JSON is UTF-8, all of it: also in fields that are ignored, where the parser would not look.
    #[error("the payload is not JSON: {0}")]
    Utf8(#[from] std::str::Utf8Error),
    /// The text is not JSON, or not that of the message.
    #[error("the payload is not the JSON of this message: {0}")]
    Json(#[from] serde_json::Error),
    /// The protobuf that should become JSON is damaged.
    #[error("the payload is not protobuf of this message: {0}")]
    Protobuf(#[from] prost::DecodeError),
}

/// Reads a message.
///
/// # Errors
/// If `payload` is not JSON of that message; says where.
pub fn decode<M: Message + DeserializeOwned>(payload: &[u8]) -> Result<M, JsonError> {
    Ok(serde_json::from_str(std::str::from_utf8(payload)?)?)
}

/// Writes a message.
///
/// # Errors
/// If an enum has a value that this version has no name for.
pub fn encode<M: Message + Serialize>(message: &M) -> Result<Vec<u8>, JsonError> {
    Ok(serde_json::to_vec(message)?)
}

/// Turns protobuf into JSON. Fields unknown to this version are left out.
///
/// # Errors
/// If `payload` is not protobuf of that message, or as [`encode`] does.
pub fn from_protobuf<M: Message + Default + Serialize>(payload: &[u8]) -> Result<Vec<u8>, JsonError> {
    encode(&M::decode(payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    #[test]
    fn what_is_not_utf_8_is_not_json_even_where_it_is_ignored() {
        let send = |id: &[u8]| [b"{\"unknown\": \"", id, b"\", \"body\": {\"text\": \"x\"}}"].concat();
        assert!(decode::<v1::Send>(&send(b"new")).is_ok());
        let error = decode::<v1::Send>(&send(b"\xbd")).unwrap_err();
        assert!(error.to_string().starts_with("the payload is not JSON: invalid utf-8"), "{error}");
    }
}
