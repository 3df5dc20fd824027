//! A page of pay-service's statement: asked for, read, and held against what was asked.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Answer, Unanswered};
use crate::domain::{Arrival, CreditSource, Period, Side};
use crate::wire::read_recharge;

/// Which page of the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementQuery {
    /// Of this period.
    pub period: Period,
    /// After this number; `None` from the beginning.
    pub after: Option<Uuid>,
    /// How many recharges at most.
    pub limit: u16,
}

/// A page of the statement as pay-service told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementPage {
    /// Its recharges.
    pub recharges: Vec<Answer>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// That the last page says so itself is required: a page without a word about it is no page.
#[derive(Deserialize)]
struct PageJson<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    #[serde(deserialize_with = "said")]
    next_cursor: Option<String>,
}

fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

impl StatementPage {
    /// Reads a page. One line of it that is no recharge makes it none.
    pub(super) fn read(json: &[u8]) -> Result<Self, Unanswered> {
        let page: PageJson<'_> = serde_json::from_slice(json)
            .map_err(|error| Unanswered::WrongPage(format!("can't be read: {error}")))?;
        let answer = |line: &&RawValue| match read_recharge(line.get().as_bytes()) {
            Ok(recharge) => Ok(Answer { recharge, received: line.get().into() }),
            Err(error) => Err(Unanswered::WrongPage(format!("holds a line that can't be read: {error}"))),
        };
        let recharges = page.items.iter().map(answer).collect::<Result<_, _>>()?;
        Ok(Self { recharges, more: page.next_cursor.is_some() })
    }

    /// This page as one side of a comparison, if it is what was asked for: recharges of `merchant`, of
    /// the period, in their order and after the last one; and it leads on, if there is more.
    pub fn answering(self, query: &StatementQuery, merchant: &str) -> Result<Side<Arrival>, Unanswered> {
        let wrong = |what: String| Err(Unanswered::WrongPage(what));
        if self.recharges.len() > usize::from(query.limit) {
            return wrong(format!("holds {} recharges of {} at most", self.recharges.len(), query.limit));
        }
        if self.more && self.recharges.is_empty() {
            return wrong("says that there is more, and holds nothing".into());
        }
        let mut last = query.after;
        for Answer { recharge, .. } in &self.recharges {
            let tx_no = recharge.tx_no;
            if recharge.merchant != merchant {
                return wrong(format!("holds the recharge {tx_no} of another merchant"));
            }
            if !query.period.holds(tx_no) {
                return wrong(format!("holds the recharge {tx_no}, which is not of the period"));
            }
            if last.is_some_and(|last| tx_no <= last) {
                return wrong(format!("holds the recharge {tx_no} out of order, or again"));
            }
            last = Some(tx_no);
        }
        let told = |answer: Answer| Arrival::new(answer.recharge, CreditSource::Statement, answer.received);
        Ok(Side { rows: self.recharges.into_iter().map(told).collect(), more: self.more })
    }
}
