//! How connections to a `RabbitMQ` begin and end.

mod support;

use messaging::broker::{AmqpUrls, Broker, NOTIFIER_EVENTS, RabbitMq};
use runtime::Sources;
use support::server::Server;
use support::{PATIENCE, events};

fn broker(urls: &str, name: &str) -> RabbitMq {
    let urls: AmqpUrls = urls.parse().expect("URLs");
    RabbitMq::new(&urls, name, &Sources::system())
}

/// Publishes and consumes, so that both connections are open.
async fn use_both(broker: &RabbitMq) {
    let answers = broker.publish(&events(&Sources::system(), "recharge.succeeded", 3)).await;
    answers.into_iter().collect::<Result<(), _>>().expect("confirmed");
    let mut consumer = broker.consume(NOTIFIER_EVENTS, 10).await.expect("a consumer");
    support::receive(consumer.as_mut(), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_closed_ends_its_connections_in_order() {
    let server = Server::start(|_| String::new(), &[]).await;
    let (orderly, dropped) = (broker(&server.url, "orderly"), broker(&server.url, "dropped"));
    use_both(&orderly).await;
    use_both(&dropped).await;
    orderly.close().await;
    let ended = |name: &str, how: &str| {
        let log = server.log();
        log.lines().filter(|line| line.contains(&format!("{name}: ")) && line.contains(how)).count()
    };
    let logged = async {
        while ended("orderly", "closing AMQP connection") < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, logged).await.expect("the server logs both ends");
    assert!(!server.log().contains("unexpectedly"), "{}", server.log());
    drop(dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_broker_that_was_never_connected_or_is_gone_does_no_harm() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("amqp://{}/%2f", listener.local_addr().expect("bound"))
    };
    let broker = broker(&gone, "gone");
    broker.close().await;
    broker.check().await.expect_err("there is nobody");
    broker.close().await;
}
