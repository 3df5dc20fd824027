//! Marks: how a program learns that an exchange or a queue was deleted, even if it has been made again.
//!
//! A mark is an exchange that is bound to what it watches and to nothing else, and that is `auto-delete`.
//! So the broker deletes it in the transaction in which it deletes what is watched, or the binding, and
//! only the program whose mark it is makes it again. Nothing is ever published to it. AMQP 0-9-1 has no
//! way to ask whether a binding is there.

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

/// What a mark watches.
#[derive(Debug, Clone, Copy)]
pub(super) enum Watched<'a> {
    Exchange(&'a str),
    Queue(&'a str),
}

/// Makes `mark`, which watches what is there now.
pub(super) async fn set(channel: &Channel, mark: &str, watched: Watched<'_>) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions {
        durable: true,
        auto_delete: true,
        internal: true,
        ..ExchangeDeclareOptions::default()
    };
    let (name, no_key, no_arguments) =
        (ShortString::from(mark), ShortString::default(), FieldTable::default());
    channel.exchange_declare(name.clone(), ExchangeKind::Fanout, options, no_arguments.clone()).await?;
    match watched {
        Watched::Exchange(exchange) => {
            let options = ExchangeBindOptions::default();
            channel.exchange_bind(exchange.into(), name, no_key, options, no_arguments).await
        }
        Watched::Queue(queue) => {
            let options = QueueBindOptions::default();
            channel.queue_bind(queue.into(), name, no_key, options, no_arguments).await
        }
    }
}

/// Whether `mark` still stands. If it does not, the broker closes the channel.
pub(super) async fn stands(channel: &Channel, mark: &str) -> Result<bool, lapin::Error> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let asked = channel.exchange_declare(mark.into(), ExchangeKind::Fanout, options, FieldTable::default());
    found(asked.await)
}

/// Whether a passive declaration found what it asked for.
pub(super) fn found<T>(answer: Result<T, lapin::Error>) -> Result<bool, lapin::Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the broker says that an exchange or a queue is missing.
pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(error)
        if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}
