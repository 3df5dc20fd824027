//! Which of several hosts the pools connect to: the one that takes writes.
//!
//! A connection of its own asks that host every second. When it does not answer, or is read-only,
//! all hosts are tried in turn; connections to the old one are not used again.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{sleep, timeout};

use super::postgres_url::Servers;
use super::trust;

const POLL: Duration = Duration::from_secs(1);
/// How long a host may take to connect, and to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Follows the primary among the hosts.
pub(super) struct Follower {
    servers: Servers,
    pools: [PgPool; 2],
    /// The host that the pools connect to.
    current: usize,
    watch: Option<PgConnection>,
    /// No host has taken writes since this was logged.
    is_lost: bool,
}

impl Follower {
    /// The pools connect to the first host so far.
    pub(super) fn new(servers: Servers, pools: [PgPool; 2]) -> Self {
        Self { servers, pools, current: 0, watch: None, is_lost: false }
    }

    /// Follows until the pools are closed.
    pub(super) async fn run(mut self) {
        while !self.pools[0].is_closed() {
            self.look().await;
            tokio::select! {
                () = sleep(POLL) => {}
                () = self.pools[0].close_event() => {}
            }
        }
    }

    async fn look(&mut self) {
        if let Some(watch) = &mut self.watch
            && is_usable(watch, self.servers.must_write).await.is_ok()
        {
            return;
        }
        self.watch = None;
        let hosts = self.servers.hosts.len();
        let mut reasons = Vec::with_capacity(hosts);
        for host in (self.current..hosts).chain(0..self.current) {
            let options = &self.servers.hosts[host];
            match connect(options, self.servers.must_write).await {
                Ok(connection) => return self.found(host, connection),
                Err(error) => reasons.push(format!("{}: {error}", name(options))),
            }
        }
        if !self.is_lost {
            self.is_lost = true;
            tracing::warn!(reasons = reasons.join("; "), "database.no_host_takes_writes");
        }
    }

    fn found(&mut self, host: usize, connection: PgConnection) {
        self.watch = Some(connection);
        let options = &self.servers.hosts[host];
        if host != self.current {
            self.current = host;
            for pool in &self.pools {
                let application =
                    pool.connect_options().get_application_name().unwrap_or_default().to_owned();
                pool.set_connect_options(options.clone().application_name(&application));
            }
            trust::lose();
            tracing::warn!(database.host = name(options), "database.host_changed");
        } else if self.is_lost {
            tracing::info!(database.host = name(options), "database.host_found");
        }
        self.is_lost = false;
    }
}

fn name(options: &PgConnectOptions) -> String {
    format!("{}:{}", options.get_host(), options.get_port())
}

async fn connect(options: &PgConnectOptions, must_write: bool) -> Result<PgConnection, sqlx::Error> {
    let mut connection = timeout(PATIENCE, options.connect()).await.map_err(|_| silent())??;
    is_usable(&mut connection, must_write).await?;
    Ok(connection)
}

async fn is_usable(connection: &mut PgConnection, must_write: bool) -> Result<(), sqlx::Error> {
    if !must_write {
        return timeout(PATIENCE, connection.ping()).await.map_err(|_| silent())?;
    }
    let asked = sqlx::query_scalar("SELECT current_setting('transaction_read_only')").fetch_one(connection);
    let read_only: String = timeout(PATIENCE, asked).await.map_err(|_| silent())??;
    if read_only == "on" { Err(super::read_only()) } else { Ok(()) }
}

fn silent() -> sqlx::Error {
    let silent = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 2 s");
    sqlx::Error::Io(silent)
}
