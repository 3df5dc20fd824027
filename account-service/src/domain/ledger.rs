//! The part of the books that one batch touches: results are posted to it one after the other, and
//! what changed is then written in one transaction (law 8).

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::account::{Account, AccountNo};
use super::arrival::Arrival;
use super::credit::Credit;
use super::exception::{Exception, ExceptionKind, Incident};
use super::exception_book::ExceptionBook;
use super::recharge::{Recharge, Status};
use super::recorded::Recorded;
use super::request::{Request, RequestState};
use super::resolve::CantResolve;
use super::verdict::{Decision, Met, Refusal, Verdict, credit_to, judge};

/// What was read of the books: everything stored that the batch's results name.
#[derive(Debug, Default)]
pub struct Books {
    /// By number.
    pub accounts: Vec<Account>,
    /// By order number and by `tx_no`.
    pub requests: Vec<Request>,
    /// By `tx_no` and by the number of the order that was paid.
    pub credits: Vec<Credit>,
    /// By what they are about: `tx_no`s and order numbers.
    pub exceptions: Vec<Exception>,
}

/// What posting a batch has changed. The database moves the balances by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New credits, in the order they were posted.
    pub credits: Vec<Credit>,
    /// Order numbers of older credits that were kept without, by `tx_no`.
    pub orders: Vec<(Uuid, String)>,
    /// Requests that learnt something.
    pub requests: Vec<(Uuid, RequestState)>,
    /// Exceptions that are new or have changed, as they are now.
    pub exceptions: Vec<Exception>,
}

/// Accounts, requests, credits and exceptions as stored, then as changed by [`Ledger::post_all`].
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<AccountNo, Account>,
    requests: HashMap<Uuid, Request>,
    /// Which request knows a `tx_no`.
    orders: HashMap<Uuid, Uuid>,
    pub(super) credits: HashMap<Uuid, Credit>,
    /// The `tx_no` under which an order is credited.
    credited_orders: HashMap<String, Uuid>,
    posted: Vec<Uuid>,
    /// Credits whose order has become known.
    ordered: Vec<Uuid>,
    learnt: HashSet<Uuid>,
    pub(super) exceptions: ExceptionBook,
}

impl Ledger {
    /// Starts from what was read.
    pub fn new(books: Books) -> Self {
        let Books { accounts, requests, credits, exceptions } = books;
        let known = |request: &Request| Some((request.state.tx_no()?, request.merchant_order_no));
        let ordered = |credit: &Credit| {
            let order = credit.merchant_order_no.clone().filter(|_| credit.credited_despite.is_none());
            Some((order?, credit.tx_no))
        };
        Self {
            credited_orders: credits.iter().filter_map(ordered).collect(),
            orders: requests.iter().filter_map(known).collect(),
            accounts: accounts.into_iter().map(|account| (account.account_no.clone(), account)).collect(),
            requests: requests.into_iter().map(|request| (request.merchant_order_no, request)).collect(),
            credits: credits.into_iter().map(|credit| (credit.tx_no, credit)).collect(),
            exceptions: ExceptionBook::new(exceptions),
            ..Self::default()
        }
    }

    /// Posts results in their order. One that is refused holds no other back.
    pub fn post_all(&mut self, arrivals: &[Arrival], now: DateTime<Utc>) -> Vec<Verdict> {
        arrivals.iter().map(|arrival| self.post(arrival, now)).collect()
    }

    fn post(&mut self, arrival: &Arrival, now: DateTime<Utc>) -> Verdict {
        let recharge = &arrival.recharge;
        let request = self.request_of(recharge);
        let order = request.map(|request| request.merchant_order_no);
        let account = self.accounts.get(&recharge.account_no);
        let credit = self.credits.get(&recharge.tx_no);
        let judged = judge(recharge, Met { account, request, credit, of_order: self.of_order(recharge) });
        self.close_answered(arrival, order, now);
        let (decision, learnt) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                self.note(arrival.refused(&refusal), now);
                return Verdict::Refused(refusal);
            }
        };
        if let (Some(order), Some(state)) = (order, learnt) {
            self.learn(order, state, recharge.status);
        }
        match decision {
            Decision::Credit { balance } => Verdict::Credited(self.credit(arrival, balance, None, now)),
            Decision::Already(credit) => {
                self.close_credited(&credit, now);
                if credit.merchant_order_no.is_none() {
                    self.learn_order(arrival, now);
                }
                Verdict::Already(credit)
            }
            Decision::Note => Verdict::Noted,
        }
    }

    /// Keeps something that does not fit.
    pub fn note(&mut self, incident: Incident, now: DateTime<Utc>) {
        let result = incident.result.as_ref();
        let request = match result {
            Some(result) => self.request_of(result),
            None => self.requests.get(&incident.subject),
        };
        let request = request.or_else(|| self.requests.get(self.orders.get(&incident.subject)?));
        let account_no =
            result.map(|result| &result.account_no).or(request.map(|request| &request.account_no));
        let of_order = result.filter(|_| incident.kind == ExceptionKind::OrderCreditedAlready);
        let recorded = Recorded {
            account: account_no.and_then(|account_no| self.accounts.get(account_no)),
            request,
            credit: of_order
                .and_then(|result| self.of_order(result))
                .or_else(|| self.credits.get(&incident.subject)),
        };
        let recorded = recorded.to_json();
        self.exceptions.note(incident, recorded, now);
    }

    /// The request that already knows this `tx_no`, else the one of this order number.
    fn request_of(&self, recharge: &Recharge) -> Option<&Request> {
        let order = self.orders.get(&recharge.tx_no).copied().or_else(|| recharge.order())?;
        self.requests.get(&order)
    }

    /// The credit of the same order under another `tx_no`.
    fn of_order(&self, recharge: &Recharge) -> Option<&Credit> {
        let tx_no = self.credited_orders.get(recharge.storable_order()?)?;
        self.credits.get(tx_no).filter(|credit| credit.tx_no != recharge.tx_no)
    }

    /// An earlier version kept its credit without the order. Where the order has another credit, it was
    /// credited twice then: a person has to know.
    fn learn_order(&mut self, arrival: &Arrival, now: DateTime<Utc>) {
        let recharge = &arrival.recharge;
        let Some(order) = recharge.storable_order() else { return };
        if let Some(first) = self.of_order(recharge).map(|credit| credit.tx_no) {
            self.note(arrival.refused(&Refusal::OrderCreditedAlready(first)), now);
        } else if let Some(credit) = self.credits.get_mut(&recharge.tx_no) {
            credit.merchant_order_no = Some(order.to_owned());
            self.credited_orders.insert(order.to_owned(), credit.tx_no);
            self.ordered.push(credit.tx_no);
        }
    }

    /// A result is written even if it was known: now it is posted, so nothing is left to ask. A late
    /// `pending` posts nothing, so a success that is known only by an answer is still asked about.
    fn learn(&mut self, order: Uuid, state: RequestState, told: Status) {
        let news = |request: &&mut Request| request.state != state || told != Status::Pending;
        if let Some(request) = self.requests.get_mut(&order).filter(news) {
            request.state = state;
            self.learnt.insert(order);
            self.orders.extend(state.tx_no().map(|tx_no| (tx_no, order)));
        }
    }

    fn credit(
        &mut self,
        arrival: &Arrival,
        balance: i64,
        despite: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Credit {
        let recharge = &arrival.recharge;
        let credit = Credit {
            tx_no: recharge.tx_no,
            account_no: recharge.account_no.clone(),
            amount: recharge.amount,
            currency: recharge.currency,
            source: arrival.source,
            event_id: arrival.event_id.clone(),
            credited_at: now,
            merchant_order_no: recharge.storable_order().map(str::to_owned),
            credited_despite: despite,
        };
        if despite.is_none() {
            self.credited_orders.extend(credit.merchant_order_no.clone().map(|order| (order, credit.tx_no)));
        }
        if let Some(account) = self.accounts.get_mut(&recharge.account_no) {
            account.balance = balance;
        }
        self.posted.push(credit.tx_no);
        self.credits.insert(credit.tx_no, credit.clone());
        self.close_credited(&credit, now);
        credit
    }

    /// Credits what a person has judged, whatever the request says; the request learns what it can. An
    /// order that has a credit gets another only `despite` that very one.
    pub(super) fn credit_by_hand(
        &mut self,
        arrival: &Arrival,
        despite: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<(), CantResolve> {
        let recharge = &arrival.recharge;
        if self.credits.contains_key(&recharge.tx_no) {
            return Err(CantResolve::CreditedAlready);
        }
        match self.of_order(recharge).map(|credit| credit.tx_no) {
            Some(first) if despite != Some(first) => return Err(CantResolve::OrderCreditedAlready(first)),
            None if despite.is_some() => return Err(CantResolve::NothingToCreditDespite),
            _ => {}
        }
        let balance = credit_to(self.accounts.get(&recharge.account_no), recharge);
        let balance = balance.map_err(CantResolve::Refused)?;
        let learnt =
            |r: &Request| Some((r.merchant_order_no, r.state.learn(recharge.tx_no, recharge.status).ok()?));
        if let Some((order, state)) = self.request_of(recharge).and_then(learnt) {
            self.learn(order, state, recharge.status);
        }
        self.credit(arrival, balance, despite, now);
        if let Some(first) = despite {
            let reason = format!("credited by a person, despite tx_no {first}");
            let judged = |e: &Exception| e.incident.kind == ExceptionKind::OrderCreditedAlready;
            self.exceptions.close(recharge.tx_no, judged, &reason, now);
        }
        Ok(())
    }

    /// Once a result is credited, nothing is left to judge about this very result.
    fn close_credited(&mut self, credit: &Credit, now: DateTime<Utc>) {
        let reason = format!("credited, source {}", credit.source.as_str());
        let told = |result: &Recharge| result.status == Status::Succeeded && credit.agrees_with(result);
        let stays = [ExceptionKind::ContradictsCredit, ExceptionKind::OrderCreditedAlready];
        let gone = |exception: &Exception| {
            !stays.contains(&exception.incident.kind)
                && exception.contradiction.is_none()
                && exception.incident.result.as_ref().is_some_and(told)
        };
        self.exceptions.close(credit.tx_no, gone, &reason, now);
    }

    /// A result shows that pay-service took the request; its answer, that it knows and answers.
    fn close_answered(&mut self, arrival: &Arrival, order: Option<Uuid>, now: DateTime<Utc>) {
        let recharge = &arrival.recharge;
        let reason = format!("told by pay-service, source {}", arrival.source.as_str());
        let gone = |exception: &Exception| match exception.incident.kind {
            ExceptionKind::NotTaken => true,
            ExceptionKind::NotAtPayService | ExceptionKind::WrongAnswer => arrival.source.is_answer(),
            _ => false,
        };
        let mut subjects = vec![recharge.tx_no];
        subjects.extend(order.or_else(|| recharge.order()));
        for subject in subjects {
            self.exceptions.close(subject, gone, &reason, now);
        }
    }

    /// What is to be written.
    pub fn into_changes(mut self) -> Changes {
        let order = |tx_no: &Uuid| Some((*tx_no, self.credits.get(tx_no)?.merchant_order_no.clone()?));
        let orders = self.ordered.iter().filter_map(order).collect();
        let credits = self.posted.iter().filter_map(|tx_no| self.credits.remove(tx_no)).collect();
        let requests = self.learnt.iter().filter_map(|order| Some((*order, self.requests.get(order)?.state)));
        Changes { credits, orders, requests: requests.collect(), exceptions: self.exceptions.into_changed() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::credit::CreditSource;
    use super::super::money::{Amount, Currency};
    use super::*;

    fn account(number: u8) -> Account {
        Account {
            account_no: AccountNo::parse(format!("A{number}")).expect("a number"),
            account_name: "Zhang San".into(),
            currency: Currency::CNY,
            balance: 0,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    /// Few numbers, so that they meet: account 3 does not exist.
    fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
        let statuses = [Status::Succeeded, Status::Succeeded, Status::Pending, Status::Failed];
        let one = (0..6_u128, 0..4_u8, 1..4_i64, proptest::sample::select(statuses.to_vec()));
        let arrival = one.prop_map(|(tx_no, number, amount, status)| {
            let recharge = Recharge {
                tx_no: Uuid::from_u128(tx_no),
                merchant: "account-service".into(),
                merchant_order_no: format!("order-{tx_no}"),
                account_no: account(number).account_no,
                amount: Amount::new(amount).expect("an amount"),
                currency: Currency::CNY,
                status,
            };
            Arrival::new(recharge, CreditSource::Queue, "{}")
        });
        proptest::collection::vec(arrival, 0..40)
    }

    proptest! {
        #[test]
        fn whatever_arrives_a_tx_no_credits_once_and_as_it_was_first_told(arrivals in arrivals()) {
            let mut ledger = Ledger::new(Books { accounts: (0..3).map(account).collect(), ..Books::default() });
            let verdicts = ledger.post_all(&arrivals, DateTime::UNIX_EPOCH);
            let changes = ledger.into_changes();
            let credited = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Credited(_))).count();
            prop_assert_eq!(changes.credits.len(), credited);
            let distinct: HashSet<Uuid> = changes.credits.iter().map(|credit| credit.tx_no).collect();
            prop_assert_eq!(distinct.len(), credited);
            let first_of_each = |credit: &Credit| {
                arrivals.iter().find(|arrival| {
                    let told = &arrival.recharge;
                    told.tx_no == credit.tx_no && told.status == Status::Succeeded && told.account_no.as_str() != "A3"
                }).is_some_and(|arrival| credit.agrees_with(&arrival.recharge))
            };
            prop_assert!(changes.credits.iter().all(first_of_each));
        }
    }
}
