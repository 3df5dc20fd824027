//! The servers of a run, and fresh databases on them for each measurement.

use std::time::Duration;

use anyhow::Context;
use e2e::harness::{Footing, PrivateServer, Program};
use lapin::{Connection as AmqpConnection, ConnectionProperties};
use sqlx::{Connection, PgConnection};

use crate::machine::Machine;
use crate::settings::Backend;

/// What a database or a receiver may take before it counts as stuck.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// What everything stands on.
pub enum Ground {
    /// Private servers, with their guarantees as they come: fsync, full pages, quorum queues.
    Servers {
        /// With commit times kept and statements counted.
        postgres: PrivateServer,
        /// As it comes.
        rabbitmq: PrivateServer,
    },
    /// Files in a temporary folder.
    Files {
        /// One process for everything.
        all_in_one: bool,
    },
}

impl Ground {
    /// Starts what `backend` needs.
    pub async fn prepare(backend: Backend, machine: &mut Machine) -> anyhow::Result<Self> {
        if backend != Backend::Postgres {
            return Ok(Self::Files { all_in_one: backend == Backend::AllInOne });
        }
        let mut postgres = PrivateServer::start(Program::Postgres).await;
        let settings = [
            // Tells when a row was committed, which no service can know about its own rows.
            "ALTER SYSTEM SET track_commit_timestamp = on",
            "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'",
        ];
        let mut connection = PgConnection::connect(postgres.url()).await?;
        for setting in settings {
            sqlx::query(setting).execute(&mut connection).await?;
        }
        connection.close().await?;
        postgres.stop().await;
        postgres.start_again().await;
        let mut connection = PgConnection::connect(postgres.url()).await?;
        sqlx::query("CREATE EXTENSION pg_stat_statements").execute(&mut connection).await?;
        machine.postgres = sqlx::query_scalar("SHOW server_version").fetch_optional(&mut connection).await?;
        let rabbitmq = PrivateServer::start(Program::RabbitMq).await;
        machine.rabbitmq = version_of_rabbitmq(&rabbitmq);
        Ok(Self::Servers { postgres, rabbitmq })
    }

    /// Empty databases and an empty broker.
    pub async fn footing(&self) -> Footing {
        match self {
            Self::Servers { postgres, rabbitmq } => {
                Footing::postgres_with(Some(postgres), Some(rabbitmq)).await
            }
            Self::Files { all_in_one: true } => Footing::all_in_one().await,
            Self::Files { all_in_one: false } => Footing::sqlite().await,
        }
    }

    /// The number of Postgres' first process, where there is one.
    pub fn postmaster(&self) -> Option<u32> {
        let Self::Servers { postgres, .. } = self else { return None };
        number_in(postgres, "data/postmaster.pid")
    }

    /// The first process of each server.
    pub fn processes(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let rabbitmq = match self {
            Self::Servers { rabbitmq, .. } => number_in(rabbitmq, "server.pid"),
            Self::Files { .. } => None,
        };
        let named = [("Postgres", self.postmaster()), ("RabbitMQ", rabbitmq)];
        named.into_iter().filter_map(|(name, process)| Some((name, process?)))
    }
}

fn number_in(server: &PrivateServer, file: &str) -> Option<u32> {
    let text = std::fs::read_to_string(server.state().join(file)).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// A plain connection to the broker.
pub async fn amqp(url: &str) -> anyhow::Result<AmqpConnection> {
    AmqpConnection::connect(url, ConnectionProperties::default()).await.context("RabbitMQ answers")
}

fn version_of_rabbitmq(server: &PrivateServer) -> Option<String> {
    let log = std::fs::read_to_string(server.state().join("server.log")).ok()?;
    let line = log.lines().find_map(|line| line.split_once("Starting RabbitMQ "))?;
    Some(line.1.split(' ').next()?.to_owned())
}
