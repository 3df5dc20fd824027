//! The subscribers' side: an HTTP server as cheap as can be, on a thread of its own, which notes
//! when each recharge was told to each subscriber and how often.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::clock::{self, Micros};
use crate::events::tx_no;

/// How often the dripping endpoint sends a byte.
const DRIP: Duration = Duration::from_millis(500);

/// How the endpoints answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// 200 at once.
    Good,
    /// 500 at once.
    Failing,
    /// Never.
    Hanging,
    /// 200 and a body that does not end.
    Dripping,
}

/// Which subscriber was told about which recharge.
pub type Told = (u16, Uuid);

/// What has arrived.
#[derive(Debug, Default)]
pub struct Tally {
    /// When each recharge was told first.
    pub arrivals: HashMap<Told, Micros>,
    /// How often one was told again.
    pub again: usize,
    /// Requests that were no webhooks about a recharge.
    pub strange: usize,
}

/// The running receiver. Its thread ends with the program.
pub struct Receiver {
    address: SocketAddr,
    tally: Arc<Mutex<Tally>>,
}

impl Receiver {
    /// Listens on a free port.
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let noted = tally.clone();
        std::thread::Builder::new()
            .name("receiver".into())
            .spawn(move || runtime.block_on(accept(listener, noted)))?;
        Ok(Self { address, tally })
    }

    /// The endpoint of subscriber `number`, which answers in this manner.
    pub fn url(&self, number: u16, manner: Manner) -> String {
        format!("http://{}/{manner:?}/{number}", self.address)
    }

    /// What has arrived since it was last emptied.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many recharges were told, each to each subscriber counted once.
    pub fn count(&self) -> usize {
        self.tally().arrivals.len()
    }

    /// Takes what has arrived, and begins anew.
    pub fn empty(&self) -> Tally {
        std::mem::take(&mut *self.tally())
    }
}

async fn accept(listener: std::net::TcpListener, tally: Arc<Mutex<Tally>>) {
    let listener = TcpListener::from_std(listener).expect("a non-blocking socket inside of a runtime");
    loop {
        // What can't be accepted is the client's loss, and its figure's.
        let Ok((connection, _)) = listener.accept().await else { continue };
        tokio::spawn(serve(connection, tally.clone()));
    }
}

async fn serve(connection: TcpStream, tally: Arc<Mutex<Tally>>) {
    // Without it an answer could wait for the acknowledgement of the one before.
    let _ = connection.set_nodelay(true);
    let service = service_fn(move |request| answer(request, tally.clone()));
    // A client that goes away ends its connection; there is nothing to be done about it.
    let _ =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, tally: Arc<Mutex<Tally>>) -> Result<Answer, hyper::Error> {
    let target = endpoint(request.uri().path());
    let body = request.into_body().collect().await?.to_bytes();
    let arrived = clock::now();
    match target {
        Some((Manner::Good, number)) => note(&tally, number, &body, arrived),
        Some((Manner::Failing, _)) => return Ok(status(StatusCode::INTERNAL_SERVER_ERROR)),
        Some((Manner::Hanging, _)) => std::future::pending().await,
        Some((Manner::Dripping, _)) => return Ok(dripping()),
        None => tally.lock().unwrap_or_else(PoisonError::into_inner).strange += 1,
    }
    Ok(status(StatusCode::OK))
}

fn note(tally: &Mutex<Tally>, number: u16, body: &[u8], arrived: Micros) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tx_no) = tx_no(body) else {
        tally.strange += 1;
        return;
    };
    let mut again = true;
    tally.arrivals.entry((number, tx_no)).or_insert_with(|| {
        again = false;
        arrived
    });
    tally.again += usize::from(again);
}

fn endpoint(path: &str) -> Option<(Manner, u16)> {
    let (manner, number) = path.strip_prefix('/')?.split_once('/')?;
    let manner = match manner {
        "Good" => Manner::Good,
        "Failing" => Manner::Failing,
        "Hanging" => Manner::Hanging,
        "Dripping" => Manner::Dripping,
        _ => return None,
    };
    Some((manner, number.parse().ok()?))
}

fn status(status: StatusCode) -> Answer {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = status;
    response
}

fn dripping() -> Answer {
    let drops = stream::unfold(tokio::time::interval(DRIP), |mut drip| async {
        drip.tick().await;
        Some((Ok(Frame::data(Bytes::from_static(b" "))), drip))
    });
    Response::new(StreamBody::new(drops).boxed_unsync())
}
