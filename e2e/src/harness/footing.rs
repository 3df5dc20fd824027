//! What the services stand on: where their data and their messages are.

use std::sync::{Arc, LazyLock};

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use messaging::Ladder;
use messaging::broker::{EXCHANGE, NOTIFIER_EVENTS, RECHARGE_RESULTS};
use runtime::testing::{fresh_postgres_database, required_variable};
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{PrivateServer, Program};

/// Which programs run on which backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Three processes, each with its `SQLite` file, sharing the `SQLite` broker's file.
    Sqlite,
    /// The all-in-one process on its data directory.
    AllInOne,
    /// Three services, the notifier in two processes, on Postgres and `RabbitMQ`.
    Postgres,
}

/// Addresses of fresh, empty databases and of a broker without messages.
pub struct Footing {
    /// Which programs run.
    pub kind: Kind,
    /// pay-service's database.
    pub pay_database: String,
    /// The notifier's database.
    pub notifier_database: String,
    /// account-service's database.
    pub account_database: String,
    /// The broker all of them share.
    pub broker: String,
    /// Databases of `SQLite`, and every log.
    pub folder: TempDir,
    /// Queues have fixed names, so tests on the shared `RabbitMQ` run one after another.
    _turn: Option<OwnedMutexGuard<()>>,
    /// The broker, where it is this test's own.
    _rabbitmq: Option<Box<PrivateServer>>,
}

impl Footing {
    /// Three processes on files.
    #[expect(clippy::unused_async, reason = "every footing is made in the same way")]
    pub async fn sqlite() -> Self {
        Self::on_files(Kind::Sqlite)
    }

    /// One process on its data directory.
    #[expect(clippy::unused_async, reason = "every footing is made in the same way")]
    pub async fn all_in_one() -> Self {
        Self::on_files(Kind::AllInOne)
    }

    /// Four processes on the servers of `TEST_POSTGRES_URL` and `TEST_AMQP_URL`.
    pub async fn postgres() -> Self {
        Self::postgres_with(None, None).await
    }

    /// The same with a `RabbitMQ` of its own, for a test that takes long: it waits for no other and
    /// holds none up.
    pub async fn postgres_apart() -> Self {
        let rabbitmq = PrivateServer::start(Program::RabbitMq).await;
        let footing = Self::postgres_with(None, Some(&rabbitmq)).await;
        Self { _rabbitmq: Some(Box::new(rabbitmq)), ..footing }
    }

    /// The same with servers that the test may kill, in the place of the shared ones.
    pub async fn postgres_with(postgres: Option<&PrivateServer>, rabbitmq: Option<&PrivateServer>) -> Self {
        let server = match postgres {
            Some(server) => server.url().to_owned(),
            None => required_variable("TEST_POSTGRES_URL"),
        };
        let (broker, turn) = match rabbitmq {
            Some(server) => (server.url().to_owned(), None),
            None => (required_variable("TEST_AMQP_URL"), Some(turn().await)),
        };
        remove_queues(&broker).await;
        Self {
            kind: Kind::Postgres,
            pay_database: fresh_postgres_database(&server).await,
            notifier_database: fresh_postgres_database(&server).await,
            account_database: fresh_postgres_database(&server).await,
            broker,
            folder: tempfile::tempdir().expect("a temporary folder"),
            _turn: turn,
            _rabbitmq: None,
        }
    }

    fn on_files(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
        Self {
            kind,
            pay_database: file("pay.db"),
            notifier_database: file("notifier.db"),
            account_database: file("account.db"),
            broker: file("broker.db"),
            folder,
            _turn: None,
            _rabbitmq: None,
        }
    }
}

async fn turn() -> OwnedMutexGuard<()> {
    static TURN: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);
    TURN.clone().lock_owned().await
}

/// What an earlier test left on the broker goes, messages and all.
async fn remove_queues(url: &str) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await;
    let connection = connection.expect("RabbitMQ answers");
    let channel = connection.create_channel().await.expect("RabbitMQ opens a channel");
    let ladders = ["standard", "1s,2s,3s"].map(|ladder| ladder.parse::<Ladder>().expect("a ladder"));
    for queue in [NOTIFIER_EVENTS, RECHARGE_RESULTS] {
        let steps = ladders.iter().flat_map(Ladder::steps).map(|step| queue.retry(*step));
        for name in [queue.name.to_owned(), queue.dead()].into_iter().chain(steps) {
            let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default()).await;
            deleted.expect("RabbitMQ deletes a queue, there or not");
        }
    }
    let options = ExchangeDeleteOptions::default();
    channel.exchange_delete(EXCHANGE.into(), options).await.expect("RabbitMQ deletes an exchange");
    connection.close(200, "done".into()).await.expect("RabbitMQ closes a connection");
}
