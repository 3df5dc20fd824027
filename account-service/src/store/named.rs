//! By which numbers the part of the books is found that a batch touches.

use uuid::Uuid;

use super::distinct;
use crate::domain::{Arrival, Exception, Incident, Recharge, Stretch};

/// Numbers, each list sorted, so that processes lock rows in one order.
pub(super) struct Named {
    pub(super) accounts: Vec<String>,
    pub(super) orders: Vec<Uuid>,
    pub(super) tx_nos: Vec<Uuid>,
    /// Order numbers as text, others' as well as our own.
    pub(super) paid_orders: Vec<String>,
    /// What exceptions are about: any of the two before.
    pub(super) subjects: Vec<Uuid>,
}

impl Named {
    /// What results name.
    pub(super) fn by_results(arrivals: &[Arrival]) -> Self {
        Self::by(&arrivals.iter().map(|arrival| &arrival.recharge).collect::<Vec<_>>(), &[])
    }

    /// What incidents name.
    pub(super) fn by_incidents(incidents: &[Incident]) -> Self {
        let subjects: Vec<Uuid> = incidents.iter().map(|incident| incident.subject).collect();
        Self::by(&incidents.iter().filter_map(|i| i.result.as_ref()).collect::<Vec<_>>(), &subjects)
    }

    /// What an exception names.
    pub(super) fn by_exception(exception: &Exception) -> Self {
        Self::by(&exception.incident.result.iter().collect::<Vec<_>>(), &[exception.incident.subject])
    }

    /// What a stretch names.
    pub(super) fn by_stretch(stretch: &Stretch) -> Self {
        let there: Vec<&Recharge> = stretch.there.iter().map(|told| &told.recharge).collect();
        Self::by(&there, &stretch.alone())
    }

    /// A subject is a `tx_no` or an order number; which, it does not say.
    fn by(recharges: &[&Recharge], subjects: &[Uuid]) -> Self {
        let orders =
            || recharges.iter().filter_map(|recharge| recharge.order()).chain(subjects.iter().copied());
        let tx_nos = || recharges.iter().map(|recharge| recharge.tx_no).chain(subjects.iter().copied());
        Self {
            accounts: distinct(recharges.iter().map(|recharge| recharge.account_no.as_str().to_owned())),
            orders: distinct(orders()),
            tx_nos: distinct(tx_nos()),
            paid_orders: distinct(recharges.iter().filter_map(|r| Some(r.storable_order()?.to_owned()))),
            subjects: distinct(orders().chain(tx_nos())),
        }
    }
}
