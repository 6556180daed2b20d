//! What can be done with accounts: add, change, remove, list, verify.

use super::password::{Hash, PasswordError, Verifier};
use super::record::Account;
use crate::machine::DecodeError;
use crate::machine::record::ReportId;
use crate::session_store::space;
use chasqui_proto::UserId;
use chasqui_proto::ids::IdError;
use chasqui_storage::clock::Clock;
use chasqui_storage::{Batch, KvError, Poisoned, Reader, RecordKey};
use parking_lot::Mutex;
use std::sync::Arc;
use thiserror::Error;

/// Why an account was not changed or read.
#[derive(Debug, Error)]
pub enum AccountError {
    /// This is no name for a user.
    #[error("\"{name}\" cannot be a user: {error}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        error: IdError,
    },
    /// There is one already.
    #[error("the user {0} exists already; `chasqui user passwd {0}` sets a new password")]
    Exists(UserId),
    /// There is none.
    #[error("there is no user {0}; `chasqui user list` shows all")]
    Unknown(UserId),
    /// There is no such report.
    #[error("there is no report {0}; `chasqui report list` shows all")]
    NoReport(ReportId),
    /// This is no id of a report.
    #[error(
        "\"{0}\" is no id of a report: `chasqui report list` shows all, with 32 letters from 0 to f each"
    )]
    NoReportId(String),
    /// The password cannot be set.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] KvError),
    /// The store holds what this program cannot read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The change was not carried out.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Why a change to a user was not carried out.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The store takes no writes.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// What is known of the user cannot be read.
    #[error("what is known of the user cannot be read: {0}")]
    Failed(Arc<str>),
    /// The server is going down.
    #[error("the server is stopping; try again when it is back")]
    Stopped,
}

/// Carries out what changes users; each call returns when it is durable, and may block until then.
pub trait UserAdmin: Send + Sync + 'static {
    /// Makes the user exist, in one batch with `with`. No error if they do already.
    fn create(&self, user: &UserId, with: Batch) -> Result<(), AdminError>;

    /// Ends the user and their sessions, in one batch with `with`. No error if there is none.
    fn remove(&self, user: &UserId, with: Batch) -> Result<(), AdminError>;

    /// Commits a batch that concerns the account alone.
    fn write(&self, with: Batch) -> Result<(), AdminError>;
}

/// The accounts of a store.
pub struct Accounts {
    pub(super) reader: Reader,
    pub(super) admin: Arc<dyn UserAdmin>,
    clock: Arc<dyn Clock>,
    verifier: Verifier,
    /// One change at a time: each looks before it writes.
    changing: Mutex<()>,
}

fn key(user: &UserId) -> RecordKey {
    RecordKey::ordered(space::ACCOUNTS, user.as_bytes())
}

/// Reads a name as one of a user.
fn user_id(name: &str) -> Result<UserId, AccountError> {
    UserId::parse(name).map_err(|error| AccountError::Name { name: name.to_owned(), error })
}

impl Accounts {
    /// The accounts that `reader` sees; changed through `admin`.
    pub fn new(
        reader: Reader,
        admin: Arc<dyn UserAdmin>,
        clock: Arc<dyn Clock>,
    ) -> Result<Accounts, AccountError> {
        Ok(Accounts { reader, admin, clock, verifier: Verifier::new()?, changing: Mutex::new(()) })
    }

    /// Whether there is an account of this name.
    pub fn exists(&self, name: &str) -> Result<bool, AccountError> {
        match UserId::parse(name) {
            Ok(user) => Ok(self.account(&user)?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// Adds a user with a password.
    pub fn add(&self, name: &str, hash: Hash) -> Result<(), AccountError> {
        let user = user_id(name)?;
        let _one = self.changing.lock();
        if self.account(&user)?.is_some() {
            return Err(AccountError::Exists(user));
        }
        let now_ms = self.clock.now_ms();
        let account = Account { created_ms: now_ms, changed_ms: now_ms, hash };
        Ok(self.admin.create(&user, written(&user, &account))?)
    }

    /// Sets a new password.
    pub fn set_password(&self, name: &str, hash: Hash) -> Result<(), AccountError> {
        let user = user_id(name)?;
        let _one = self.changing.lock();
        let Some(account) = self.account(&user)? else { return Err(AccountError::Unknown(user)) };
        let account = Account { changed_ms: self.clock.now_ms(), hash, ..account };
        Ok(self.admin.write(written(&user, &account))?)
    }

    /// Removes a user.
    pub fn remove(&self, name: &str) -> Result<(), AccountError> {
        let user = user_id(name)?;
        let _one = self.changing.lock();
        if self.account(&user)?.is_none() {
            return Err(AccountError::Unknown(user));
        }
        let mut batch = Batch::new();
        batch.delete(&key(&user));
        Ok(self.admin.remove(&user, batch)?)
    }

    /// Accounts behind the user `after`, in the order of names, at most `max`.
    pub fn list(&self, after: Option<&str>, max: usize) -> Result<Vec<(UserId, Account)>, AccountError> {
        let from = after.map(|after| [after.as_bytes(), &[0]].concat()).unwrap_or_default();
        let page = self.reader.ordered_range(space::ACCOUNTS, &from, None, max)?;
        let accounts = page.into_iter().map(|(id, stored)| {
            let name = String::from_utf8_lossy(&id);
            Ok((user_id(&name)?, Account::decode(&stored)?))
        });
        accounts.collect()
    }

    /// Whether this is the user's password. Takes as long for a user there is not. Blocks: a hash takes tens of milliseconds.
    pub fn verify(&self, name: &str, password: &[u8]) -> Result<bool, AccountError> {
        let account = match UserId::parse(name) {
            Ok(user) => self.account(&user)?,
            Err(_) => None,
        };
        Ok(self.verifier.verify(account.as_ref().map(|account| &account.hash), password))
    }

    /// The account of a user.
    pub fn account(&self, user: &UserId) -> Result<Option<Account>, AccountError> {
        let stored = self.reader.get(&key(user))?;
        Ok(stored.map(|stored| Account::decode(&stored)).transpose()?)
    }
}

fn written(user: &UserId, account: &Account) -> Batch {
    let mut batch = Batch::new();
    batch.put(&key(user), &account.encode());
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use chasqui_storage::clock::ManualClock;
    use chasqui_storage::disk::RamDisk;
    use chasqui_storage::disk::ram::{Effect, Fault, Operation};
    use chasqui_storage::kv::ram::RamKv;
    use chasqui_storage::{Options, Storage};

    /// Commits straight to a store and notes who was created and removed.
    struct Noting {
        storage: Storage,
        notes: Mutex<Vec<String>>,
    }

    impl UserAdmin for Noting {
        fn create(&self, user: &UserId, with: Batch) -> Result<(), AdminError> {
            self.notes.lock().push(format!("+{user}"));
            self.write(with)
        }

        fn remove(&self, user: &UserId, with: Batch) -> Result<(), AdminError> {
            self.notes.lock().push(format!("-{user}"));
            self.write(with)
        }

        fn write(&self, with: Batch) -> Result<(), AdminError> {
            Ok(self.storage.commit_and_wait(with).map(drop)?)
        }
    }

    fn accounts() -> (Accounts, Arc<Noting>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(1_000));
        let (disk, kv) = (Arc::new(RamDisk::new()), Arc::new(RamKv::new()));
        let options = Options { segment_bytes: 1 << 20, ..Options::default() };
        let storage = Storage::open_with(disk, kv, Arc::clone(&clock) as _, options).unwrap();
        let reader = storage.reader();
        let noting = Arc::new(Noting { storage, notes: Mutex::default() });
        let accounts = Accounts::new(reader, Arc::clone(&noting) as _, Arc::clone(&clock) as _).unwrap();
        (accounts, noting, clock)
    }

    fn hash(password: &str) -> Hash {
        Hash::new(password.as_bytes()).unwrap()
    }

    #[test]
    fn an_account_lives_from_add_to_remove() {
        let (accounts, noting, clock) = accounts();
        assert!(!accounts.verify("alice", b"one").unwrap());
        accounts.add("alice", hash("one")).unwrap();
        assert!(accounts.verify("alice", b"one").unwrap());
        assert!(!accounts.verify("alice", b"two").unwrap());
        assert!(!accounts.verify("alicia", b"one").unwrap());

        clock.set(2_000);
        accounts.set_password("alice", hash("two")).unwrap();
        assert!(!accounts.verify("alice", b"one").unwrap());
        assert!(accounts.verify("alice", b"two").unwrap());
        let account = accounts.account(&UserId::parse("alice").unwrap()).unwrap().unwrap();
        assert_eq!((account.created_ms, account.changed_ms), (1_000, 2_000));

        accounts.remove("alice").unwrap();
        assert!(!accounts.verify("alice", b"two").unwrap());
        assert_eq!(*noting.notes.lock(), ["+alice", "-alice"]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        let (accounts, noting, _clock) = accounts();
        accounts.add("alice", hash("one")).unwrap();
        for (error, sentence) in [
            (
                accounts.add("alice", hash("two")).unwrap_err(),
                "the user alice exists already; `chasqui user passwd alice` sets a new password",
            ),
            (
                accounts.set_password("bob", hash("x")).unwrap_err(),
                "there is no user bob; `chasqui user list` shows all",
            ),
            (accounts.remove("bob").unwrap_err(), "there is no user bob; `chasqui user list` shows all"),
        ] {
            assert_eq!(error.to_string(), sentence);
        }
        for name in ["", "a b", "a/b", "é", &"x".repeat(65)] {
            let error = accounts.add(name, hash("x")).unwrap_err();
            assert!(matches!(error, AccountError::Name { .. }), "{error}");
            assert!(!accounts.verify(name, b"x").unwrap(), "no user, and no error that would tell");
        }
        assert!(accounts.verify("alice", b"one").unwrap(), "a refused change changes nothing");
        assert_eq!(*noting.notes.lock(), ["+alice"]);
    }

    #[test]
    fn accounts_are_listed_in_pages() {
        let (accounts, _noting, _clock) = accounts();
        let one = hash("x");
        let mut names: Vec<String> =
            (0..25).map(|n| format!("user{n}")).chain(["a".into(), "a-".into()]).collect();
        for name in &names {
            accounts.add(name, one.clone()).unwrap();
        }
        names.sort();
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = accounts.list(found.last().map(String::as_str), 4).unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= 4);
            found.extend(page.into_iter().map(|(user, _)| user.to_string()));
        }
        assert_eq!(found, names);
    }

    #[test]
    fn a_store_that_takes_no_writes_says_why() {
        let disk = RamDisk::new();
        let clock = Arc::new(ManualClock::new(1_000));
        let options = Options { segment_bytes: 1 << 20, ..Options::default() };
        let storage = Storage::open_with(
            Arc::new(disk.clone()),
            Arc::new(RamKv::new()),
            Arc::clone(&clock) as _,
            options,
        )
        .unwrap();
        let reader = storage.reader();
        let noting = Arc::new(Noting { storage, notes: Mutex::default() });
        let accounts = Accounts::new(reader, noting as _, clock).unwrap();
        disk.plan(Fault { operation: Operation::Sync, after: 0, effect: Effect::Full });
        let error = accounts.add("alice", hash("one")).unwrap_err();
        assert!(matches!(error, AccountError::Admin(AdminError::Poisoned(_))), "{error}");
        assert!(!accounts.verify("alice", b"one").unwrap());
    }
}
