//! pay-service's statement: told page by page, right, wrong or not at all.

use account_service::pay_service::StatementQuery;
use uuid::Uuid;

use super::command::{Mood, Telling};
use super::pay_service::{Books, State, Told};

/// A page as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub rows: Vec<Told>,
    /// Whether there are more behind it, as it says.
    pub more: bool,
}

/// The millisecond that a number begins with.
pub fn millisecond(tx: Uuid) -> u64 {
    u64::try_from(tx.as_u128() >> 80).expect("48 bits")
}

impl Books {
    /// From now on it tells its statement so.
    pub fn tell_so(&mut self, telling: &Telling) {
        self.answer(&telling.moods);
        self.page = telling.size;
    }

    /// The page that is asked for, or what is told instead; `None` when no page is.
    pub fn tell_page(&mut self, query: &StatementQuery) -> Option<Page> {
        let mood = self.mood();
        let of_period = |told: &&Told| {
            let millis = i64::try_from(millisecond(told.tx)).expect("48 bits");
            (query.period.from.timestamp_millis()..query.period.to.timestamp_millis()).contains(&millis)
        };
        let behind = |told: &&Told| query.after.is_none_or(|after| told.tx > after);
        let mut rows: Vec<Told> = self.recharges.iter().filter(of_period).filter(behind).cloned().collect();
        let most = usize::from(query.limit);
        let size = if self.page == 0 { most } else { self.page.min(most) };
        let mut more = rows.len() > size;
        rows.truncate(size);
        match (mood, rows.last_mut()) {
            (Mood::Down | Mood::Nonsense, _) => return None,
            (Mood::Another, None) => more = true,
            (Mood::Another, Some(last)) => {
                let again = last.clone();
                rows.push(again);
            }
            (Mood::Right, _) | (_, None) => {}
            (Mood::Forgetful, Some(_)) => {
                rows.remove(0);
            }
            (Mood::Foreign, Some(last)) => last.foreign = true,
            (Mood::Amount, Some(last)) => last.amount += 1,
            (Mood::Stale, Some(_)) => rows.iter_mut().for_each(|told| told.state = State::Pending),
        }
        Some(Page { rows, more })
    }
}

impl Page {
    /// Whether it is what was asked for: ours, of the period, each once, in order and behind `after`,
    /// and leading on if there is more.
    pub fn answers(&self, (first, end): (u64, u64), after: Option<Uuid>) -> bool {
        let ours = |told: &Told| !told.foreign && (first..end).contains(&millisecond(told.tx));
        let numbers: Vec<Uuid> = after.into_iter().chain(self.rows.iter().map(|told| told.tx)).collect();
        self.rows.iter().all(ours)
            && numbers.is_sorted_by(|a, b| a < b)
            && !(self.more && self.rows.is_empty())
    }
}
