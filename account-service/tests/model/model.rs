//! What an account-service is meant to do, said once more: in lists and numbers, without the
//! program's own rules, databases or types.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::command::{ACCOUNTS, Final};
use super::exceptions::{Kept, Kind};
use super::pay_service::{State, Told};
use super::walks::Walk;

#[derive(Debug, Clone, Copy, Default)]
pub struct Account {
    pub open: bool,
    pub dollars: bool,
}

/// A request for a recharge.
#[derive(Debug, Clone)]
pub struct Request {
    pub order: Uuid,
    pub account: usize,
    pub amount: i64,
    pub dollars: bool,
    /// What is known of it: pay-service's number, and how it stands.
    pub known: Option<(Uuid, State)>,
    /// When it is asked about next, or when its lease is over.
    pub ask_at: Option<DateTime<Utc>>,
    pub lease: Option<Uuid>,
    pub asks: u32,
    pub misses: u32,
}

/// What became of what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Credited,
    Already,
    Noted,
    Refused(Kind),
}

impl Verdict {
    pub fn refusal(self) -> Option<Kind> {
        match self {
            Self::Refused(kind) => Some(kind),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub accounts: [Account; ACCOUNTS],
    /// As they were told, by `tx_no`.
    pub credits: BTreeMap<Uuid, Told>,
    pub requests: Vec<Request>,
    /// On which way each was credited.
    pub credited_by: BTreeMap<Uuid, &'static str>,
    /// What a person had credited although its order was, by the `tx_no` that was credited before.
    pub despite: BTreeMap<Uuid, Uuid>,
    pub exceptions: Vec<Kept>,
    /// In the order in which they were asked for.
    pub walks: Vec<Walk>,
}

const SUCCEEDED: State = State::Final(Final::Succeeded);

impl Request {
    /// Whether this is what was asked for.
    pub fn fits(&self, told: &Told) -> bool {
        let same = (self.order.to_string(), self.account, self.amount, self.dollars)
            == (told.order.clone(), told.account, told.amount, told.dollars);
        same && self.may_learn(told)
    }

    /// One request has one number and one result.
    fn may_learn(&self, told: &Told) -> bool {
        match self.known {
            None => true,
            Some((tx, state)) => {
                tx == told.tx
                    && (state == State::Pending || told.state == State::Pending || told.state == state)
            }
        }
    }
}

impl Model {
    /// The request that has this number already, else the one of this order.
    fn request_of(&self, told: &Told) -> Option<usize> {
        let known = |request: &Request| request.known.is_some_and(|(tx, _)| tx == told.tx);
        let by_tx = self.requests.iter().position(known);
        by_tx.or_else(|| self.requests.iter().position(|request| request.order.to_string() == told.order))
    }

    pub fn request(&mut self, order: Uuid) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.order == order)
    }

    pub fn walk(&mut self, id: Uuid) -> &mut Walk {
        self.walks.iter_mut().find(|walk| walk.id == id).expect("it was asked for")
    }

    /// Under which other number this order is credited.
    pub fn first_of_order(&self, told: &Told) -> Option<Uuid> {
        let first = |credit: &&Told| credit.order == told.order && !self.despite.contains_key(&credit.tx);
        self.credits.values().find(first).map(|credit| credit.tx).filter(|tx| *tx != told.tx)
    }

    /// A result is told, or an answer is given.
    pub fn told(&mut self, told: &Told, answer: bool) -> Verdict {
        let request = self.request_of(told);
        let verdict = self.judge(told, request);
        let mut subjects = vec![told.tx];
        subjects
            .extend(request.map(|request| self.requests[request].order).or_else(|| told.order.parse().ok()));
        self.close_heard_of(&subjects, answer);
        match verdict {
            Verdict::Refused(kind) => self.refuse(kind, told),
            Verdict::Credited => {
                self.learn(request, told);
                self.credit(told);
            }
            Verdict::Already => self.close_credited(told.tx),
            Verdict::Noted if !self.credits.contains_key(&told.tx) => self.learn(request, told),
            Verdict::Noted => {}
        }
        verdict
    }

    fn judge(&self, told: &Told, request: Option<usize>) -> Verdict {
        if let Some(credit) = self.credits.get(&told.tx) {
            let same =
                (credit.account, credit.amount, credit.dollars) == (told.account, told.amount, told.dollars);
            return match told.state {
                SUCCEEDED if same => Verdict::Already,
                State::Pending if same => Verdict::Noted,
                _ => Verdict::Refused(Kind::ContradictsCredit),
            };
        }
        if told.state == SUCCEEDED && self.first_of_order(told).is_some() {
            return Verdict::Refused(Kind::OrderCreditedAlready);
        }
        if request.is_some_and(|request| !self.requests[request].fits(told)) {
            return Verdict::Refused(Kind::ContradictsRequest);
        }
        if told.state != SUCCEEDED {
            return Verdict::Noted;
        }
        self.creditable(told).map_or(Verdict::Credited, Verdict::Refused)
    }

    /// Why it can't be credited to its account.
    fn creditable(&self, told: &Told) -> Option<Kind> {
        let account = self.accounts[told.account];
        match account.open {
            false => Some(Kind::UnknownAccount),
            true if account.dollars != told.dollars => Some(Kind::CurrencyMismatch),
            true => None,
        }
    }

    fn learn(&mut self, request: Option<usize>, told: &Told) {
        let Some(request) = request.map(|request| &mut self.requests[request]) else { return };
        if !request.known.is_some_and(|(_, state)| state != State::Pending) {
            request.known = Some((told.tx, told.state));
        }
        if told.state != State::Pending {
            (request.ask_at, request.lease) = (None, None);
        }
    }

    fn credit(&mut self, told: &Told) {
        self.credits.insert(told.tx, told.clone());
        self.close_credited(told.tx);
    }

    /// pay-service answers the request itself: nothing is credited by it. Whether it fits.
    pub fn answered(&mut self, order: Uuid, told: &Told) -> bool {
        let taken = |request: &Request| request.known.is_some_and(|(tx, _)| tx == told.tx);
        let other = self.requests.iter().any(|request| request.order != order && taken(request));
        let Some(request) = self.request(order) else { return true };
        if other || !request.fits(told) {
            return false;
        }
        let known = *request.known.get_or_insert((told.tx, told.state));
        if known.1 == State::Pending {
            request.known = Some((told.tx, told.state));
        }
        if matches!(request.known, Some((_, State::Final(Final::Failed | Final::Closed)))) {
            (request.ask_at, request.lease) = (None, None);
        }
        true
    }

    /// A person has what was told credited, perhaps `despite` another credit of its order. The status of the
    /// answer where that can't be.
    pub fn resolve(&mut self, place: usize, credit: bool, despite: Option<Uuid>) -> Result<(), u16> {
        let kept = self.exceptions[place].clone();
        if kept.state != "open" {
            return Err(409);
        }
        if !credit {
            self.exceptions[place].state = "dismissed";
            return Ok(());
        }
        let told = kept.result.filter(|told| told.state == SUCCEEDED).ok_or(422_u16)?;
        if kept.contradicted || self.credits.contains_key(&told.tx) {
            return Err(409);
        }
        if self.first_of_order(&told) != despite || self.creditable(&told).is_some() {
            return Err(409);
        }
        self.despite.extend(despite.map(|first| (told.tx, first)));
        self.exceptions[place].state = "credited";
        self.credited_by.insert(told.tx, "exception");
        let request = self.request_of(&told);
        self.learn(request.filter(|request| self.requests[*request].may_learn(&told)), &told);
        self.credit(&told);
        if despite.is_some() {
            self.close_despite(told.tx);
        }
        Ok(())
    }
}
