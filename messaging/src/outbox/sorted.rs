//! What is to become of the rows that a round has published.

use runtime::problem::Chain;
use runtime::recurring::Recurring;
use uuid::Uuid;

use crate::broker::BrokerError;

/// A round's rows by what is to become of them.
#[derive(Default)]
pub(super) struct Sorted {
    /// Confirmed by the broker.
    pub(super) confirmed: Vec<Uuid>,
    /// Refused one by one, with their earlier failures: the row's own trouble.
    pub(super) refused: Vec<(Uuid, u32)>,
    /// Not answered: the broker's trouble, which is no failure of the row.
    pub(super) untried: Vec<Uuid>,
    pub(super) outage: Option<BrokerError>,
}

impl Sorted {
    pub(super) fn new(
        rows: Vec<(Uuid, u32)>,
        answers: Vec<Result<(), BrokerError>>,
        refusals: &Recurring,
    ) -> Self {
        let mut sorted = Self::default();
        let mut answers = answers.into_iter();
        for (id, failures) in rows {
            match answers.next() {
                Some(Ok(())) => sorted.confirmed.push(id),
                Some(Err(error @ BrokerError::Unavailable(_))) => {
                    sorted.untried.push(id);
                    sorted.outage = Some(error);
                }
                Some(Err(error)) => {
                    let error = Chain(&error).to_string();
                    if let Some(times) = refusals.note(&error) {
                        tracing::warn!(event.id = %id, failures = failures + 1, error, times, "outbox.refused");
                    }
                    sorted.refused.push((id, failures));
                }
                // A broker that answers fewer than it was asked has confirmed nothing of the rest.
                None => sorted.untried.push(id),
            }
        }
        sorted
    }
}
