//! A pay-service in this process, whose books a test writes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use account_service::domain::{Recharge, Request};
use account_service::pay_service::{
    Answer, NotCreated, PayService, StatementPage, StatementQuery, Unanswered,
};
use async_trait::async_trait;
use uuid::Uuid;

use super::as_json;

/// Clones are the same pay-service.
#[derive(Clone, Default)]
pub struct Scripted(Arc<Mutex<Books>>);

#[derive(Default)]
pub struct Books {
    /// By `tx_no`.
    pub recharges: BTreeMap<Uuid, Recharge>,
    /// Answers nothing but 500.
    pub down: bool,
    /// What it was asked, answered or not: `tx_no`s and order numbers.
    pub asked: Vec<String>,
}

impl Scripted {
    pub fn knowing(recharges: &[Recharge]) -> Self {
        let scripted = Self::default();
        scripted.books().recharges.extend(recharges.iter().map(|r| (r.tx_no, r.clone())));
        scripted
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, asked: String, is_it: impl Fn(&Recharge) -> bool) -> Result<Option<Answer>, Unanswered> {
        let mut books = self.books();
        books.asked.push(asked);
        if books.down {
            return Err(Unanswered::Status(500));
        }
        Ok(books.recharges.values().find(|recharge| is_it(recharge)).map(answer))
    }
}

pub fn answer(recharge: &Recharge) -> Answer {
    Answer { recharge: recharge.clone(), received: as_json(recharge).to_string().into() }
}

#[async_trait]
impl PayService for Scripted {
    async fn create(&self, request: &Request) -> Result<Answer, NotCreated> {
        let order = request.merchant_order_no.to_string();
        let found = self.find(order.clone(), |recharge| recharge.merchant_order_no == order)?;
        found.ok_or(NotCreated::Unknown(Unanswered::Status(500)))
    }

    async fn payresult(&self, tx_no: Uuid) -> Result<Option<Answer>, Unanswered> {
        self.find(tx_no.to_string(), |recharge| recharge.tx_no == tx_no)
    }

    async fn payresult_of_order(&self, order: Uuid) -> Result<Option<Answer>, Unanswered> {
        let order = order.to_string();
        self.find(order.clone(), |recharge| recharge.merchant_order_no == order)
    }

    async fn statement(&self, query: &StatementQuery) -> Result<StatementPage, Unanswered> {
        let mut books = self.books();
        books.asked.push(format!("statement after {:?}", query.after));
        if books.down {
            return Err(Unanswered::Status(500));
        }
        let first = query.after.map_or(Bound::Included(query.period.first()), Bound::Excluded);
        let mut rest = books.recharges.range((first, Bound::Excluded(query.period.end())));
        let recharges =
            rest.by_ref().take(query.limit.into()).map(|(_, recharge)| answer(recharge)).collect();
        Ok(StatementPage { recharges, more: rest.next().is_some() })
    }
}
