//! Times and ids in tests' words.

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub(super) fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("a time")
}

/// An id that begins with this time.
pub(super) fn id_at(time: &str) -> Uuid {
    let millis = u64::try_from(at(time).timestamp_millis()).expect("after 1970");
    uuid::Builder::from_unix_timestamp_millis(millis, &[0xAB; 10]).into_uuid()
}
