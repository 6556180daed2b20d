//! A run of one seed: machine and model side by side, and what is asked of both.

use super::ask::{Answer, Ask, What};
use super::compare::{self, Verdict};
use super::draw::Draw;
use super::rig::{Crash, Rig, Round};
use super::state::Model;
use super::talk::TIMER_MAX_S;
use chasqui_bridge::hook::Publication;
use chasqui_bridge::machine::{self, Command};
use chasqui_bridge::sequencer::{self, Request};
use chasqui_proto::ErrorCode;
use chasqui_proto::v1::event::Event as Kind;
use chasqui_storage::disk::ram::Operation;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// When a world begins, in Unix milliseconds.
const BEGIN_MS: u64 = 1_795_000_000_000;
/// Things that are asked together, at most.
const TOGETHER: usize = 7;
/// One in so many rounds ends in a crash; after so many, everything is compared.
const CRASHES: u32 = 120;
const ALL: u32 = 300;
/// One in so many rounds has what is over erased.
const EXPIRY: u32 = 6;
/// So many of the last things asked are told of a disagreement.
const LAST: usize = 40;

/// How often each kind was accepted, and refused.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) kinds: BTreeMap<&'static str, (u64, u64)>,
    pub(crate) crashes: u64,
    pub(crate) unanswered: u64,
    /// Of these, what had happened.
    pub(crate) had_happened: u64,
    pub(crate) retries: u64,
    pub(crate) virtual_ms: u64,
    /// How often somebody was told how many members of a group have something.
    pub(crate) counted: u64,
}

impl Tally {
    pub(crate) fn commands(&self) -> u64 {
        self.kinds.values().map(|(accepted, refused)| accepted + refused).sum()
    }

    fn note(&mut self, kind: &'static str, refused: bool) {
        let (accepted, refusals) = self.kinds.entry(kind).or_default();
        *(if refused { refusals } else { accepted }) += 1;
    }
}

/// See the module.
pub(crate) struct World<'t> {
    rng: SmallRng,
    rig: Rig,
    model: Model,
    tally: &'t mut Tally,
    /// What was asked lately, and what came of it.
    last: VecDeque<String>,
    _seed: Seed,
}

impl<'t> World<'t> {
    pub(crate) fn new(seed: u64, tally: &'t mut Tally) -> World<'t> {
        let rng = SmallRng::seed_from_u64(seed);
        let model = Model { now_ms: BEGIN_MS, ..Model::default() };
        World {
            rng,
            rig: Rig::new(seed ^ 0x5eed, BEGIN_MS),
            model,
            tally,
            last: VecDeque::new(),
            _seed: Seed(seed),
        }
    }

    /// Asks for so many things.
    ///
    /// # Errors
    /// What machine and model disagree about, with what was asked before.
    pub(crate) fn run(&mut self, commands: u64) -> Result<(), String> {
        let up_to = self.tally.commands() + commands;
        let mut run = || -> Verdict {
            for ask in Draw::beginning() {
                self.round(vec![ask], None)?;
            }
            while self.tally.commands() < up_to {
                self.pass();
                let crash = self.rng.random_ratio(1, CRASHES).then(|| self.draw_crash());
                let mut asks = self.draw();
                if self.rng.random_ratio(1, EXPIRY) {
                    let due = compare::due(&self.rig, &self.model)?;
                    asks.extend(due.into_iter().map(|expire| Ask::new("", "", What::Expire(expire))));
                }
                self.round(asks, crash)?;
                if self.rng.random_ratio(1, ALL) {
                    compare::everything(&mut self.rig, &self.model)?;
                }
            }
            compare::everything(&mut self.rig, &self.model)
        };
        let verdict = run();
        self.tally.virtual_ms += self.model.now_ms - BEGIN_MS;
        self.tally.counted += self.model.counted;
        verdict.map_err(|why| format!("{}\n{why}", self.last.make_contiguous().join("\n")))
    }

    /// Time passes: mostly a little, now and then so much that nothing can be edited any more, and seldom so much that nothing can be
    /// deleted.
    fn pass(&mut self) {
        self.model.now_ms += match self.rng.random_range(0..2_000) {
            0..1_200 => self.rng.random_range(1..50),
            1_200..1_900 => self.rng.random_range(50..5_000),
            1_900..1_980 => self.rng.random_range(5_000..120_000),
            1_980 => self.rng.random_range(172_000_000..174_000_000),
            _ => self.rng.random_range(120_000..1_200_000),
        };
        self.rig.set_time(self.model.now_ms);
    }

    fn draw_crash(&mut self) -> Crash {
        match self.rng.random_range(0..4) {
            0 => Crash::Kill,
            1 => Crash::Power,
            2 => Crash::Within(Operation::Write),
            _ => Crash::Within(Operation::Sync),
        }
    }

    /// What is asked together. Who there is changes alone.
    fn draw(&mut self) -> Vec<Ask> {
        let mut asks: Vec<Ask> = Vec::new();
        let count = self.rng.random_range(1..=TOGETHER);
        let mut draw = Draw { rng: &mut self.rng, model: &self.model };
        while asks.len() < count {
            let kind = draw.kind();
            let alone = kind.starts_with("user.");
            if alone && !asks.is_empty() {
                continue;
            }
            let Some(ask) = draw.ask(kind) else { continue };
            // What a device acknowledges is known when it begins; what it is sent meanwhile is not among it.
            let twice = |other: &Ask| other.user == ask.user && (of_session(other) || of_session(&ask));
            if asks.iter().any(twice) {
                continue;
            }
            asks.push(ask);
            if alone {
                break;
            }
        }
        asks
    }

    /// Carries out what is asked together, on both sides.
    fn round(&mut self, asks: Vec<Ask>, crash: Option<Crash>) -> Verdict {
        self.note(|| {
            crash.map_or_else(|| "together:".to_owned(), |crash| format!("before a crash ({crash:?}):"))
        });
        let mut requests: Vec<Request> = Vec::new();
        let mut asked: HashMap<u64, Ask> = HashMap::new();
        for ask in asks {
            if let Some((ask, request)) = self.ask(ask)? {
                asked.insert(request.token, ask);
                requests.push(request);
            }
        }
        let Round { answers, tails, unheard, open, crashed } = self.rig.carry_out(requests, crash);
        for answer in &answers {
            self.answered(&mut asked, answer)?;
        }
        if !crashed {
            if !asked.is_empty() {
                return Err(format!("not answered: {asked:?}"));
            }
            return compare::news(&self.rig, &mut self.model, &tails);
        }
        self.after_a_crash(asked, &unheard, open)
    }

    /// What was answered has happened. What was not may have: whole batches of it, from the first to some last one. Which, the state
    /// tells after the restart.
    fn after_a_crash(
        &mut self,
        mut asked: HashMap<u64, Ask>,
        unheard: &[sequencer::Answer],
        open: Vec<Vec<sequencer::Answer>>,
    ) -> Verdict {
        self.tally.crashes += 1;
        self.tally.unanswered += asked.len() as u64;
        self.model.guesses.clear();
        self.note(|| "a crash".to_owned());
        for answer in unheard {
            self.answered(&mut asked, answer)?;
            self.tally.had_happened += 1;
        }
        let mut wrong = Vec::new();
        for batch in open.into_iter().map(Some).chain([None]) {
            match compare::everything(&mut self.rig, &self.model) {
                Ok(()) => {
                    self.model.news = super::state::News::default();
                    // The users whom they named are forgotten with the memory of it.
                    self.model.guesses.clear();
                    return Ok(());
                }
                Err(why) => wrong.push(why),
            }
            for answer in batch.into_iter().flatten() {
                self.answered(&mut asked, &answer)?;
                self.tally.had_happened += 1;
            }
        }
        Err(format!("after a crash there is what no part of the unanswered explains:\n{}", wrong.join("\n")))
    }

    /// Hands something in; what is only looked at is answered at once.
    fn ask(&mut self, mut ask: Ask) -> Result<Option<(Ask, Request)>, String> {
        let Some((topic, payload)) = ask.published() else {
            let request = self.rig.request(&ask);
            if let What::Acknowledge(count) = &mut ask.what {
                // What comes from now on it does not know yet.
                let mut waiting = self.model.waiting(&ask.user, &ask.device);
                waiting.truncate(*count);
                *count = waiting.last().map_or(0, |(had, _)| *had);
                // Whether it was given before its time was over, nobody can tell until it is erased.
                let log = &self.model.users.get(&ask.user).map_or(&[][..], |user| &user.log);
                let is_message = |at: &usize| matches!(log[*at].event, Kind::Message(_));
                ask.brought = waiting.iter().map(|(had, _)| had - 1).filter(is_message).collect();
            }
            return Ok(Some((ask, request)));
        };
        let looked = match &ask.what {
            What::History(history) => Some(compare::history(&mut self.rig, &self.model, &ask, history)?),
            What::Contacts(list) => Some(compare::contacts(&mut self.rig, &self.model, &ask, list)?),
            What::Sync(_) => Some(compare::list(&mut self.rig, &self.model, &ask)?),
            What::Starred(_) => Some(compare::starred(&mut self.rig, &self.model, &ask)?),
            What::Devices(_) => Some(compare::devices(&mut self.rig, &self.model, &ask)?),
            _ => None,
        };
        match looked {
            Some(None) => {
                self.tally.note(ask.kind(), false);
                return Ok(None);
            }
            Some(refused) => ask.refused = refused,
            None => {}
        }
        ask.about_something = compare::is_there(&self.model, &ask);
        ask.is_away = compare::is_away(&self.model, &ask);
        if let What::RemoveDevice(remove) = &ask.what {
            ask.refused = self.model.refuses_to_remove(&ask.user, &remove.device);
        }
        if let What::Send(_, send) = &ask.what
            && (send.body.is_none() || send.expires_in_s > TIMER_MAX_S)
        {
            ask.refused = Some(ErrorCode::InvalidPayload);
        }
        match self.rig.publish(&ask, &topic, &payload) {
            Publication::Command(command) => {
                let request = self.wrap(&ask, command);
                Ok(Some((ask, request)))
            }
            Publication::RemoveDevice(device) => {
                // Its session ends, and with that what there is of it here.
                let end = Ask::new(&ask.user, device.as_str(), What::Detach);
                let request = self.rig.request(&end);
                Ok(Some((ask, request)))
            }
            Publication::Page(_) => Err(format!("{ask:?} has a page where it had none just now")),
        }
    }

    fn wrap(&mut self, ask: &Ask, command: Command) -> Request {
        self.rig.wrap(ask, command)
    }

    /// The machine has answered: what does the model say?
    fn answered(&mut self, asked: &mut HashMap<u64, Ask>, answer: &sequencer::Answer) -> Verdict {
        let Some(ask) = asked.remove(&answer.token) else {
            return Err(format!("{answer:?} was not asked for, or is answered twice"));
        };
        if let machine::Outcome::Failed(why) = &answer.outcome {
            return Err(format!("{ask:?} was not decided: {why}"));
        }
        let heard = compare::heard(&answer.outcome, &ask);
        let messages = self.messages();
        let answered = self.model.carry_out(&ask, &heard);
        self.note(|| format!("{ask:?}\n    → {heard:?}"));
        self.tally.note(ask.kind(), matches!(answered, Answer::Refused(..)));
        if matches!((&ask.what, &answered), (What::Send(..), Answer::Number(_)))
            && self.messages() == messages
        {
            self.tally.retries += 1;
        }
        if heard == answered {
            return Ok(());
        }
        Err(format!("{ask:?}:\nthe machine says {heard:?}\nthe model says   {answered:?}"))
    }

    fn messages(&self) -> usize {
        self.model.conversations.values().map(Vec::len).sum()
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        let now_ms = self.model.now_ms - BEGIN_MS;
        self.last.push_back(format!("{now_ms} ms: {}", what()));
    }
}

/// A panic in the middle of a world says which it was.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the world of MODEL_SEED={}", self.0);
        }
    }
}

fn of_session(ask: &Ask) -> bool {
    matches!(ask.what, What::Attach | What::Detach | What::Acknowledge(_) | What::RemoveDevice(_))
}
