//! Accounts: which users may log in, and with which password.
//!
//! An account is a record in a space of its own, apart from what the machine knows of a user: a user can exist without one (made by
//! `users.auto_create`) and then cannot log in with a password. Passwords are kept as argon2id hashes only.
//!
//! **Invariant.** An account and its user come and go in one batch: nobody can log in as a user who does not exist.

mod admin;
mod password;
mod record;
mod reports;
mod sequenced;

pub use admin::{AccountError, Accounts, AdminError, UserAdmin};
pub use password::{Hash, PASSWORD_MAX_BYTES, PasswordError, Verifier};
pub use record::Account;
pub use sequenced::{ADMIN_ORIGIN, AdminAnswers, SequencedUsers};
