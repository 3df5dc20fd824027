//! Receivers that misbehave: each is told for what it is, within its time and within bounds.

use std::time::Duration;

use crate::support::raw::Raw;
use crate::support::{client, endpoint, message};
use futures_util::future::join_all;
use notifier::domain::{AckRule, Endpoint, Exchange, FailureClass, Message, Outcome, RequestTimeout};
use notifier::webhook::{SendWebhook, WebhookClient};
use runtime::testing::ManualClock;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use FailureClass::{AckMismatch, Body, Protocol, Status, Timeout};

/// More than any buffer between us and a receiver, and far less than what it would send.
const BOUND: usize = 32 * 1024 * 1024;
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn loopback() -> WebhookClient {
    client(&ManualClock::default())
}

async fn attempt(client: &WebhookClient, receiver: &Raw) -> Exchange {
    client.send(&endpoint(&receiver.url()), &message()).await
}

/// What one attempt makes of a receiver that answers every request with `bytes`, then closes.
async fn of_answer(bytes: &[u8]) -> Exchange {
    attempt(&loopback(), &Raw::answering(bytes.to_vec()).await).await
}

fn assert_failed(exchange: &Exchange, class: FailureClass, status: Option<u16>, case: &str) {
    assert_eq!(exchange.outcome, Outcome::Failed(class), "{case}: {exchange:?}");
    assert_eq!(exchange.http_status, status, "{case}: {exchange:?}");
    assert!(exchange.error.as_ref().is_some_and(|error| !error.is_empty()), "{case}: {exchange:?}");
    assert!(exchange.duration < Duration::from_secs(3), "{case}: {exchange:?}");
}

#[tokio::test]
async fn who_closes_without_a_whole_answer_has_not_answered() {
    let at_once = Raw::start(|_, _| async { Ok(()) }).await;
    assert_failed(&attempt(&loopback(), &at_once).await, Protocol, None, "closes at once");
    let reset = Raw::start(|peer, _| async move { peer.stream.set_zero_linger() }).await;
    assert_failed(&attempt(&loopback(), &reset).await, Protocol, None, "resets at once");
    for half in [
        "",
        "H",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\na: b\r\n",
    ] {
        assert_failed(&of_answer(half.as_bytes()).await, Protocol, None, half);
    }
}

#[tokio::test]
async fn what_is_no_http_1_is_no_answer() {
    for bytes in [
        &b"<html>HTTP/0.9 had no headers</html>\n"[..],
        b"220 mail.example ESMTP\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x10\0\0\0\x06\0\0\x40\0", // HTTP/2's first frame
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 99 Too small\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
        b"\x15\x03\x03\0\x02\x02\x28", // a TLS alert
        &[0; 4096],
        &[0xFF; 4096],
    ] {
        assert_failed(&of_answer(bytes).await, Protocol, None, &String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_answer_though_it_began_with_200() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok and more\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nok",
    ] {
        assert_failed(&of_answer(bytes.as_bytes()).await, Body, Some(200), bytes);
    }
}

#[tokio::test]
async fn answers_that_are_merely_odd_count() {
    for (bytes, excerpt) in [
        ("HTTP/1.0 200 OK\r\n\r\nok", Some("ok")),
        ("HTTP/1.1 200\r\n\r\nok", Some("ok")),
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", Some("ok")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more", Some("ok")),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nx: y\r\n\r\n", Some("ok")),
        ("HTTP/1.1 299 Whatever\r\ncontent-length: 0\r\n\r\n", None),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Some("ok")),
        (
            "HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok",
            Some("ok"),
        ),
    ] {
        let exchange = of_answer(bytes.as_bytes()).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{bytes}: {exchange:?}");
        assert_eq!(exchange.response_excerpt.as_deref(), excerpt, "{bytes}");
    }
}

#[tokio::test]
async fn a_status_that_is_not_2xx_is_a_failure_and_no_redirect_is_followed() {
    let elsewhere = Raw::start(|mut peer, _| async move { peer.answer(OK).await }).await;
    for status in [101, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 407, 418, 425, 500, 502, 599, 999] {
        let head = format!("HTTP/1.1 {status} X\r\nlocation: {}\r\nupgrade: websocket\r\n", elsewhere.url());
        let exchange =
            of_answer(format!("{head}connection: upgrade\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
        assert_failed(&exchange, Status, Some(status), &status.to_string());
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_compressed_body_is_taken_as_it_is() {
    // `success`, by gzip.
    let body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x2b\x2e\x4d\x4e\x4e\x2d\x2e\x06\0\xb2\x36\x5d\xe9\x07\0\0\0";
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
    let receiver = Raw::answering([head.as_bytes(), body].concat()).await;
    let endpoint = Endpoint { ack: AckRule::Body("success".into()), ..endpoint(&receiver.url()) };
    let exchange = loopback().send(&endpoint, &message()).await;
    assert_failed(&exchange, AckMismatch, Some(200), "gzip");
    assert!(!exchange.response_excerpt.expect("an excerpt").contains("success"));
}

#[tokio::test]
async fn what_has_no_end_is_cut_off_within_bounds() {
    let delivered = Outcome::Delivered;
    let (failed, broken) = (Outcome::Failed(Protocol), Outcome::Failed(Body));
    let cases = [
        ("a body until the end of time", "HTTP/1.1 200 OK\r\n\r\n", "x".repeat(8192), delivered),
        ("a gigabyte", "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n", "x".repeat(8192), delivered),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "4\r\nxxxx\r\n".repeat(1000),
            delivered,
        ),
        ("a chunk's size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "0".repeat(8192), broken),
        (
            "an extension",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4;a=",
            "b".repeat(8192),
            broken,
        ),
        (
            "trailers",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            "a: b\r\n".repeat(99),
            broken,
        ),
        ("informational answers", "", "HTTP/1.1 103 Early\r\na: b\r\n\r\n".repeat(99), failed),
        ("headers", "HTTP/1.1 200 OK\r\n", "a: b\r\n".repeat(1000), failed),
        ("one header", "HTTP/1.1 200 OK\r\na: ", "b".repeat(8192), failed),
        ("one header's name", "HTTP/1.1 200 OK\r\n", "a".repeat(8192), failed),
        ("a reason", "HTTP/1.1 200 ", "OK ".repeat(3000), failed),
        ("empty lines", "", "\r\n".repeat(4096), failed),
    ];
    join_all(cases.map(|(case, head, again, expected)| async move {
        let receiver = Raw::pouring(head, again, Duration::ZERO).await;
        // Long enough that it is not the time that ends it.
        let endpoint = Endpoint { timeout: RequestTimeout::default(), ..endpoint(&receiver.url()) };
        let exchange = loopback().send(&endpoint, &message()).await;
        assert_eq!(exchange.outcome, expected, "{case}: {exchange:?}");
        assert!(exchange.response_excerpt.unwrap_or_default().len() <= 1024, "{case}");
        assert!(receiver.written() < BOUND, "{case}: {} bytes", receiver.written());
    }))
    .await;
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off_in_time() {
    let drip = Duration::from_millis(20);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    let cases = [
        ("never answers", Raw::start(|mut peer, _| async move { peer.hold().await }).await, None),
        ("half a header, then nothing", holding("HTTP/1.1 200 OK\r\ncontent-le").await, None),
        ("100, then nothing", holding("HTTP/1.1 100 Continue\r\n\r\n").await, None),
        ("drips its head", Raw::pouring("HTTP/1.1 200 OK\r\n", "a: b\r\n".into(), drip).await, None),
        ("drips 1xx", Raw::pouring("", "HTTP/1.1 102 Processing\r\n\r\n".into(), drip).await, None),
        ("a head, then nothing", holding(head).await, Some(200)),
        (
            "half a body, then nothing",
            holding("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok").await,
            Some(200),
        ),
        ("a body without an end", holding("HTTP/1.1 200 OK\r\n\r\nok").await, Some(200)),
        (
            "chunks without an end",
            holding("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await,
            Some(200),
        ),
        ("drips its body", Raw::pouring(head, "x".into(), drip).await, Some(200)),
        ("dawdles everywhere", dawdling(Duration::from_millis(300)).await, Some(200)),
    ];
    join_all(cases.map(|(case, receiver, status)| async move {
        let exchange = attempt(&loopback(), &receiver).await;
        assert_failed(&exchange, Timeout, status, case);
        assert!(exchange.duration >= Duration::from_secs(1), "{case}: {exchange:?}");
    }))
    .await;
}

/// Answers with `first` and leaves it at that.
async fn holding(first: &'static str) -> Raw {
    Raw::start(move |mut peer, _| async move {
        peer.answer(first).await?;
        peer.hold().await
    })
    .await
}

/// Takes this long before each part of its answer: no part is too late, the whole is.
async fn dawdling(pause: Duration) -> Raw {
    Raw::start(move |mut peer, _| async move {
        peer.request().await?;
        for part in ["HTTP/1.1 200 OK\r\n", "content-length: 2\r\n\r\n", "o", "k"] {
            tokio::time::sleep(pause).await;
            peer.write(part).await?;
        }
        peer.hold().await
    })
    .await
}

/// It answers what it knows from the head, and closes: the rest of the request meets a reset.
#[tokio::test]
async fn an_early_answer_is_recorded_though_the_connection_is_closed_with_the_request_unread() {
    let long = Message { body: vec![b'x'; 8 * 1024 * 1024].into(), ..message() };
    for (status, read) in [(413, "head"), (401, "head"), (413, "byte"), (429, "byte"), (503, "head")] {
        let receiver = Raw::start(move |mut peer, _| async move {
            match read {
                "head" => read_head(&mut peer.stream).await?,
                _ => peer.stream.read_u8().await.map(drop)?,
            }
            let head = format!("HTTP/1.1 {status} X\r\nretry-after: 7\r\ncontent-length: 2\r\n");
            peer.write(format!("{head}connection: close\r\n\r\nno")).await
        })
        .await;
        let client = loopback();
        for attempt in 1..=5 {
            let exchange = client.send(&endpoint(&receiver.url()), &long).await;
            let case = format!("{status} after one {read}, attempt {attempt}");
            assert_failed(&exchange, Status, Some(status), &case);
            let asks = matches!(status, 429 | 503);
            assert_eq!(exchange.retry_after, asks.then_some(Duration::from_secs(7)), "{case}");
            assert_eq!(receiver.connections(), attempt, "a connection that broke is not used again");
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_breaks_off_without_an_answer_is_a_failure_of_the_connection() {
    let long = Message { body: vec![b'x'; 8 * 1024 * 1024].into(), ..message() };
    let receiver = Raw::start(|mut peer, _| async move { read_head(&mut peer.stream).await }).await;
    let exchange = loopback().send(&endpoint(&receiver.url()), &long).await;
    assert_failed(&exchange, Protocol, None, "closes without an answer");
}

#[tokio::test]
async fn a_head_of_64_kib_with_1_024_headers_is_read() {
    let long = format!("x-number: {}\r\n", "1".repeat(48));
    for (count, line) in [(101, "x-number: 1\r\n"), (1_023, &*long), (1_023, "a:\r\n")] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{}\r\nok", line.repeat(count));
        assert!(head.len() <= 64 * 1024, "{count}");
        let exchange = of_answer(head.as_bytes()).await;
        assert_eq!(exchange.outcome, Outcome::Delivered, "{count}: {exchange:?}");
    }
    let names: Vec<String> = (0..1_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let names = names.concat();
    let head = format!("HTTP/1.1 429 X\r\n{names}retry-after: 7\r\ncontent-length: 0\r\n\r\n");
    let exchange = of_answer(head.as_bytes()).await;
    assert_eq!((exchange.http_status, exchange.retry_after), (Some(429), Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn a_request_that_is_not_read_is_cut_off_in_time() {
    let deaf = Raw::start(|peer, _| async move {
        let _stream = peer.stream;
        std::future::pending().await
    })
    .await;
    let long = Message { body: vec![b'x'; 64 * 1024 * 1024].into(), ..message() };
    let exchange = loopback().send(&endpoint(&deaf.url()), &long).await;
    assert_failed(&exchange, Timeout, None, "deaf");
}

#[tokio::test]
async fn who_answers_and_does_not_close_has_answered() {
    let open = holding("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
    let exchange = attempt(&loopback(), &open).await;
    assert_eq!(exchange.outcome, Outcome::Delivered, "{exchange:?}");
}
