//! Users created and removed through the sequencer, which owns what is known of them.

use super::admin::{AdminError, UserAdmin};
use crate::machine::command::{CreateUser, RemoveUser};
use crate::machine::{Command, Outcome};
use crate::sequencer::{Answer, Done, Intake, Ops, Request, Unanswered};
use chasqui_proto::UserId;
use chasqui_storage::{Batch, Poisoned};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::{Arc, mpsc};

/// The origin of administrative commands. Connections count from 1 and never come here.
pub const ADMIN_ORIGIN: u64 = 1 << 62;

type Result<T> = std::result::Result<T, AdminError>;

/// The administrative commands that wait for an answer. The sequencer's sink hands in what comes for [`ADMIN_ORIGIN`].
#[derive(Debug, Default)]
pub struct AdminAnswers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last_token: u64,
    tell: HashMap<u64, mpsc::SyncSender<Result<()>>>,
}

impl AdminAnswers {
    /// Takes an answer, if it is for an administrative command; says whether it was.
    pub fn answered(&self, answer: &Answer) -> bool {
        let result = match &answer.outcome {
            Outcome::Failed(why) => Err(AdminError::Failed(Arc::clone(why))),
            _ => Ok(()),
        };
        self.tell(answer.origin, answer.token, result)
    }

    /// Takes news of a command that will not be answered, if it is an administrative one; says whether it was.
    pub fn unanswered(&self, unanswered: &Unanswered, why: &Poisoned) -> bool {
        self.tell(unanswered.origin, unanswered.token, Err(AdminError::Poisoned(why.clone())))
    }

    fn tell(&self, origin: u64, token: u64, result: Result<()>) -> bool {
        if origin != ADMIN_ORIGIN {
            return false;
        }
        if let Some(tell) = self.0.lock().tell.remove(&token) {
            // There is room for the one answer; whoever has stopped waiting needs none.
            let _ = tell.send(result);
        }
        true
    }

    fn wait(&self) -> (u64, mpsc::Receiver<Result<()>>) {
        let (tell, told) = mpsc::sync_channel(1);
        let mut waiting = self.0.lock();
        waiting.last_token += 1;
        let token = waiting.last_token;
        waiting.tell.insert(token, tell);
        (token, told)
    }
}

/// [`UserAdmin`] by a sequencer.
pub struct SequencedUsers {
    sequencer: Arc<dyn Intake>,
    answers: Arc<AdminAnswers>,
}

impl SequencedUsers {
    /// Users of this sequencer, whose sink hands answers to `answers`.
    pub fn new(sequencer: Arc<dyn Intake>, answers: Arc<AdminAnswers>) -> SequencedUsers {
        SequencedUsers { sequencer, answers }
    }

    fn command(&self, command: Command, with: Batch) -> Result<()> {
        let (token, told) = self.answers.wait();
        self.sequencer.submit(vec![Request {
            origin: ADMIN_ORIGIN,
            token,
            command,
            extra: Some(with),
            on_success: None,
        }]);
        told.recv().unwrap_or(Err(AdminError::Stopped))
    }
}

impl UserAdmin for SequencedUsers {
    fn create(&self, user: &UserId, with: Batch) -> Result<()> {
        self.command(CreateUser { user: user.clone() }.into(), with)
    }

    fn remove(&self, user: &UserId, with: Batch) -> Result<()> {
        self.command(RemoveUser { user: user.clone() }.into(), with)
    }

    fn write(&self, with: Batch) -> Result<()> {
        let (tell, told) = mpsc::sync_channel(1);
        let done: Done = Box::new(move |result| {
            // There is room for the one answer; whoever has stopped waiting needs none.
            let _ = tell.send(result);
        });
        self.sequencer.ops(Ops { origin: ADMIN_ORIGIN, fill: with, done: Some(done) });
        Ok(told.recv().map_err(|_| AdminError::Stopped)??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{AccountError, Accounts, Hash};
    use crate::sequencer::{Committed, Options, Sequencer, Sink};
    use chasqui_storage::Storage;
    use chasqui_storage::clock::{Clock, SystemClock};
    use chasqui_storage::disk::RamDisk;
    use chasqui_storage::disk::ram::{Effect, Fault, Operation};
    use chasqui_storage::kv::ram::RamKv;

    struct Hears(Arc<AdminAnswers>);

    impl Sink for Hears {
        fn committed(&self, committed: Committed) {
            assert!(committed.answers.iter().all(|answer| self.0.answered(answer)));
        }

        fn poisoned(&self, unanswered: Vec<Unanswered>, why: &Poisoned) {
            assert!(unanswered.iter().all(|unanswered| self.0.unanswered(unanswered, why)));
        }
    }

    fn accounts(disk: &RamDisk) -> (Accounts, Arc<AdminAnswers>) {
        let options =
            chasqui_storage::Options { segment_bytes: 1 << 20, ..chasqui_storage::Options::default() };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let storage =
            Storage::open_with(Arc::new(disk.clone()), Arc::new(RamKv::new()), Arc::clone(&clock), options)
                .unwrap();
        let storage = Arc::new(storage);
        let answers = Arc::new(AdminAnswers::default());
        let sink = Arc::new(Hears(Arc::clone(&answers)));
        let sequencer =
            Arc::new(Sequencer::start(Arc::clone(&storage), sink, Arc::clone(&clock), Options::default()));
        let users = Arc::new(SequencedUsers::new(sequencer, Arc::clone(&answers)));
        (Accounts::new(storage.reader(), users, clock).unwrap(), answers)
    }

    #[test]
    fn each_call_waits_for_its_own_answer() {
        let (accounts, answers) = accounts(&RamDisk::new());
        let hash = Hash::new(b"x").unwrap();
        std::thread::scope(|scope| {
            for n in 0..4 {
                let (accounts, hash) = (&accounts, hash.clone());
                scope.spawn(move || {
                    let name = format!("user{n}");
                    accounts.add(&name, hash.clone()).unwrap();
                    accounts.set_password(&name, hash).unwrap();
                    accounts.remove(&name).unwrap();
                });
            }
        });
        assert!(accounts.list(None, 10).unwrap().is_empty());
        assert!(answers.0.lock().tell.is_empty());
    }

    #[test]
    fn a_store_that_fails_is_said_to_each() {
        let disk = RamDisk::new();
        let (accounts, answers) = accounts(&disk);
        disk.plan(Fault { operation: Operation::Sync, after: 0, effect: Effect::Full });
        let hash = Hash::new(b"x").unwrap();
        for _ in 0..2 {
            let error = accounts.add("alice", hash.clone()).unwrap_err();
            assert!(matches!(error, AccountError::Admin(AdminError::Poisoned(_))), "{error}");
        }
        assert!(answers.0.lock().tell.is_empty());
    }

    #[test]
    fn answers_to_others_are_left_to_others() {
        let answers = AdminAnswers::default();
        assert!(!answers.answered(&Answer { origin: 7, token: 1, outcome: Outcome::Done }));
        assert!(answers.answered(&Answer { origin: ADMIN_ORIGIN, token: 1, outcome: Outcome::Done }));
    }
}
