//! What the service does, one use case a file.

mod begin_days;
mod dead_letters;
mod follow_clock;
mod pace;
mod post_results;
mod receive_result;
mod reconcile;
mod reconciliations;
mod request_recharge;
mod sweep;
mod watch;
mod wrong_answers;

pub use dead_letters::{DeadLetterQueue, NoLetters, ReadLetter, Wish as RequeueWish};
pub use follow_clock::FollowClock;
pub use post_results::{NotPosted, PostResults, Posting};
pub use receive_result::{ReadResults, Told};
pub use reconcile::{AnsweredBy, NotReconciled, PayResult, Reconcile};
pub use reconciliations::{PeriodPlan, ReconciliationPlan, Reconciliations, StartReconciliation};
pub(crate) use request_recharge::{MAX_ATTACH_BYTES, MAX_CHANNEL_CHARS};
pub use request_recharge::{NotRequested, RequestRecharge, Wish};
pub use sweep::{Sweep, SweepPlan};
pub use watch::{Watch, unreconciled_days};
