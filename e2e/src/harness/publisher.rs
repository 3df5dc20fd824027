//! Another program that puts messages on the broker.

use std::sync::Arc;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use messaging::broker::{Broker, BrokerUrl, EXCHANGE, NOTIFIER_EVENTS, Queue};
use messaging::event::Event;
use runtime::Sources;
use runtime::database::open_sqlite;
use runtime::http::Page;

use super::footing::{Footing, Kind};
use super::wait::{PATIENCE, eventually};

/// Publishes what the services did not publish.
pub struct Publisher {
    url: BrokerUrl,
    broker: Arc<dyn Broker>,
}

impl Publisher {
    /// Connects to the broker of `footing`.
    pub async fn connect(footing: &Footing) -> Self {
        let url = match footing.kind {
            Kind::AllInOne => format!("sqlite://{}", footing.folder.path().join("data/broker.db").display()),
            Kind::Sqlite | Kind::Postgres => footing.broker.clone(),
        };
        let url: BrokerUrl = url.parse().expect("a footing's broker has a valid URL");
        let broker =
            messaging::broker::open(&url, "e2e", &Sources::system()).await.expect("the broker opens");
        Self { url, broker }
    }

    /// Publishes `CloudEvents` given as JSON; returns when the broker has confirmed all of them.
    pub async fn publish(&self, events: &[String]) {
        let parse = |event: &String| Event::parse(event.as_bytes()).expect("a CloudEvents event");
        let events: Vec<Event> = events.iter().map(parse).collect();
        for confirmed in self.broker.publish(&events).await {
            confirmed.expect("the broker takes the event");
        }
    }

    /// Puts a message that need be no event where the notifier takes its messages from.
    pub async fn publish_raw(&self, body: &[u8]) {
        match &self.url {
            BrokerUrl::RabbitMq(urls) => publish_to_rabbitmq(urls.expose_first(), body).await,
            BrokerUrl::Sqlite(file) => {
                let broker = open_sqlite(file).await.expect("the broker's file opens");
                let insert = "INSERT INTO messages (queue, body, published_at) VALUES (?, ?, 0)";
                let insert = sqlx::query(insert).bind(NOTIFIER_EVENTS.name).bind(body);
                insert.execute(&broker.writer).await.expect("the broker's file takes a message");
            }
        }
    }

    /// Waits until `count` messages are in the dead-letter queue of `queue`; returns the body of
    /// each and the reason it was given up for, in the order they came. They stay there.
    pub async fn dead_letters(&self, queue: Queue, count: usize) -> Vec<(Vec<u8>, String)> {
        let page = Page { limit: 200, after: None };
        let what = format!("{count} messages are dead-lettered from {}", queue.name);
        let mut letters = eventually(&what, PATIENCE, async || {
            let dead = self.broker.dead_letters(queue).await.expect("the dead-letter queue is there");
            let letters = dead.list(page).await.expect("the broker answers");
            (letters.len() >= count).then_some(letters)
        })
        .await;
        letters.reverse();
        letters
            .into_iter()
            .map(|dead| (dead.body.to_vec(), dead.history.reason.unwrap_or_default()))
            .collect()
    }
}

async fn publish_to_rabbitmq(url: &str, body: &[u8]) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await;
    let connection = connection.expect("RabbitMQ answers");
    let channel = connection.create_channel().await.expect("RabbitMQ opens a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("RabbitMQ confirms");
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let publish = channel.basic_publish(EXCHANGE.into(), "garbage".into(), options, body, properties);
    let confirmed = publish.await.expect("RabbitMQ takes a message").await.expect("RabbitMQ answers");
    assert!(matches!(confirmed, Confirmation::Ack(_)), "RabbitMQ confirms the message");
    connection.close(200, "done".into()).await.expect("RabbitMQ closes a connection");
}
