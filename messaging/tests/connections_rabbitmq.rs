//! How connections to a `RabbitMQ` begin and end.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use messaging::broker::{self, AmqpUrls, Broker, BrokerUrl, NOTIFIER_EVENTS, RabbitMq};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runtime::problem::Chain;
use runtime::{Authorities, Sources};
use support::server::Server;
use support::{PATIENCE, events};

fn rabbitmq(urls: &str, name: &str) -> RabbitMq {
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
    let (orderly, dropped) = (rabbitmq(&server.url, "orderly"), rabbitmq(&server.url, "dropped"));
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
    let broker = rabbitmq(&gone, "gone");
    broker.close().await;
    broker.check().await.expect_err("there is nobody");
    broker.close().await;
}

/// An authority, and a certificate for this machine that it has signed, with its key.
fn authority() -> (String, String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = pem("CERTIFICATE", params.self_signed(&key).expect("signed").der());
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
    let certificate = pem("CERTIFICATE", params.signed_by(&key, &issuer).expect("signed").der());
    (ca, certificate, pem("PRIVATE KEY", &key.serialize_der()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_named_authority_is_trusted_with_the_broker() {
    let (ca, certificate, key) = authority();
    let (other, ..) = authority();
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let configuration = |folder: &std::path::Path| {
        let file = |name: &str| folder.join(name).display().to_string();
        let (certificate, key) = (file("server.pem"), file("server.key"));
        format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {certificate}\n\
             ssl_options.keyfile = {key}\nssl_options.verify = verify_none\n"
        )
    };
    let _server = Server::start(configuration, &[("server.pem", &certificate), ("server.key", &key)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let trusting = async |pem: &str| {
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, pem).expect("written");
        let url: BrokerUrl = format!("amqps://guest:guest@127.0.0.1:{port}/%2f").parse().expect("a URL");
        let url = url.trusting(Some(Authorities::read(&file).expect("authorities"))).expect("encrypted");
        let broker = broker::open(&url, "test", &Sources::system()).await.expect("opens");
        let answer = broker.check().await;
        broker.close().await;
        answer
    };
    trusting(&ca).await.expect("signed by it");
    let error = trusting(&other).await.expect_err("signed by another");
    assert!(Chain(&error).to_string().contains("invalid peer certificate"), "{}", Chain(&error));
    let system = rabbitmq(&format!("amqps://guest:guest@127.0.0.1:{port}/%2f"), "test").check().await;
    system.expect_err("no authority of the system has signed it");
}

#[test]
fn authorities_that_would_not_count_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority().0).expect("written");
    let authorities = Authorities::read(&file).expect("authorities");
    for url in ["amqp://guest:guest@127.0.0.1/%2f", "sqlite://broker.db"] {
        let url: BrokerUrl = url.parse().expect("a URL");
        let refused = url.trusting(Some(authorities.clone())).expect_err("nothing is encrypted").to_string();
        assert!(refused.contains("BROKER_CA_FILE"), "{refused}");
    }
}
