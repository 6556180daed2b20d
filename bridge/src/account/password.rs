//! Passwords: hashed with argon2id when set, verified when used, never kept.
//!
//! A verification takes tens of milliseconds and 19 MiB on purpose: call it where blocking is allowed. No more of them run at a
//! time than there are cores; further logins wait their turn, so that a storm of them costs no more memory than that.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use parking_lot::{Condvar, Mutex};
use std::fmt;
use thiserror::Error;

/// The longest password that can be set, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 1_024;

/// A password that cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// It is empty.
    #[error("the password is empty")]
    Empty,
    /// It is too long.
    #[error("the password is {0} bytes long, at most {PASSWORD_MAX_BYTES} are allowed")]
    TooLong(usize),
    /// The system gives no random salt, or no memory.
    #[error("the password cannot be hashed: the system gives no random numbers or no memory")]
    System,
    /// It is not the hash of a password.
    #[error("this is not an argon2 hash")]
    NotAHash,
}

/// The hash of a password with its salt and parameters, as a PHC string. Does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(String);

impl Hash {
    /// Hashes a password with a random salt. Takes tens of milliseconds.
    pub fn new(password: &[u8]) -> Result<Hash, PasswordError> {
        match password.len() {
            0 => Err(PasswordError::Empty),
            len if len > PASSWORD_MAX_BYTES => Err(PasswordError::TooLong(len)),
            _ => {
                let hash = Argon2::default().hash_password(password).map_err(|_| PasswordError::System)?;
                Ok(Hash(hash.to_string()))
            }
        }
    }

    /// A hash that was made before.
    pub fn parse(phc: &str) -> Result<Hash, PasswordError> {
        let parsed = PasswordHash::new(phc).map_err(|_| PasswordError::NotAHash)?;
        if !parsed.algorithm.as_str().starts_with("argon2") || parsed.salt.is_none() || parsed.hash.is_none()
        {
            return Err(PasswordError::NotAHash);
        }
        Ok(Hash(phc.to_owned()))
    }

    /// The hash as a PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_of(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, self.0.as_str()).is_ok()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

/// Of no password: verified against where there is no account, so that the answer takes as long. Written down, not computed: a start
/// that hashes would hold 19 MiB for nothing.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y2hhc3F1aS1ub2JvZHktMA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Verifies passwords, a few at a time.
pub struct Verifier {
    nobody: Hash,
    free: Mutex<usize>,
    freed: Condvar,
}

impl Verifier {
    /// A verifier that runs as many verifications at a time as there are cores.
    pub fn new() -> Result<Verifier, PasswordError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Verifier::with_turns(cores)
    }

    fn with_turns(turns: usize) -> Result<Verifier, PasswordError> {
        Ok(Verifier { nobody: Hash::parse(NOBODY)?, free: Mutex::new(turns), freed: Condvar::new() })
    }

    /// Whether this is the password of the account with this hash. Without a hash the answer is no, and takes as long. Blocks.
    pub fn verify(&self, hash: Option<&Hash>, password: &[u8]) -> bool {
        let _turn = self.turn();
        let same = hash.unwrap_or(&self.nobody).is_of(password);
        same && hash.is_some()
    }

    fn turn(&self) -> Turn<'_> {
        let mut free = self.free.lock();
        self.freed.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        Turn(self)
    }
}

/// One verification's turn; given back also when it panics.
struct Turn<'a>(&'a Verifier);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_as_long_as_everybody() {
        let work = |phc: &str| phc.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(work(NOBODY), work(Hash::new(b"somebody").unwrap().as_str()));
        let verifier = Verifier::new().unwrap();
        for password in [&b"nobody"[..], b""] {
            assert!(!verifier.verify(None, password));
        }
    }

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let hash = Hash::new(b"correct horse").unwrap();
        let again = Hash::new(b"correct horse").unwrap();
        assert_ne!(hash, again, "each has a salt of its own");
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        let verifier = Verifier::new().unwrap();
        for hash in [hash, again] {
            let kept = Hash::parse(hash.as_str()).unwrap();
            assert!(verifier.verify(Some(&kept), b"correct horse"));
            for wrong in [&b"correct hors"[..], b"Correct horse", b"correct horse ", b"", &[0xff; 2_000]] {
                assert!(!verifier.verify(Some(&kept), wrong), "{wrong:?}");
            }
            assert_eq!(format!("{kept:?}"), "Hash(…)");
        }
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        assert_eq!(Hash::new(b""), Err(PasswordError::Empty));
        assert_eq!(Hash::new(&[b'x'; 1_025]), Err(PasswordError::TooLong(1_025)));
        assert!(Hash::new(&[b'x'; 1_024]).is_ok());
        for text in
            ["", "secret", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1", "$2b$12$R9h/cIPz0gi.URNNX3kh2O"]
        {
            assert_eq!(Hash::parse(text), Err(PasswordError::NotAHash), "{text}");
        }
    }

    #[test]
    fn no_more_run_at_a_time_than_have_turns() {
        let verifier = Verifier::with_turns(2).unwrap();
        let (first, second) = (verifier.turn(), verifier.turn());
        std::thread::scope(|scope| {
            let third = scope.spawn(|| drop(verifier.turn()));
            assert_eq!(*verifier.free.lock(), 0);
            drop(first);
            third.join().unwrap();
        });
        drop(second);
        assert_eq!(*verifier.free.lock(), 2);
    }
}
