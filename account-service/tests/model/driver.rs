//! Does to a real service what is done to the model, and holds the one against the other.

use std::collections::BTreeSet;
use std::time::Duration;

use account_service::domain::{Currency, NewAccount};
use chrono::{DateTime, Utc};
use runtime::Clock;
use runtime::testing::property::Seen;
use uuid::Uuid;

use super::command::{Command, Final, Lie, Taking};
use super::model::{Account, Model, Request, Verdict};
use super::pay_service::{Asked, Books, State, Told, account_no, currency, made_up};
use super::reconciling::Pace;
use super::rig::Rig;

/// What is being done.
#[derive(Debug, Clone)]
pub enum Kind {
    Ring(Told),
    Take,
    Sweep,
    Query(Uuid),
    Request,
    Resolve {
        place: usize,
        credit: bool,
        despite: Option<Uuid>,
    },
    Requeue,
    /// Of this period: its first millisecond, and the first after it.
    Reconcile((u64, u64)),
    Walk,
}

/// What somebody may have done for good, beside posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Noted what was answered to the request.
    Noted,
    /// Kept what does not fit.
    Kept,
    /// Said when requests are asked about next.
    SetNextAsks,
    /// Settled what was received.
    Settled,
}

/// What somebody is doing, and has done for good so far.
#[derive(Debug, Clone)]
pub struct Work {
    pub kind: Kind,
    pub began: DateTime<Utc>,
    /// What was taken from the queue: its tag, how often it has failed, what it tells.
    pub received: Vec<(u64, u32, Told)>,
    /// The lease's token, and the requests under it as they were.
    pub claimed: Option<(Uuid, Vec<Request>)>,
    pub asked: Vec<Asked>,
    pub verdicts: Option<Vec<Verdict>>,
    pub recorded: Option<Uuid>,
    pub deeds: BTreeSet<Deed>,
    pub resolved: Option<Result<(), u16>>,
    /// The reconciliation that was asked for.
    pub begun: Option<Uuid>,
    /// Of a stretch.
    pub pace: Pace,
}

impl Work {
    pub fn new(kind: Kind, began: DateTime<Utc>) -> Self {
        Self {
            kind,
            began,
            received: Vec::new(),
            claimed: None,
            asked: Vec::new(),
            verdicts: None,
            recorded: None,
            deeds: BTreeSet::new(),
            resolved: None,
            begun: None,
            pace: Pace::default(),
        }
    }

    pub fn has(&self, deed: Deed) -> bool {
        self.deeds.contains(&deed)
    }
}

/// One case under way.
pub struct Driver<'a> {
    pub rig: &'a mut Rig,
    pub model: Model,
    /// What came into the queue; an event's id is its place.
    pub published: Vec<Told>,
    /// What the notifier rings with until it is answered 200.
    pub ringing: Vec<Told>,
    /// Recharges that were ever told otherwise than they are.
    pub lied_about: BTreeSet<Uuid>,
    /// Recharges whose result was rung or queued as it is.
    pub entrusted: BTreeSet<Uuid>,
    pub seen: Seen,
}

impl<'a> Driver<'a> {
    /// A case on an empty database.
    pub async fn start(rig: &'a mut Rig, seed: u64) -> Self {
        rig.renew(seed);
        let mut driver = Self {
            rig,
            model: Model::default(),
            published: Vec::new(),
            ringing: Vec::new(),
            lied_about: BTreeSet::new(),
            entrusted: BTreeSet::new(),
            seen: Seen::new(),
        };
        driver.open(0).await;
        driver.open(1).await;
        driver
    }

    pub fn saw(&mut self, what: &'static str, times: usize) {
        *self.seen.entry(what).or_default() += u32::try_from(times).expect("few");
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.rig.clock.now()
    }

    pub fn pass(&self, seconds: u64) {
        self.rig.clock.advance(Duration::from_secs(seconds));
    }

    pub fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.rig.books.lock().expect("nobody panics here")
    }

    /// The second account holds dollars.
    pub async fn open(&mut self, account: usize) {
        if self.model.accounts[account].open {
            return;
        }
        let dollars = account == 1;
        let mut wish = NewAccount::new(account_no(account).into(), "Zhang San".into()).expect("well-formed");
        wish.currency = currency(dollars).parse::<Currency>().expect("a code");
        self.rig.store.open_account(&wish, self.rig.clock.now()).await.expect("a store");
        self.model.accounts[account] = Account { open: true, dollars };
    }

    /// Does one command to both; panics where they differ.
    pub async fn run(&mut self, command: &Command) {
        match command {
            Command::Create { account, amount, other, result } => {
                self.create(*account, *amount, *other, *result);
            }
            Command::Repeat { pick, result } => self.repeat(*pick, *result),
            Command::PayTwice { pick, knowing } => self.pay_twice(*pick, *knowing).await,
            Command::Request { account, amount, taking, stop } => {
                self.books().taking = Some(*taking);
                self.saw("answers lost", usize::from(*taking == Taking::AnswerLost));
                self.request(*account, *amount, *stop).await;
            }
            Command::Arrive { pick } => self.arrive(*pick),
            Command::Settle { pick, result } => {
                self.settle(*pick, *result);
            }
            Command::Ring { pick, lie, stop } => {
                if let Some(told) = self.result(*pick, *lie) {
                    self.ring(told, *stop).await;
                }
            }
            Command::Publish { picks } => {
                let told = picks.iter().filter_map(|(pick, lie)| self.result(*pick, *lie)).collect();
                self.publish(told).await;
            }
            Command::Take { process, stop } => self.take(*process, *stop).await,
            Command::Sweep { process, due, moods, stop } => {
                self.books().answer(moods);
                if *due {
                    self.pass_to_due();
                }
                self.sweep(*process, *stop).await;
            }
            Command::Overtake { moods, stop } => {
                self.books().answer(moods);
                self.pass_to_due();
                self.sweep(0, Some(*stop)).await;
                self.pass_to_due();
                self.sweep(1, None).await;
                self.go_on(0, None).await;
            }
            Command::Reconcile { period, stop } => {
                self.begin_walk(*period, *stop).await;
            }
            Command::Walk { process, due, telling, stretches, stop } => {
                self.books().tell_so(telling);
                self.walk_on(*process, *due, *stretches, *stop).await;
            }
            Command::OvertakeWalk { telling, stop } => self.overtake_walk(telling, *stop).await,
            Command::RingMeanwhile { pick, stop } => self.ring_meanwhile(*pick, *stop).await,
            Command::GoOn { process, stop } => self.go_on(*process, *stop).await,
            Command::Die { process } => self.die(*process),
            Command::Query { pick, mood, stop } => {
                self.books().answer(&[*mood]);
                let tx = self.pick_recharge(*pick).map_or(super::pay_service::tx(500), |told| told.tx);
                self.query(tx, *stop).await;
            }
            Command::Pass { seconds } => self.pass(*seconds),
            Command::Open => self.open(2).await,
            Command::Requeue { pick, stop } => self.requeue(*pick, *stop).await,
            Command::Resolve { pick, credit, knowing, stop } => {
                self.resolve(*pick, *credit, *knowing, *stop).await;
            }
            Command::Look => self.look().await,
        }
    }

    pub fn pick_recharge(&self, pick: usize) -> Option<Told> {
        let books = self.books();
        books.recharges.get(pick % books.recharges.len().max(1)).cloned()
    }

    fn create(&self, account: usize, amount: i64, other: bool, result: Option<Final>) {
        let mut books = self.books();
        let order = format!("shop-{}", books.recharges.len());
        let (tx, dollars, foreign) = (Uuid::nil(), other != (account == 1), false);
        let state = result.map_or(State::Pending, State::Final);
        books.take(Told { tx, order, account, amount, dollars, state, foreign });
    }

    fn repeat(&mut self, pick: usize, result: Option<Final>) {
        let Some(first) = self.pick_recharge(pick) else { return };
        let state = result.map_or(State::Pending, State::Final);
        self.books().take(Told { state, ..first });
    }

    /// One is credited first where none is.
    async fn pay_twice(&mut self, pick: usize, knowing: bool) {
        if self.model.credits.is_empty() {
            self.create(0, 1, false, Some(Final::Succeeded));
            let created = self.books().recharges.last().cloned().expect("it is there");
            self.entrusted.insert(created.tx);
            self.ring(created, None).await;
        }
        let credited: Vec<Told> = self.model.credits.values().cloned().collect();
        let first = credited[pick % credited.len()].clone();
        let second = self.books().take(first);
        self.entrusted.insert(second.tx);
        self.ring(second.clone(), None).await;
        let place = self.model.exceptions.iter().position(|kept| kept.subject == second.tx);
        self.resolve_at(place.expect("it is refused"), true, knowing, None).await;
    }

    fn arrive(&mut self, pick: usize) {
        let mut books = self.books();
        if !books.under_way.is_empty() {
            let place = pick % books.under_way.len();
            let told = books.under_way.remove(place);
            books.take(told);
        }
    }

    /// One that is pending gets its result.
    pub fn settle(&mut self, pick: usize, result: Final) -> Option<Told> {
        let mut books = self.books();
        let mut pending: Vec<&mut Told> =
            books.recharges.iter_mut().filter(|told| told.state == State::Pending).collect();
        let among = pending.len().max(1);
        let told = pending.get_mut(pick % among)?;
        told.state = State::Final(result);
        Some(told.clone())
    }

    /// A result that there is, told as it is or otherwise.
    pub fn result(&mut self, pick: usize, lie: Option<Lie>) -> Option<Told> {
        let books = self.books();
        let results: Vec<&Told> =
            books.recharges.iter().filter(|told| told.state != State::Pending).collect();
        let told = (*results.get(pick % results.len().max(1))?).clone();
        drop(books);
        let lied = match lie {
            None => told.clone(),
            Some(Lie::Amount) => Told { amount: told.amount + 1, ..told.clone() },
            Some(Lie::Account(account)) => Told { account, ..told.clone() },
            Some(Lie::Currency) => Told { dollars: !told.dollars, ..told.clone() },
            Some(Lie::Result(result)) => Told { state: State::Final(result), ..told.clone() },
            Some(Lie::Foreign) => Told { foreign: true, ..told.clone() },
            Some(Lie::MadeUp) => Told { tx: made_up(told.tx), order: "made up".into(), ..told.clone() },
        };
        if lied == told {
            self.entrusted.insert(told.tx);
        } else if !lied.foreign && lied.tx == told.tx {
            self.lied_about.insert(told.tx);
        }
        Some(lied)
    }

    /// Until the next request is to be asked about, or its lease is over.
    pub fn pass_to_due(&mut self) {
        self.pass_to(self.model.requests.iter().filter_map(|request| request.ask_at).min());
    }

    /// Until just after `next`, if there is one.
    pub fn pass_to(&self, next: Option<DateTime<Utc>>) {
        let wait = next.and_then(|next| (next - self.now()).to_std().ok());
        if let Some(wait) = wait {
            self.rig.clock.advance(
                Duration::from_millis(1)
                    + Duration::from_millis(u64::try_from(wait.as_millis()).expect("short")),
            );
        }
    }
}
