//! Lists in pages: `limit` 1–200 (default 50) and an opaque cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::described::Cursor;
use crate::problem::Problem;
use crate::validation::{Invalid, Violations};

pub(super) const DEFAULT_LIMIT: u16 = 50;
pub(super) const MAX_LIMIT: u16 = 200;
/// Changes when the meaning of a cursor does, so that an old one is refused instead of misread.
const CURSOR_VERSION: u8 = 1;

/// Which page of a list ordered by id is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many items at most.
    pub limit: u16,
    /// The last id of the page before; `None` for the first page.
    pub after: Option<Uuid>,
}

impl Page {
    /// Reads the two query parameters; 400 naming the wrong one.
    pub fn parse(limit: Option<u16>, cursor: Option<&str>) -> Result<Self, Problem> {
        let mut violations = Violations::new();
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        violations.require((1..=MAX_LIMIT).contains(&limit), "limit", format!("must be 1 to {MAX_LIMIT}"));
        let after = cursor.and_then(|text| violations.take(decode(text)));
        violations.finish().map_err(Problem::malformed_query)?;
        Ok(Self { limit, after })
    }

    /// How many rows to fetch: one more than the page holds tells whether there is a next one.
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct List<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page starts; `null` on the last one.
    #[schema(value_type = Option<Cursor>)]
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// Makes a page of rows fetched with [`Page::fetch`].
    pub fn new(mut rows: Vec<T>, page: Page, id: impl Fn(&T) -> Uuid) -> Self {
        let limit = usize::from(page.limit);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(|row| encode(id(row))) } else { None };
        Self { items: rows, next_cursor }
    }

    /// The same page with each item turned into its outside form.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> List<U> {
        List { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }
}

fn encode(id: Uuid) -> String {
    let mut bytes = [CURSOR_VERSION; 17];
    bytes[1..].copy_from_slice(id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(cursor: &str) -> Result<Uuid, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
    match bytes.split_first() {
        Some((&CURSOR_VERSION, id)) => Uuid::from_slice(id).ok(),
        _ => None,
    }
    .ok_or_else(|| Invalid::field("cursor", "must be a next_cursor that a list of this service answered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_of_a_full_page_continues_after_its_last_item() {
        let ids: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let page = Page { limit: 2, after: None };
        let list = List::new(ids.clone(), page, |id| *id);
        assert_eq!(list.items, ids[..2]);
        let next = Page::parse(None, list.next_cursor.as_deref()).expect("our own cursor");
        assert_eq!(next.after, Some(ids[1]));
        assert_eq!(List::new(ids[2..].to_vec(), page, |id| *id).next_cursor, None);
    }

    #[test]
    fn a_limit_or_cursor_out_of_bounds_is_refused() {
        for (limit, cursor) in [(Some(0), None), (Some(201), None), (None, Some("x")), (None, Some("AAAA"))] {
            assert!(Page::parse(limit, cursor).is_err(), "{limit:?} {cursor:?}");
        }
    }
}
