//! Where events are published, and the proof that the queue which must receive them did.
//!
//! `mandatory` says only that some queue took a message, and a confirm that those which took it have
//! stored it. So publishers publish to an exchange of their own, [`Topology::publish_exchange`], that is
//! bound to the required queue itself and to the exchange of everybody: each queue still gets one copy.
//! After the confirms of a batch the publisher looks whether its marks of the queue and of the exchange
//! stand. If they do, neither has been deleted since before the batch, and all of it has arrived. If not,
//! none of the batch counts as published: everything is declared again and the batch published again.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use tokio::time::Instant;

use super::link::Link;
use super::marks::{self, Watched};
use super::topology::{Part, Topology};
use crate::broker::{BrokerError, Queue};

/// How many programs may publish at once through one exchange.
const MAX_PUBLISHERS: usize = 256;
/// How long what was declared is relied on before it is declared again.
const ASSERT_EVERY: Duration = Duration::from_secs(5);

/// An exchange to publish to whose bindings are known to have been there since it was opened.
pub(super) struct Outlet {
    topology: Arc<Topology>,
    required: Queue,
    queue_mark: String,
    exchange_mark: String,
    asserted_at: Instant,
}

impl Outlet {
    /// Declares everything a batch passes. The marks come first, so that a deletion while the rest is
    /// being declared is noticed as well.
    pub(super) async fn open(
        link: &Link,
        topology: Arc<Topology>,
        required: Queue,
    ) -> Result<Self, BrokerError> {
        let base = format!("{}.{}", topology.publish_exchange(), take_number(link, &topology).await?);
        let (queue_mark, exchange_mark) = (format!("{base}.queue"), format!("{base}.exchange"));
        topology.declare(link, required).await?;
        let channel = link.channel().await?;
        marks::set(&channel, &queue_mark, Watched::Queue(required.name)).await?;
        marks::set(&channel, &exchange_mark, Watched::Exchange(topology.exchange())).await?;
        let outlet = Self { topology, required, queue_mark, exchange_mark, asserted_at: Instant::now() };
        outlet.declare(link).await?;
        outlet.topology.bind_consumed(link).await?;
        Ok(outlet)
    }

    async fn declare(&self, link: &Link) -> Result<(), BrokerError> {
        self.topology.declare(link, self.required).await?;
        self.topology.declare_publish_exchange(link, self.required).await
    }

    /// Declares again what may have been unbound by hand since the last time.
    pub(super) async fn assert(&mut self, link: &Link) -> Result<(), BrokerError> {
        if self.asserted_at.elapsed() < ASSERT_EVERY {
            return Ok(());
        }
        self.declare(link).await?;
        self.asserted_at = Instant::now();
        Ok(())
    }

    /// Whether all that was confirmed on `channel` until now has arrived in the required queue.
    pub(super) async fn prove(&self, channel: &Channel) -> Result<(), BrokerError> {
        let (queue, exchange) =
            (marks::stands(channel, &self.queue_mark), marks::stands(channel, &self.exchange_mark));
        let (queue, exchange) = tokio::join!(queue, exchange);
        for (stands, part, name) in
            [(queue?, Part::Queue, self.required.name), (exchange?, Part::Exchange, self.topology.exchange())]
        {
            if !stands {
                self.topology.lost(part, name);
                return Err(BrokerError::unavailable(format!(
                    "{name} was deleted while events were published"
                )));
            }
        }
        Ok(())
    }
}

/// A number that no other publisher has: it is taken by an exclusive queue, which ends with the connection.
/// Marks are named after it, so that no other program makes them again, and a program that died leaves
/// none behind that the next one does not use.
async fn take_number(link: &Link, topology: &Topology) -> Result<usize, BrokerError> {
    for number in 0..MAX_PUBLISHERS {
        let name = ShortString::from(format!("{}.{number}", topology.publish_exchange()));
        let channel = link.channel().await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(name, options, FieldTable::default()).await {
            Ok(_) => return Ok(number),
            Err(error) if is_locked(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(BrokerError::unavailable(format!("{MAX_PUBLISHERS} programs publish already")))
}

/// Whether another connection has the exclusive queue.
pub(super) fn is_locked(error: &lapin::Error) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(error)
        if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED))
}
