//! A TCP proxy that tests put before a server to stall, delay, cut or half-open its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Both directions pass.
    Both,
    /// What the server answers is held back.
    Questions,
    /// Nothing passes, and neither side is notified.
    Nothing,
}

#[derive(Debug, Clone)]
struct State {
    flow: Flow,
    /// Connections of an earlier age end.
    age: u64,
    /// Connections of an earlier age than this end half-open.
    half_open_before: u64,
    /// Whether new connections are accepted.
    open: bool,
    /// How long each piece takes.
    delay: Duration,
    /// When a client sends these bytes, nothing passes from there on.
    stall_at: Option<Arc<[u8]>>,
    /// Connections that are carried.
    connections: usize,
}

/// The proxy; ends with the test's runtime.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    state: watch::Sender<State>,
}

impl Proxy {
    /// Stands before `server` (`host:port`).
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (state, _) = watch::channel(State {
            flow: Flow::Both,
            age: 0,
            half_open_before: 0,
            open: true,
            delay: Duration::ZERO,
            stall_at: None,
            connections: 0,
        });
        tokio::spawn(accept(listener, server, state.clone()));
        Self { address, state }
    }

    /// Stands before the server of `url`; returns the same URL through the proxy as well.
    pub async fn before_url(url: &str) -> (Self, String) {
        let mut through = url::Url::parse(url).expect("the server's address is a URL");
        let host = through.host_str().expect("it has a host");
        let proxy = Self::before(format!("{host}:{}", through.port().expect("it has a port"))).await;
        through.set_host(Some("127.0.0.1")).expect("takes a host");
        through.set_port(Some(proxy.address.port())).expect("takes a port");
        (proxy, through.to_string())
    }

    /// Cuts every existing connection; new ones are accepted.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.age += 1);
    }

    /// Makes every existing connection half-open: the server's side is closed, the client's side
    /// stays open and silent. New ones pass.
    pub fn half_open(&self) {
        self.state.send_modify(|state| {
            state.age += 1;
            state.half_open_before = state.age;
        });
    }

    /// Cuts every existing connection and refuses new ones.
    pub fn go_down(&self) {
        self.state.send_modify(|state| (state.age, state.open) = (state.age + 1, false));
    }

    /// Accepts connections again.
    pub fn come_up(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Holds back what the server answers.
    pub fn hold_answers(&self) {
        self.state.send_modify(|state| state.flow = Flow::Questions);
    }

    /// Lets nothing pass in either direction; what is sent meanwhile arrives after [`Proxy::resume`].
    pub fn hang(&self) {
        self.state.send_modify(|state| state.flow = Flow::Nothing);
    }

    /// Hangs as soon as a client sends `pattern`, before the server receives it.
    pub fn hang_at(&self, pattern: impl AsRef<[u8]>) {
        self.state.send_modify(|state| state.stall_at = Some(pattern.as_ref().into()));
    }

    /// Gives `work` up when it sends `pattern`, which arrives, with all that follows, afterwards.
    pub fn give_up_at<'a, T: 'a>(
        &'a self,
        pattern: impl AsRef<[u8]>,
        work: impl Future<Output = T> + 'a,
    ) -> impl Future<Output = ()> + 'a {
        self.hang_at(pattern);
        let work = Box::pin(work);
        async move {
            tokio::select! {
                _ = work => panic!("it never sent this"),
                () = self.hung() => {}
            }
            self.resume();
        }
    }

    /// Waits until nothing passes, as after [`Proxy::hang_at`].
    pub async fn hung(&self) {
        self.until(|state| state.flow == Flow::Nothing).await;
    }

    /// Lets everything pass again, at once.
    pub fn resume(&self) {
        self.state.send_modify(|state| {
            (state.flow, state.stall_at, state.delay) = (Flow::Both, None, Duration::ZERO);
        });
    }

    /// Delays each piece, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// How many connections are carried now.
    pub fn connections(&self) -> usize {
        self.state.borrow().connections
    }

    async fn until(&self, condition: impl FnMut(&State) -> bool) {
        let mut state = self.state.subscribe();
        state.wait_for(condition).await.expect("the proxy holds the sender");
    }
}

async fn accept(listener: TcpListener, server: String, state: watch::Sender<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.borrow().open {
            tokio::spawn(connect(client, server.clone(), state.clone()));
        }
    }
}

/// Carries one connection until either side closes a direction or its age is over.
async fn connect(client: TcpStream, server: String, state: watch::Sender<State>) {
    let age = state.borrow().age;
    let Ok(server) = TcpStream::connect(&server).await else { return };
    state.send_modify(|state| state.connections += 1);
    let mut over = state.subscribe();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = carry(&mut from_client, &mut to_server, &state, Direction::Question) => {}
        () = carry(&mut from_server, &mut to_client, &state, Direction::Answer) => {}
        _ = over.wait_for(|state| state.age != age) => {}
    }
    state.send_modify(|state| state.connections -= 1);
    drop((from_server, to_server));
    if age < state.borrow().half_open_before {
        // Whether the client ever closes it is the client's matter.
        let _ = io::copy(&mut from_client, &mut io::sink()).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Question,
    Answer,
}

impl Direction {
    fn passes(self, state: &State) -> bool {
        match state.flow {
            Flow::Both => true,
            Flow::Questions => self == Self::Question,
            Flow::Nothing => false,
        }
    }
}

async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    state: &watch::Sender<State>,
    direction: Direction,
) {
    let mut gate = state.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if direction == Direction::Question {
            stall_at_pattern(state, &buffer[..count]);
        }
        let delay = state.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if gate.wait_for(|state| direction.passes(state)).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Patterns are short and sent in one piece, so that looking at each piece alone finds them.
fn stall_at_pattern(state: &watch::Sender<State>, piece: &[u8]) {
    let holds = |pattern: &Arc<[u8]>| piece.windows(pattern.len()).any(|window| window == &pattern[..]);
    state.send_if_modified(|state| {
        let stalls = state.stall_at.as_ref().is_some_and(holds);
        if stalls {
            (state.flow, state.stall_at) = (Flow::Nothing, None);
        }
        stalls
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that echoes.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    let _ = io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn says(client: &mut TcpStream, text: &[u8]) -> bool {
        client.write_all(text).await.expect("the proxy takes it");
        let mut heard = vec![0; text.len()];
        client.read_exact(&mut heard).await.is_ok() && heard == text
    }

    #[tokio::test]
    async fn everything_hangs_from_a_pattern_on_and_arrives_afterwards() {
        let proxy = Proxy::before(echo().await).await;
        let mut client = TcpStream::connect(proxy.address).await.expect("connects");
        let mut other = TcpStream::connect(proxy.address).await.expect("connects");
        assert!(says(&mut client, b"hello").await && says(&mut other, b"hello").await);
        proxy.hang_at("BEGIN");
        client.write_all(b"Q BEGIN").await.expect("the proxy takes it");
        proxy.hung().await;
        other.write_all(b"later").await.expect("the proxy takes it");
        assert!(other.try_read(&mut [0; 8]).is_err());
        proxy.resume();
        let mut heard = [0; 7];
        client.read_exact(&mut heard).await.expect("arrives");
        assert_eq!(&heard, b"Q BEGIN");
        other.read_exact(&mut heard[..5]).await.expect("arrives");
        assert_eq!(&heard[..5], b"later");
    }

    #[tokio::test]
    async fn half_open_connections_stay_silent_while_new_ones_pass() {
        let proxy = Proxy::before(echo().await).await;
        let mut client = TcpStream::connect(proxy.address).await.expect("connects");
        assert!(says(&mut client, b"hello").await);
        assert_eq!(proxy.connections(), 1);
        proxy.half_open();
        proxy.until(|state| state.connections == 0).await;
        client.write_all(b"lost").await.expect("it looks open");
        let mut new = TcpStream::connect(proxy.address).await.expect("connects");
        assert!(says(&mut new, b"hello").await);
        assert_eq!(client.try_read(&mut [0; 8]).expect_err("silent").kind(), io::ErrorKind::WouldBlock);
    }
}
