//! What is sent, and what is made of the answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::support::names::{HalfDead, Names};
use crate::support::receiver::{Act, Receiver, answer};
use crate::support::{client, client_with, egress, endpoint, message, secret};
use futures_util::future::join_all;
use messaging::webhook::{self, Claims};
use notifier::domain::{AckRule, Endpoint, Exchange, FailureClass, Outcome, RequestTimeout, SigningSecret};
use notifier::webhook::SendWebhook;
use runtime::Clock;
use runtime::testing::ManualClock;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

async fn send(acts: Vec<Act>) -> (Exchange, Receiver) {
    let receiver = Receiver::start(acts).await;
    let exchange = client(&ManualClock::default()).send(&endpoint(&receiver.url()), &message()).await;
    (exchange, receiver)
}

async fn failure_of(act: Act) -> (FailureClass, Exchange) {
    let (exchange, _) = send(vec![act]).await;
    let class = exchange.outcome.failure_class();
    (class.unwrap_or_else(|| panic!("a failure, not {exchange:?}")), exchange)
}

fn verified(request: &crate::support::receiver::Request, secret_seed: u64, clock: &ManualClock) -> bool {
    let claims = Claims {
        id: request.header("webhook-id"),
        timestamp: request.header("webhook-timestamp"),
        signature: request.header("webhook-signature"),
    };
    webhook::verify(&[secret(secret_seed)], claims, &request.body, clock.now()).is_ok()
}

#[tokio::test]
async fn the_request_is_what_the_standard_asks_for() {
    let receiver = Receiver::start(vec![answer(200, "", "thanks")]).await;
    let clock = ManualClock::default();
    let mut endpoint = endpoint(&receiver.url());
    endpoint.headers = vec![("x-shop".into(), "7".into()), ("authorization".into(), "Bearer theirs".into())];
    endpoint.headers.push(("ringback-subscription-id".into(), "another".into()));
    let exchange = client(&clock).send(&endpoint, &message()).await;
    assert_eq!((exchange.outcome, exchange.http_status), (Outcome::Delivered, Some(200)));
    assert_eq!(exchange.response_excerpt.as_deref(), Some("thanks"));

    let request = &receiver.requests()[0];
    assert_eq!(request.head[0], "POST /hook?token=t0ken HTTP/1.1");
    assert_eq!(request.body, message().body);
    let agent = format!("Ringback/{}", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("webhook-id", "evt-1"),
        ("webhook-timestamp", &clock.now().timestamp().to_string()),
        ("content-type", "application/json"),
        ("user-agent", &agent),
        ("ringback-subscription-id", "00000000-0000-0000-0000-000000000001"),
        ("x-shop", "7"),
        ("authorization", "Bearer theirs"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert!(request.header("traceparent").is_some());
    assert!(verified(request, 1, &clock));
}

#[tokio::test]
async fn during_a_rotation_a_holder_of_either_secret_can_verify_and_afterwards_only_of_the_new() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let clock = ManualClock::default();
    let mut endpoint = endpoint(&receiver.url());
    let expires_at = Some(clock.now() + Duration::from_mins(1));
    endpoint.secrets.push(SigningSecret { key: secret(2).into(), expires_at });
    let client = client(&clock);
    client.send(&endpoint, &message()).await;
    clock.advance(Duration::from_mins(1));
    client.send(&endpoint, &message()).await;
    let requests = receiver.requests();
    assert!(verified(&requests[0], 1, &clock) && verified(&requests[0], 2, &clock));
    assert!(verified(&requests[1], 1, &clock) && !verified(&requests[1], 2, &clock));
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let receiver = Receiver::start(vec![answer(200, "", "ok")]).await;
    let client = client(&ManualClock::default());
    for _ in 0..5 {
        let exchange = client.send(&endpoint(&receiver.url()), &message()).await;
        assert_eq!(exchange.outcome, Outcome::Delivered);
    }
    assert_eq!((receiver.requests().len(), receiver.connections()), (5, 1));
}

#[tokio::test]
async fn a_410_says_that_nobody_is_there() {
    let (exchange, _) = send(vec![answer(410, "", "")]).await;
    assert_eq!((exchange.outcome, exchange.http_status), (Outcome::Gone, Some(410)));
}

#[tokio::test]
async fn retry_after_is_reported_with_429_and_503() {
    let (busy, _) = send(vec![answer(429, "retry-after: 90\r\n", "")]).await;
    assert_eq!(busy.retry_after, Some(Duration::from_secs(90)));
    let date = "retry-after: Thu, 01 Jan 2026 00:02:00 GMT\r\n";
    let (down, _) = send(vec![answer(503, date, "")]).await;
    assert_eq!(down.retry_after, Some(Duration::from_mins(2)));
    assert_eq!(down.outcome, Outcome::Failed(FailureClass::Status));
}

#[tokio::test]
async fn the_acknowledgement_is_what_the_subscription_asks_for() {
    for (body, expected) in
        [(" success\n", Outcome::Delivered), ("fail", Outcome::Failed(FailureClass::AckMismatch))]
    {
        let receiver = Receiver::start(vec![answer(200, "", body)]).await;
        let endpoint = Endpoint { ack: AckRule::Body("success".into()), ..endpoint(&receiver.url()) };
        let exchange = client(&ManualClock::default()).send(&endpoint, &message()).await;
        assert_eq!(exchange.outcome, expected, "{body}");
    }
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_name_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let closed = format!("http://{}/", listener.local_addr().expect("bound"));
    drop(listener);
    let exchange = client(&ManualClock::default()).send(&endpoint(&closed), &message()).await;
    assert_eq!(exchange.outcome, Outcome::Failed(FailureClass::Connect), "{exchange:?}");

    let client = client_with(&ManualClock::default(), egress(&[]), Arc::new(Names::default()));
    let exchange = client.send(&endpoint("https://shop.example/"), &message()).await;
    assert_eq!(exchange.outcome, Outcome::Failed(FailureClass::Dns), "{exchange:?}");
}

/// Law 7: a subscriber's dead name servers take its own attempts' time and nobody else's.
#[tokio::test]
async fn a_thousand_names_that_are_never_resolved_do_not_hold_others_back() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let client =
        Arc::new(client_with(&ManualClock::default(), egress(&["127.0.0.1/32"]), Arc::new(HalfDead)));
    let patient = |url: &str| Endpoint { timeout: RequestTimeout::default(), ..endpoint(url) };
    let hanging: Vec<_> = (0..1000)
        .map(|n| {
            let (client, endpoint) = (client.clone(), patient(&format!("https://dead-{n}.example/")));
            tokio::spawn(async move { client.send(&endpoint, &message()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let live = patient(&format!("http://live.example:{}/", receiver.address.port()));
    let exchange = client.send(&live, &message()).await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
    for attempt in hanging {
        assert!(!attempt.is_finished(), "it hangs all the while");
        attempt.abort();
    }
}

/// Someone whose system lets nobody in any more: two are in its queue, which Linux makes one longer than
/// it is asked for, and more are before the door.
struct FullHouse {
    listener: TcpListener,
    _inside: Vec<TcpStream>,
    _waiting: JoinSet<io::Result<TcpStream>>,
}

impl FullHouse {
    async fn open() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("bound");
        let mut waiting: JoinSet<_> = (0..4).map(|_| TcpStream::connect(address)).collect();
        let mut inside = Vec::new();
        while inside.len() < 2 {
            let let_in = waiting.join_next().await.expect("some are left").expect("no panic");
            inside.push(let_in.expect("there is room"));
        }
        Self { listener, _inside: inside, _waiting: waiting }
    }
}

#[tokio::test]
async fn who_runs_out_of_time_before_the_request_is_told_where_the_time_went() {
    let house = FullHouse::open().await;
    let full = format!("http://{}/", house.listener.local_addr().expect("bound"));
    let client = client_with(&ManualClock::default(), egress(&["127.0.0.1/32"]), Arc::new(HalfDead));
    let cases = [
        ("https://dead.example/", FailureClass::Dns, "the host's name was not resolved in time"),
        (full.as_str(), FailureClass::Connect, "no connection in time"),
    ];
    join_all(cases.map(async |(url, class, error)| {
        let exchange = client.send(&endpoint(url), &message()).await;
        assert_eq!(exchange.outcome, Outcome::Failed(class), "{exchange:?}");
        assert_eq!(exchange.error.as_deref(), Some(error));
        assert!(exchange.duration < Duration::from_secs(3), "{exchange:?}");
    }))
    .await;
}

#[tokio::test]
async fn an_error_shows_neither_the_url_nor_the_secret_nor_the_payload() {
    let (_, exchange) = failure_of(Act::WriteAndClose(Vec::new())).await;
    let printed = format!("{exchange:?}");
    for hidden in ["t0ken", secret(1).expose().as_str(), "1.50"] {
        assert!(!printed.contains(hidden), "{printed}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_a_failure_and_no_panic() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let client = client(&ManualClock::default());
    let unsigned = Endpoint { secrets: Vec::new(), ..endpoint(&receiver.url()) };
    let mut strange = message();
    strange.id = "a\r\nb: c".into();
    for (endpoint, message) in [(unsigned, message()), (endpoint(&receiver.url()), strange)] {
        let exchange = client.send(&endpoint, &message).await;
        assert_eq!(exchange.outcome, Outcome::Failed(FailureClass::Protocol));
    }
    assert_eq!(receiver.connections(), 0);
}
