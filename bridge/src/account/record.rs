//! An account as stored: `version, created_ms, changed_ms, hash`, numbers as varints.

use super::password::Hash;
use crate::machine::codec::{DecodeError, put_bytes, put_number, versioned};

const VERSION: u8 = 1;
const WHAT: &str = "account";

/// What is known of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
    /// When its password was set last, Unix milliseconds.
    pub changed_ms: u64,
    /// The password's hash.
    pub hash: Hash,
}

impl Account {
    /// The account as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_number(&mut out, self.created_ms);
        put_number(&mut out, self.changed_ms);
        put_bytes(&mut out, self.hash.as_str().as_bytes());
        out
    }

    /// Reads an account back.
    pub fn decode(stored: &[u8]) -> Result<Account, DecodeError> {
        versioned(WHAT, VERSION, stored, |input| {
            Some(Account {
                created_ms: input.number()?,
                changed_ms: input.number()?,
                hash: Hash::parse(input.text()?).ok()?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b/dWRWJTmaaJObGN0dkkqlJpYY";

    proptest! {
        #[test]
        fn round_trip(created_ms: u64, changed_ms: u64) {
            let account = Account { created_ms, changed_ms, hash: Hash::parse(HASH).unwrap() };
            prop_assert_eq!(Account::decode(&account.encode()), Ok(account));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Account::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn what_is_no_account_is_refused() {
        assert_eq!(Account::decode(&[2]), Err(DecodeError::Newer { what: WHAT, found: 2, known: 1 }));
        let mut out = vec![VERSION, 1, 1];
        put_bytes(&mut out, b"secret");
        assert_eq!(
            Account::decode(&out),
            Err(DecodeError::Malformed(WHAT)),
            "a password in the clear is no hash"
        );
    }
}
