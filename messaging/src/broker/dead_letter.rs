//! Messages that were given up: looked at without taking them away, and put back into their queue.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use runtime::http::Page;
use uuid::Uuid;

use super::{BrokerError, History};
use crate::event::MAX_EVENT_BYTES;

/// A message of a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it; of the time it was given up.
    pub id: Uuid,
    /// The message as it was published, as much of it as an event may have (256 KiB).
    pub body: Bytes,
    /// How large the whole of it is, in bytes.
    pub size: usize,
    /// When it was first published, how many attempts at it failed, and why it was given up.
    pub history: History,
    /// When it was given up; `None` when another program has put it there.
    pub dead_lettered_at: Option<DateTime<Utc>>,
}

/// A dead-letter queue. Looking leaves every message where it is.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// A page of them, newest first: up to [`Page::fetch`], the page's cursor being an id.
    async fn list(&self, page: Page) -> Result<Vec<DeadLetter>, BrokerError>;

    /// The one of this id.
    async fn find(&self, id: Uuid) -> Result<Option<DeadLetter>, BrokerError>;

    /// Puts the one of this id back into its queue as a fresh message: no attempt at it has failed,
    /// and it was first published when it was. Confirmed there before it is forgotten here.
    /// Answers whether there is one.
    async fn requeue(&self, id: Uuid) -> Result<bool, BrokerError>;
}

impl DeadLetter {
    /// As much of `body` as is kept of a dead letter.
    pub(super) fn excerpt(mut body: Vec<u8>) -> Bytes {
        body.truncate(MAX_EVENT_BYTES);
        body.into()
    }

    /// The id of one that another program has put there without giving it one: the same for the
    /// same message.
    pub(super) fn id_of(body: &[u8]) -> Uuid {
        let hash = digest(&SHA256, body);
        let bytes: [u8; 16] = hash.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes");
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// Picks a page out of dead letters in any order, holding no more than it needs (law 10).
pub(super) struct Newest {
    page: Page,
    kept: BTreeMap<Uuid, DeadLetter>,
}

impl Newest {
    pub(super) fn of(page: Page) -> Self {
        Self { page, kept: BTreeMap::new() }
    }

    pub(super) fn offer(&mut self, letter: DeadLetter) {
        if self.page.after.is_some_and(|after| letter.id >= after) {
            return;
        }
        self.kept.insert(letter.id, letter);
        if i64::try_from(self.kept.len()).unwrap_or(i64::MAX) > self.page.fetch() {
            self.kept.pop_first();
        }
    }

    /// What was picked, newest first.
    pub(super) fn into_list(self) -> Vec<DeadLetter> {
        self.kept.into_values().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(number: u128) -> DeadLetter {
        let (body, history) = (Bytes::new(), History::default());
        DeadLetter { id: Uuid::from_u128(number), body, size: 0, history, dead_lettered_at: None }
    }

    #[test]
    fn a_page_holds_the_newest_below_its_cursor_whatever_their_order() {
        for (after, expected) in [(None, [9, 8, 7]), (Some(8), [7, 5, 4]), (Some(5), [4, 2, 1])] {
            let mut newest = Newest::of(Page { limit: 2, after: after.map(Uuid::from_u128) });
            for number in [5, 1, 9, 7, 2, 8, 4] {
                newest.offer(letter(number));
            }
            let ids: Vec<u128> = newest.into_list().iter().map(|letter| letter.id.as_u128()).collect();
            assert_eq!(ids, expected);
        }
    }

    #[test]
    fn a_letter_without_an_id_has_one_that_stays() {
        assert_eq!(DeadLetter::id_of(b"hello"), DeadLetter::id_of(b"hello"));
        assert_ne!(DeadLetter::id_of(b"hello"), DeadLetter::id_of(b"hallo"));
    }
}
