//! The part of the books that one batch touches: results are posted to it one after the other, and
//! what changed is then written in one transaction (law 8).

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::account::{Account, AccountNo};
use super::credit::{Credit, CreditSource};
use super::recharge::Recharge;
use super::request::{Request, RequestState};
use super::verdict::{Decision, Refusal, Verdict, judge};

/// A recharge that was heard of, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// What was told.
    pub recharge: Recharge,
    /// Who told it.
    pub source: CreditSource,
    /// The event that told it.
    pub event_id: Option<String>,
}

/// What posting a batch has changed. The database moves the balances by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New credits, in the order they were posted.
    pub credits: Vec<Credit>,
    /// Requests that learnt something.
    pub requests: Vec<(Uuid, RequestState)>,
}

/// Accounts, requests and credits as stored, then as changed by [`Ledger::post_all`].
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<AccountNo, Account>,
    requests: HashMap<Uuid, Request>,
    /// Which request knows a `tx_no`.
    orders: HashMap<Uuid, Uuid>,
    credits: HashMap<Uuid, Credit>,
    posted: Vec<Uuid>,
    learnt: HashSet<Uuid>,
}

impl Ledger {
    /// Starts from everything stored that the batch's results name: accounts by number, requests by
    /// order number and by `tx_no`, credits by `tx_no`.
    pub fn new(accounts: Vec<Account>, requests: Vec<Request>, credits: Vec<Credit>) -> Self {
        let known = |request: &Request| Some((request.state.tx_no()?, request.merchant_order_no));
        Self {
            orders: requests.iter().filter_map(known).collect(),
            accounts: accounts.into_iter().map(|account| (account.account_no.clone(), account)).collect(),
            requests: requests.into_iter().map(|request| (request.merchant_order_no, request)).collect(),
            credits: credits.into_iter().map(|credit| (credit.tx_no, credit)).collect(),
            ..Self::default()
        }
    }

    /// Posts results in their order. One that is refused holds no other back.
    pub fn post_all(&mut self, arrivals: &[Arrival], now: DateTime<Utc>) -> Vec<Verdict> {
        arrivals.iter().map(|a| self.post(a, now).unwrap_or_else(Verdict::Refused)).collect()
    }

    fn post(&mut self, arrival: &Arrival, now: DateTime<Utc>) -> Result<Verdict, Refusal> {
        let recharge = &arrival.recharge;
        let account = self.accounts.get(&recharge.account_no);
        let request = self.request_of(recharge);
        let earlier = self.credits.get(&recharge.tx_no);
        let order = request.map(|request| request.merchant_order_no);
        let (decision, learnt) = judge(recharge, account, request, earlier)?;
        if let (Some(order), Some(state)) = (order, learnt) {
            self.learn(order, state);
        }
        Ok(match decision {
            Decision::Credit { balance } => Verdict::Credited(self.credit(arrival, balance, now)),
            Decision::Already(credit) => Verdict::Already(credit),
            Decision::Note => Verdict::Noted,
        })
    }

    /// The request that already knows this `tx_no`, else the one of this order number.
    fn request_of(&self, recharge: &Recharge) -> Option<&Request> {
        let order = self.orders.get(&recharge.tx_no).copied().or_else(|| recharge.order())?;
        self.requests.get(&order)
    }

    fn learn(&mut self, order: Uuid, state: RequestState) {
        if let Some(request) = self.requests.get_mut(&order).filter(|request| request.state != state) {
            request.state = state;
            self.learnt.insert(order);
            self.orders.extend(state.tx_no().map(|tx_no| (tx_no, order)));
        }
    }

    fn credit(&mut self, arrival: &Arrival, balance: i64, now: DateTime<Utc>) -> Credit {
        let recharge = &arrival.recharge;
        let credit = Credit {
            tx_no: recharge.tx_no,
            account_no: recharge.account_no.clone(),
            amount: recharge.amount,
            currency: recharge.currency,
            source: arrival.source,
            event_id: arrival.event_id.clone(),
            credited_at: now,
        };
        if let Some(account) = self.accounts.get_mut(&recharge.account_no) {
            account.balance = balance;
        }
        self.posted.push(credit.tx_no);
        self.credits.insert(credit.tx_no, credit.clone());
        credit
    }

    /// What is to be written.
    pub fn into_changes(mut self) -> Changes {
        let credits = self.posted.iter().filter_map(|tx_no| self.credits.remove(tx_no)).collect();
        let requests = self.learnt.iter().filter_map(|order| Some((*order, self.requests.get(order)?.state)));
        Changes { credits, requests: requests.collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::money::{Amount, Currency};
    use super::super::recharge::Status;
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
        let arrival = one.prop_map(|(tx_no, number, amount, status)| Arrival {
            recharge: Recharge {
                tx_no: Uuid::from_u128(tx_no),
                merchant: "account-service".into(),
                merchant_order_no: format!("order-{tx_no}"),
                account_no: account(number).account_no,
                amount: Amount::new(amount).expect("an amount"),
                currency: Currency::CNY,
                status,
            },
            source: CreditSource::Queue,
            event_id: None,
        });
        proptest::collection::vec(arrival, 0..40)
    }

    proptest! {
        #[test]
        fn whatever_arrives_a_tx_no_credits_once_and_as_it_was_first_told(arrivals in arrivals()) {
            let mut ledger = Ledger::new((0..3).map(account).collect(), Vec::new(), Vec::new());
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
