//! The database by itself: rows of an event's size, committed in batches and one by one.

use std::path::Path;

use runtime::database::open_sqlite;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{COMMITTED, INSERTED};
use crate::clock;
use crate::events::{ACCOUNT_MERCHANT, Maker};
use crate::figures::Figures;

const BATCH: usize = 500;
const BATCHES: usize = 40;
const LONE: usize = 300;

pub(super) async fn postgres(url: &str) -> anyhow::Result<Figures> {
    let mut connection = PgConnection::connect(url).await?;
    let create = "CREATE TABLE yardstick (id uuid PRIMARY KEY, event text NOT NULL)";
    sqlx::query(create).execute(&mut connection).await?;
    let mut figures = Figures::default();
    for (name, batches, batch) in [(INSERTED, BATCHES, BATCH), (COMMITTED, LONE, 1)] {
        let rows = rows(batches * batch);
        let from = clock::now();
        for chunk in rows.chunks(batch) {
            let (ids, texts): (Vec<Uuid>, Vec<&str>) =
                chunk.iter().map(|(id, text)| (*id, text.as_str())).unzip();
            sqlx::query("INSERT INTO yardstick SELECT * FROM UNNEST($1::uuid[], $2::text[])")
                .bind(ids)
                .bind(texts)
                .execute(&mut connection)
                .await?;
        }
        figures.add_rate(name, batches * batch, from, clock::now());
    }
    sqlx::query("DROP TABLE yardstick").execute(&mut connection).await?;
    connection.close().await?;
    Ok(figures)
}

pub(super) async fn sqlite(folder: &Path) -> anyhow::Result<Figures> {
    let database = open_sqlite(&folder.join("yardstick.db")).await?.writer;
    let create = "CREATE TABLE yardstick (id BLOB PRIMARY KEY, event TEXT NOT NULL) STRICT";
    sqlx::query(create).execute(&database).await?;
    let mut figures = Figures::default();
    for (name, batches, batch) in [(INSERTED, BATCHES, BATCH), (COMMITTED, LONE, 1)] {
        let rows = rows(batches * batch);
        let from = clock::now();
        for chunk in rows.chunks(batch) {
            let mut transaction = database.begin_with("BEGIN IMMEDIATE").await?;
            for (id, text) in chunk {
                let insert = sqlx::query("INSERT INTO yardstick VALUES (?, ?)").bind(id).bind(text);
                insert.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        }
        figures.add_rate(name, batches * batch, from, clock::now());
    }
    database.close().await;
    Ok(figures)
}

fn rows(count: usize) -> Vec<(Uuid, String)> {
    let maker = Maker::new(count as u64);
    (0..count).map(|_| (maker.id(), maker.succeeded(ACCOUNT_MERCHANT, "6222021001").to_json_text())).collect()
}
