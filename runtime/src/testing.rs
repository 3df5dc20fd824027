//! What tests of every crate need: a clock they set, entropy they can repeat, databases of their own.

pub mod collector;
pub mod counters;
pub mod description;
pub mod log;
pub mod metrics;
pub mod property;
pub mod proxy;
pub mod servers;
pub mod sessions;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};

use crate::clock::{Clock, TRUST_AFTER, Timeline};
use crate::database::{Proven, Sqlite, SqlitePool, open_sqlite};
use crate::identity::{Entropy, Sources};

/// A clock that stands still until it is moved. Starts at 2026-01-01T00:00:00Z.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    /// The wall clock and the monotonic clock.
    read: Mutex<(DateTime<Utc>, Duration)>,
    timeline: Timeline,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::at("2026-01-01T00:00:00Z")
    }
}

impl ManualClock {
    /// A clock that stands at this RFC 3339 time.
    pub fn at(time: &str) -> Self {
        let wall = time.parse().expect("an RFC 3339 time");
        let timeline = Timeline::starting(wall, Duration::ZERO, TRUST_AFTER);
        Self(Arc::new(Hands { read: Mutex::new((wall, Duration::ZERO)), timeline }))
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut read = self.lock();
        read.0 += TimeDelta::from_std(by).expect("a sane duration");
        read.1 += by;
    }

    /// The wall clock steps, back where `by` is negative, while no time passes.
    pub fn step(&self, by: TimeDelta) {
        self.lock().0 += by;
    }

    fn lock(&self) -> MutexGuard<'_, (DateTime<Utc>, Duration)> {
        self.0.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> DateTime<Utc> {
        self.lock().0
    }

    fn elapsed(&self) -> Duration {
        self.lock().1
    }

    fn timeline(&self) -> &Timeline {
        &self.0.timeline
    }
}

/// Entropy that repeats for the same seed (`SplitMix64`).
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let mut z = self
                .0
                .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
                .wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Sources on a manual clock, and that clock.
pub fn manual_sources(seed: u64) -> (Sources, ManualClock) {
    let clock = ManualClock::default();
    (Sources::new(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed))), clock)
}

/// A `SQLite` database in a folder that vanishes with the returned guard.
pub async fn temporary_sqlite() -> (Sqlite, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = open_sqlite(&folder.path().join("test.db")).await.expect("a fresh database opens");
    (database, folder)
}

/// A database in memory, on a single connection: quick, and nothing is left of it after a crash.
pub async fn memory_sqlite() -> Sqlite {
    let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let writer = pool.test_before_acquire(false).connect_with(options).await.expect("a database");
    let writer = SqlitePool::from(writer);
    Sqlite { reader: writer.clone(), writer, proven: Proven::default() }
}

/// A fresh database on the server of `TEST_POSTGRES_URL`. The server is thrown away after the
/// tests, so the database is left behind.
pub async fn temporary_postgres() -> PgPool {
    let url = temporary_postgres_url().await;
    PgPoolOptions::new().max_connections(10).connect(&url).await.expect("the fresh database opens")
}

/// The URL of a fresh database on the server of `TEST_POSTGRES_URL`.
pub async fn temporary_postgres_url() -> String {
    fresh_postgres_database(&required_variable("TEST_POSTGRES_URL")).await
}

/// The URL of a fresh database on the server at `server`, an administrator's URL.
pub async fn fresh_postgres_database(server: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut random = [0_u8; 8];
    crate::identity::SystemEntropy.fill(&mut random);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!("ringback_test_{:016x}_{number}", u64::from_le_bytes(random));
    let mut connection = PgConnection::connect(server).await.expect("the Postgres for tests answers");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.expect("its user may create databases");
    let mut url = url::Url::parse(server).expect("the server's address is a URL");
    url.set_path(&name);
    url.to_string()
}

/// Whether tests may take long: `RINGBACK_LONG_TESTS` is `1`.
pub fn is_long() -> bool {
    std::env::var("RINGBACK_LONG_TESTS").is_ok_and(|value| value == "1")
}

/// A variable without which server tests can't run; they are never skipped.
pub fn required_variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; ./scripts/test brings what it names and sets it"))
}
