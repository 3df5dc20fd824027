//! Lists for `SQLite`, which has no array type: they go in as one JSON array each, ids in hexadecimal.

use serde_json::Value;
use uuid::Uuid;

/// An id as `unhex` reads it.
pub fn hex(id: Uuid) -> String {
    id.simple().to_string()
}

/// Ids as one list for `json_each`.
pub fn hex_list(ids: impl IntoIterator<Item = Uuid>) -> String {
    list(ids.into_iter().map(|id| hex(id).into()))
}

/// Rows, each an array of columns, as one list for `json_each`.
pub fn list(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().collect::<Value>().to_string()
}
