//! What a recharge is and how it may change. Pure: no database, no HTTP, no clock.

pub mod channel;
pub mod money;
pub mod order;
pub mod recharge;
pub mod statement;
pub mod totals;

pub use channel::Channel;
pub use money::{Amount, Currency};
pub use order::{Order, OrderDraft, OrderNo};
pub use recharge::{Outcome, Recharge, Refused, Settled, Status, StatusName};
pub use statement::Statement;
pub use totals::{TooMany, Total};
