//! The loop that takes connections. Their number follows the descriptors that there are, and the
//! time a caller may take to send a request's headers or to take an answer is bounded, so that no
//! caller can occupy the service by doing nothing.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

use super::arriving::Arriving;
use super::connections::{Connections, Place};
use super::probes;
use super::state::State;
use super::timely::Timely;
use crate::descriptors;
use crate::lifecycle::Shutdown;
use crate::recurring::Recurring;

/// How long a caller may take to send a request's headers, or to begin the next request of a
/// kept-alive connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many of a listener's connections are kept for probes.
const RESERVED: usize = 4;

static ACCEPT_FAILED: Recurring = Recurring::new();

/// Serves until the soft stop; then takes no new connection, finishes the requests in flight, and
/// gives up on those at the hard stop.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    serve_at_most(descriptors::connections() - RESERVED, listener, router, shutdown).await
}

async fn serve_at_most(
    most: usize,
    listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
) -> io::Result<()> {
    let mut connections = Connections::new(most, RESERVED);
    let open = GracefulShutdown::new();
    while let Some((stream, place)) = shutdown.unless_stopping(accept(&listener, &mut connections)).await {
        serve_connection(stream, place, &router, &open);
    }
    drop(listener);
    shutdown.unless_hard(open.shutdown()).await;
    Ok(())
}

async fn accept(listener: &TcpListener, connections: &mut Connections) -> (TcpStream, Place) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, connections.place().await),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(times) = ACCEPT_FAILED.note(&error) {
                    tracing::warn!(%error, times, "connection.accept_failed");
                }
                connections.make_room();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn serve_connection(stream: TcpStream, place: Place, router: &Router, open: &GracefulShutdown) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection.nodelay_refused");
    }
    let (state, router, is_reserved) = (place.state().clone(), router.clone(), place.is_reserved());
    let answer = service_fn(move |request| answer(router.clone(), request, state.clone(), is_reserved));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(Timely::new(stream, place.state().clone())), answer);
    let connection = open.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "connection.ended");
            },
            () = place.state().asked_to_give_way() => tracing::debug!("connection.gave_way"),
        }
        drop(place);
    });
}

async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    state: Arc<State>,
    is_reserved: bool,
) -> Result<Response, Infallible> {
    if !state.works() {
        // The connection ends at once, without an answer.
        return std::future::pending().await;
    }
    let answer = if is_reserved && !probes::is_probe(request.uri().path()) {
        probes::all_taken()
    } else {
        router.call(request.map(|body| Arriving::new(body, state.clone()))).await?
    };
    state.answers();
    Ok(if is_reserved { probes::last(answer) } else { answer })
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::super::state::millis;
    use super::super::timely::ANSWER_TIMEOUT;
    use super::*;

    #[tokio::test]
    async fn a_soft_stop_finishes_the_request_in_flight_and_takes_no_other() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, wait) = (entered.clone(), release.clone());
        let slow = async move || {
            enter.notify_one();
            wait.notified().await;
            "done"
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let server = tokio::spawn(serve(listener, Router::new().route("/", get(slow)), shutdown.clone()));

        let mut caller = TcpStream::connect(address).await.expect("accepted");
        caller.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        entered.notified().await;
        shutdown.stop_softly();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        release.notify_one();

        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.expect("answered and closed");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        server.await.expect("no panic").expect("ended well");
    }

    #[tokio::test]
    async fn a_hard_stop_waits_for_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let hang = async || std::future::pending::<()>().await;
        let server = tokio::spawn(serve(listener, Router::new().route("/", get(hang)), shutdown.clone()));
        let mut caller = TcpStream::connect(address).await.expect("accepted");
        caller.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        shutdown.stop_hard();
        server.await.expect("no panic").expect("ended");
    }

    /// A server of `most` connections that answers 64 MB at `/` and never at `/never`.
    async fn large(most: usize) -> (std::net::SocketAddr, Shutdown) {
        let body = async || vec![b'x'; 64 << 20];
        let never = async || std::future::pending::<()>().await;
        let router = Router::new().route("/", get(body)).route("/never", get(never));
        let router = router.route("/healthz", get(async || "alive"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        tokio::spawn(serve_at_most(most, listener, router, shutdown.clone()));
        (address, shutdown)
    }

    async fn asks(address: std::net::SocketAddr, path: &str) -> TcpStream {
        let mut caller = TcpStream::connect(address).await.expect("accepted");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        caller.write_all(request.as_bytes()).await.expect("sent");
        caller
    }

    /// Reads `piece` bytes each `pause` until the connection ends; how long that took, and how.
    async fn read_slowly(caller: &mut TcpStream, piece: usize, pause: Duration) -> (Duration, io::Error) {
        let began = tokio::time::Instant::now();
        let mut buffer = vec![0; piece];
        loop {
            match caller.read(&mut buffer).await {
                Ok(0) => return (began.elapsed(), io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => tokio::time::sleep(pause).await,
                Err(error) => return (began.elapsed(), error),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_slowly_is_cut_off_after_its_time() {
        let (address, _shutdown) = large(8).await;
        let mut caller = asks(address, "/").await;
        let (took, error) = read_slowly(&mut caller, 1024, Duration::from_millis(10)).await;
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        // What the kernel holds is still read; the whole would take more than ten minutes.
        assert!(took > ANSWER_TIMEOUT && took < Duration::from_mins(5), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_and_an_idle_connection_are_closed_after_their_time() {
        let (address, _shutdown) = large(8).await;
        let mut silent = TcpStream::connect(address).await.expect("accepted");
        let mut idle = asks(address, "/healthz").await;
        for caller in [&mut silent, &mut idle] {
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(2 * HEADER_TIMEOUT, caller.read_to_end(&mut answer)).await;
            ended.expect("in time").expect("closed");
        }
    }

    #[tokio::test]
    async fn silent_callers_and_slow_readers_give_way_to_a_health_check_and_work_does_not() {
        let (address, _shutdown) = large(4).await;
        let mut working = asks(address, "/never").await;
        for _ in 0..50 {
            let _slow = asks(address, "/").await;
        }
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(TcpStream::connect(address).await.expect("in the backlog"));
        }
        for _ in 0..20 {
            let mut check = asks(address, "/healthz").await;
            let mut answer = [0; 12];
            check.read_exact(&mut answer).await.expect("answered");
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        assert_eq!(working.try_read(&mut [0; 1]).expect_err("open").kind(), io::ErrorKind::WouldBlock);
        working.shutdown().await.expect("open");
    }

    #[tokio::test]
    async fn where_all_places_are_worked_on_probes_are_answered_and_other_requests_are_refused() {
        let (address, _shutdown) = large(2).await;
        let mut working = Vec::new();
        for _ in 0..2 {
            working.push(asks(address, "/never").await);
        }
        for (path, status) in [("/healthz", "200"), ("/", "503"), ("/healthz?x", "200"), ("/never", "503")] {
            let mut answer = String::new();
            asks(address, path).await.read_to_string(&mut answer).await.expect("answered and closed");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
            assert!(answer.contains("connection: close"), "{answer}");
            let is_problem = answer.contains("application/problem+json") && answer.contains("retry-after: 1");
            assert_eq!(is_problem, status == "503", "{answer}");
        }
    }

    #[tokio::test]
    async fn a_request_that_arrives_whole_after_its_connection_gave_way_does_not_begin() {
        let (began, state) = (tokio::time::Instant::now(), Arc::new(AtomicUsize::new(0)));
        let count = state.clone();
        let router =
            Router::new().route("/", get(async move || count.fetch_add(1, Ordering::Relaxed).to_string()));
        let connection = Arc::new(State::new(began));
        let (mut caller, served) = tokio::io::duplex(1024);
        let gives_way = connection.clone();
        let service = service_fn(move |request| answer(router.clone(), request, connection.clone(), false));
        let serving = http1::Builder::new().serve_connection(TokioIo::new(served), service);
        let served = tokio::spawn(serving);
        caller.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        caller.read_exact(&mut [0; 12]).await.expect("the first request is answered");
        gives_way.has_sent();
        let later = millis(began.elapsed()) + 2_000;
        let phase = gives_way.waits_long(later).expect("it waits for its peer");
        assert!(gives_way.ask_to_give_way(phase));
        caller.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        gives_way.asked_to_give_way().await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(state.load(Ordering::Relaxed), 1);
        served.abort();
    }
}
