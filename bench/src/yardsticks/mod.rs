//! What the machine itself does, measured in the same minute as what is compared with it.

mod confirms;
mod inserts;
mod posts;

use e2e::harness::{Footing, Kind};

use crate::figures::Figures;
use crate::receiver::Receiver;

/// `POST`s a second from a bare client to the receiver.
pub const HTTP_POSTS: &str = "HTTP POSTs";
/// Messages a second published to a quorum queue, each confirmed.
pub const CONFIRMED: &str = "publishes confirmed";
/// Messages a second taken from a quorum queue and acknowledged.
pub const TAKEN: &str = "messages taken";
/// Rows a second inserted 500 at a time, each batch committed.
pub const INSERTED: &str = "rows in batches of 500";
/// Transactions of one row a second, one after another.
pub const COMMITTED: &str = "lone commits";

/// Measures all that apply to `footing`.
pub async fn measure(footing: &Footing, receiver: &Receiver, in_flight: usize) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    figures.extend(posts::measure(receiver, in_flight).await?);
    if footing.kind == Kind::Postgres {
        figures.extend(confirms::measure(&footing.broker).await?);
        figures.extend(inserts::postgres(&footing.notifier_database).await?);
    } else {
        figures.extend(inserts::sqlite(footing.folder.path()).await?);
    }
    Ok(figures)
}
