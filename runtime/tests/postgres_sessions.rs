//! What a session with Postgres begins with, and which sessions are left, on the server of `TEST_POSTGRES_URL`.

use std::time::Duration;

use runtime::database::{Lease, PgPool, Postgres, StoreError, StoreResult, open_postgres, takes_writes};
use runtime::testing::sessions::{until_none_waits_for_a_lock, until_one_waits_for_a_lock};
use runtime::testing::temporary_postgres_url;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// An administrator's session with the database of `url`.
async fn administrator(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the Postgres for tests answers")
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("a valid script");
}

/// The name of the database that `url` ends with.
fn name(url: &str) -> &str {
    url.rsplit_once('/').expect("it names a database").1
}

fn open(url: &str) -> Postgres {
    open_postgres(&url.parse().expect("a URL"), "test", 4).expect("its files are there")
}

const PATIENCE: Duration = Duration::from_secs(20);

async fn setting(pool: &PgPool, name: &'static str) -> String {
    sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(pool).await.expect("a setting")
}

async fn write(pool: &PgPool) -> StoreResult<()> {
    sqlx::query("INSERT INTO written VALUES (1)").execute(pool).await?;
    Ok(())
}

/// A fresh database with a table, and its administrator.
async fn database() -> (String, PgConnection) {
    let url = temporary_postgres_url().await;
    let mut administrator = administrator(&url).await;
    run(&mut administrator, "CREATE TABLE written (n INT)".into()).await;
    (url, administrator)
}

#[tokio::test]
async fn defaults_that_an_administrator_changed_do_not_reach_the_statements() {
    let (url, mut administrator) = database().await;
    for (setting, value) in [
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_deferrable", "on"),
        ("timezone", "Asia/Shanghai"),
        ("datestyle", "German, DMY"),
        ("intervalstyle", "iso_8601"),
        ("bytea_output", "escape"),
        ("client_connection_check_interval", "0"),
        ("statement_timeout", "1s"),
        ("lock_timeout", "1s"),
        ("idle_in_transaction_session_timeout", "1s"),
        ("idle_session_timeout", "1s"),
        ("synchronous_commit", "off"),
    ] {
        run(&mut administrator, format!("ALTER DATABASE {} SET {setting} = '{value}'", name(&url))).await;
    }
    let Postgres { planned, steady } = open(&url);
    for pool in [&planned, &steady] {
        for (name, value) in [
            ("transaction_isolation", "read committed"),
            ("transaction_deferrable", "off"),
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO, MDY"),
            ("IntervalStyle", "postgres"),
            ("bytea_output", "hex"),
            ("client_connection_check_interval", "5s"),
            ("statement_timeout", "310s"),
            ("lock_timeout", "22s"),
            ("idle_in_transaction_session_timeout", "1min"),
            ("idle_session_timeout", "0"),
            ("synchronous_commit", "on"),
        ] {
            assert_eq!(setting(pool, name).await, value, "{name}");
        }
    }
    assert_eq!(setting(&planned, "plan_cache_mode").await, "force_custom_plan");
    assert_eq!(setting(&steady, "plan_cache_mode").await, "force_generic_plan");
}

#[tokio::test]
async fn limits_and_a_schema_that_the_url_names_stay() {
    let (url, mut administrator) = database().await;
    run(&mut administrator, format!("ALTER DATABASE {} SET synchronous_commit = remote_apply", name(&url)))
        .await;
    let chosen = "options=-c%20statement_timeout%3D7s%20-c%20lock_timeout%3D0%20-c%20default_transaction_isolation%3Dserializable";
    let Postgres { planned, .. } = open(&format!("{url}?{chosen}&options[search_path]=mine"));
    assert_eq!(setting(&planned, "statement_timeout").await, "7s");
    assert_eq!(setting(&planned, "lock_timeout").await, "0");
    assert_eq!(setting(&planned, "search_path").await, "mine");
    assert_eq!(setting(&planned, "transaction_isolation").await, "read committed", "statements rely on it");
    assert_eq!(setting(&planned, "synchronous_commit").await, "remote_apply", "how many servers is not ours");
}

/// The slots of a pool are free again soon after, so what bounds the sessions is that they end.
#[tokio::test]
async fn sessions_whose_callers_gave_up_end_while_the_lock_that_they_wait_for_is_held() {
    let (url, _) = database().await;
    let direct = sqlx::PgPool::connect(&url).await.expect("the server answers");
    let Postgres { steady, .. } = open(&url);
    let mut locking = direct.begin().await.expect("begins");
    sqlx::query("LOCK TABLE written").execute(&mut *locking).await.expect("nobody holds it");
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..3 {
        tokio::select! {
            written = async { tokio::join!(write(&steady), write(&steady)) } => panic!("it is locked: {written:?}"),
            () = until_one_waits_for_a_lock(&direct) => {}
        }
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&direct).await.expect("a count");
        assert!(waiting <= 6, "{waiting} sessions of a pool of two");
    }
    until_none_waits_for_a_lock(&direct).await;
    locking.rollback().await.expect("it was held until now");
    write(&steady).await.expect("a session is free");
}

#[tokio::test]
async fn a_migration_may_take_longer_than_the_limits_and_its_session_serves_nothing_else() {
    let url = temporary_postgres_url().await;
    let Postgres { planned, .. } = open(&url);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let remembers = "CREATE TABLE limits AS
        SELECT setting FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout')";
    std::fs::write(folder.path().join("0001_limits.sql"), remembers).expect("written");
    let migrations = sqlx::migrate::Migrator::new(folder.path()).await.expect("a migration");
    planned.migrate(&migrations).await.expect("migrated");
    let limits: Vec<String> =
        sqlx::query_scalar("SELECT setting FROM limits").fetch_all(&planned).await.expect("two");
    assert_eq!(limits, ["0", "0"]);
    assert_eq!(setting(&planned, "statement_timeout").await, "310s");
    assert_eq!(planned.given_up(), 0);
}

#[tokio::test]
async fn a_read_only_server_answers_reads_is_not_ready_and_refuses_writes_as_an_outage() {
    let (url, mut administrator) = database().await;
    run(&mut administrator, format!("ALTER DATABASE {} SET default_transaction_read_only = on", name(&url)))
        .await;
    let Postgres { steady, .. } = open(&url);
    assert!(matches!(write(&steady).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(takes_writes(&steady).await, Err(StoreError::Unavailable(_))));
    let found: i64 =
        sqlx::query_scalar("SELECT count(*) FROM written").fetch_one(&steady).await.expect("read");
    assert_eq!(found, 0);
}

/// Sessions that began while the server was read-only stay so, like those of a demoted server behind an
/// address that has moved on.
#[tokio::test]
async fn after_one_refusal_every_session_of_a_demoted_server_is_left() {
    let (url, mut administrator) = database().await;
    run(&mut administrator, format!("ALTER DATABASE {} SET default_transaction_read_only = on", name(&url)))
        .await;
    let Postgres { planned, steady } = open(&url);
    for pool in [&planned, &steady] {
        let both = [pool.acquire().await.expect("a session"), pool.acquire().await.expect("a session")];
        both.into_iter().for_each(Lease::release);
    }
    run(&mut administrator, format!("ALTER DATABASE {} RESET default_transaction_read_only", name(&url)))
        .await;
    assert!(matches!(write(&steady).await, Err(StoreError::Unavailable(_))), "one caller finds out");
    while let Err(error) = write(&steady).await {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        tokio::task::yield_now().await;
    }
    for pool in [&planned, &steady, &planned, &steady] {
        // Sessions are left once a second in a process, and other tests lose theirs as well.
        let leave = async {
            while let (Err(error), _) | (_, Err(error)) = tokio::join!(write(pool), write(pool)) {
                assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
            }
        };
        tokio::time::timeout(PATIENCE, leave).await.expect("no session of the demoted server is left");
    }
}

#[tokio::test]
async fn errors_of_a_server_that_refuses_are_outages() {
    let (url, mut administrator) = database().await;
    let role = format!("{}_role", name(&url));
    run(&mut administrator, format!("CREATE ROLE {role} NOLOGIN")).await;
    let as_role = url.replacen("postgres@", &format!("{role}@"), 1);
    for (refusing, why) in [(as_role, "28000"), (format!("{url}_gone"), "3D000")] {
        let refused = write(&open(&refusing).steady).await;
        let Err(StoreError::Unavailable(sqlx::Error::Database(error))) = refused else {
            panic!("{why}: {refused:?}");
        };
        assert_eq!(error.code().as_deref(), Some(why));
    }
    for (code, is_outage) in [
        ("25006", true),
        ("25P03", true),
        ("28P01", true),
        ("40001", true),
        ("53100", true),
        ("55P03", true),
        ("57014", true),
        ("58030", true),
        ("08006", true),
        ("23514", false),
        ("42P01", false),
        ("25P02", false),
    ] {
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}'; END $$");
        let raised = sqlx::raw_sql(AssertSqlSafe(raise)).execute(&mut administrator).await;
        let error = StoreError::from(raised.expect_err(code));
        assert_eq!(matches!(error, StoreError::Unavailable(_)), is_outage, "{code}");
    }
}

#[tokio::test]
async fn of_several_hosts_the_one_that_takes_writes_is_found() {
    let (url, mut administrator) = database().await;
    let (login, address) = url.split_once('@').expect("it has a user");
    let closed = format!("{login}@127.0.0.1:1,{address}?target_session_attrs=read-write");
    let Postgres { planned, steady } = open(&closed);
    for pool in [&planned, &steady] {
        while let Err(error) = write(pool).await {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        }
    }
    run(&mut administrator, format!("ALTER DATABASE {} SET default_transaction_read_only = on", name(&url)))
        .await;
    let read_only = open(&closed);
    let refused = read_only.planned.acquire().await.map(drop);
    let refused = refused.map_err(StoreError::from);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "no session that can't write: {refused:?}");
}
