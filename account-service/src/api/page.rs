//! Which page of a list is asked for.

use runtime::http::Page;
use runtime::http::described::{Cursor, Limit};
use runtime::problem::Problem;
use serde::Deserialize;
use utoipa::IntoParams;

/// The query of a list that has no filter.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// How many items at most; 50 when left out
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

impl PageQuery {
    pub(super) fn page(&self) -> Result<Page, Problem> {
        Page::parse(self.limit, self.cursor.as_deref())
    }
}
