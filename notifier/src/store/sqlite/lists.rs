//! Lists go in as one JSON array each, since `SQLite` has no array type. Ids travel in hexadecimal.

use serde_json::{Value, json};
use uuid::Uuid;

/// An id as `unhex` reads it.
pub(super) fn hex(id: Uuid) -> String {
    id.simple().to_string()
}

/// Ids as one list.
pub(super) fn hex_list(ids: impl Iterator<Item = Uuid>) -> String {
    list(ids.map(|id| json!(hex(id))))
}

/// Rows, each an array of columns, as one list.
pub(super) fn list(rows: impl Iterator<Item = Value>) -> String {
    Value::Array(rows.collect()).to_string()
}
