//! Taking a channel's result.

use runtime::database::StoreError;
use runtime::validation::{Invalid, Violations};
use uuid::Uuid;

use super::Tools;
use crate::document::result_event;
use crate::domain::{Amount, Channel, Currency, Order, Outcome, Recharge, Refused, Settled};

/// What a channel tells about a recharge.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which channel tells it.
    pub channel: Channel,
    /// Our number of the recharge.
    pub tx_no: Uuid,
    /// How much it was about, as the channel knows it.
    pub amount: Amount,
    /// In which currency, as the channel knows it.
    pub currency: Currency,
    /// The result.
    pub outcome: Outcome,
}

/// Why a result is not taken. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum NotSettled {
    /// No recharge of that channel has the number.
    #[error("the channel has no recharge with this tx_no")]
    Unknown,
    /// The channel speaks of another sum than was asked for.
    #[error(transparent)]
    Mismatch(#[from] Invalid),
    /// The recharge is final with another result.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The database could not say or keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes `report`. The same result again is answered like the first one and changes nothing.
pub async fn settle(tools: &Tools, report: Report) -> Result<Recharge, NotSettled> {
    loop {
        let recharge = tools.store.recharge(report.tx_no).await?;
        let recharge = recharge.filter(|found| found.order.channel == report.channel);
        let recharge = recharge.ok_or(NotSettled::Unknown)?;
        agree(&report, &recharge.order)?;
        let settled = match recharge.settle(report.outcome.clone(), tools.sources.clock.wall())? {
            Settled::Before(recharge) => return Ok(recharge),
            Settled::Now(recharge) => recharge,
        };
        if commit(tools, &settled).await? {
            return Ok(settled);
        }
        // It became final meanwhile, and stays so: the next round decides against that.
    }
}

async fn commit(tools: &Tools, settled: &Recharge) -> Result<bool, StoreError> {
    let event = result_event(tools.sources.ids.next(), settled).expect("a settled recharge has a result");
    let committed = tools.store.settle(settled, &event, tools.sources.clock.now()).await?;
    if committed {
        tools.relay.ring();
        tools.metrics.count(settled);
    }
    Ok(committed)
}

fn agree(report: &Report, order: &Order) -> Result<(), Invalid> {
    let mut violations = Violations::new();
    violations.require(report.amount == order.amount, "amount", "is not the amount of the recharge");
    violations.require(report.currency == order.currency, "currency", "is not the currency of the recharge");
    violations.finish()
}
