//! The protobuf wire format, as far as passing on what we do not know requires it.
//!
//! Decoding into generated types and encoding again loses unknown fields. What a sender writes is therefore never
//! re-encoded: the spans of its fields are found here and copied. Groups, gone since proto3, are refused.

use std::ops::Range;

use thiserror::Error;

/// Why bytes are not a protobuf message that we pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// It ends within a field.
    #[error("the message ends in the middle of a field")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("a variable-length number has more than 64 bits")]
    Varint,
    /// A field number outside 1 to 2²⁹ − 1, or a group.
    #[error("a field has an impossible number or type")]
    Tag,
    /// A field that may stand once stands twice. (Protobuf would merge the two; passed on as they are, different
    /// readers could make different things of them.)
    #[error("field {0} stands more than once")]
    Duplicate(u32),
    /// A known field of another type.
    #[error("field {0} does not have the type it should")]
    Type(u32),
}

/// One field of an encoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its number.
    pub number: u32,
    /// Where all of it is, number and length included.
    pub span: Range<usize>,
    /// Its value.
    pub value: Value,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A variable-length number.
    Varint(u64),
    /// Text, bytes, a message or packed numbers: where the content is.
    Bytes(Range<usize>),
    /// Eight or four bytes: where they are.
    Fixed(Range<usize>),
}

/// Goes through the fields of an encoded message, ending after the first error.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0 }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.message.get(self.at).ok_or(WireError::Truncated)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Varint);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }

    fn take(&mut self, count: u64) -> Result<Range<usize>, WireError> {
        let count = usize::try_from(count).map_err(|_| WireError::Truncated)?;
        if count > self.message.len() - self.at {
            return Err(WireError::Truncated);
        }
        let range = self.at..self.at + count;
        self.at = range.end;
        Ok(range)
    }

    fn field(&mut self) -> Result<Field, WireError> {
        let start = self.at;
        let tag = u32::try_from(self.varint()?).map_err(|_| WireError::Tag)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(WireError::Tag);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            _ => return Err(WireError::Tag),
        };
        Ok(Field { number, span: start..self.at, value })
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.message.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

/// Where the content of a length-delimited field is.
///
/// # Errors
/// If `message` is malformed anywhere, or the field has another type or stands more than once.
pub fn field_bytes(message: &[u8], number: u32) -> Result<Option<Range<usize>>, WireError> {
    let mut found = None;
    for field in fields(message) {
        let field = field?;
        if field.number != number {
            continue;
        }
        let Value::Bytes(range) = field.value else { return Err(WireError::Type(number)) };
        if found.replace(range).is_some() {
            return Err(WireError::Duplicate(number));
        }
    }
    Ok(found)
}

/// How many bytes a variable-length number takes.
pub fn varint_len(value: u64) -> usize {
    // Seven bits a byte, and at least one byte.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Appends a variable-length number.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field with a variable-length number; nothing for 0, which is what its absence means.
pub fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(number << 3));
        put_varint(out, value);
    }
}

/// How many bytes [`put_number`] appends.
pub fn number_len(number: u32, value: u64) -> usize {
    if value == 0 { 0 } else { tag_len(number) + varint_len(value) }
}

/// How many bytes [`put_length`] and the content behind it take.
pub fn bytes_len(number: u32, length: usize) -> usize {
    tag_len(number) + varint_len(length as u64) + length
}

fn tag_len(number: u32) -> usize {
    varint_len(u64::from(number) << 3)
}

/// Appends the number and length of a length-delimited field whose content follows.
pub fn put_length(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number << 3 | 2));
    put_varint(out, length as u64);
}
