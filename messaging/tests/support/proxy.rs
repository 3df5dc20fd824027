//! A TCP proxy that tests put before a server to lose or hang its connections.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Both directions pass.
    Both,
    /// What the server answers is held back; the client knows nothing.
    Questions,
    /// Nothing passes, and nobody is told.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct State {
    flow: Flow,
    /// Connections of an earlier age are cut.
    age: u64,
    /// Whether new connections are taken.
    open: bool,
}

/// The proxy; ends with the test's runtime.
pub struct Proxy {
    pub address: SocketAddr,
    state: watch::Sender<State>,
}

impl Proxy {
    /// Stands before `server`.
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (state, _) = watch::channel(State { flow: Flow::Both, age: 0, open: true });
        tokio::spawn(accept(listener, server, state.clone()));
        Self { address, state }
    }

    /// Cuts every connection there is; new ones are taken.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.age += 1);
    }

    /// Cuts every connection there is and takes no more.
    pub fn go_down(&self) {
        self.state.send_modify(|state| (state.age, state.open) = (state.age + 1, false));
    }

    /// Takes connections again.
    pub fn come_up(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Holds back what the server answers.
    pub fn hold_answers(&self) {
        self.state.send_modify(|state| state.flow = Flow::Questions);
    }

    /// Lets nothing pass in either direction.
    pub fn hang(&self) {
        self.state.send_modify(|state| state.flow = Flow::Nothing);
    }

    /// Lets everything pass again.
    pub fn resume(&self) {
        self.state.send_modify(|state| state.flow = Flow::Both);
    }
}

async fn accept(listener: TcpListener, server: String, state: watch::Sender<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = state.subscribe();
        if !state.borrow().open {
            continue;
        }
        let Ok(server) = TcpStream::connect(&server).await else { continue };
        let age = state.borrow().age;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(carry(from_client, to_server, state.clone(), age, |flow| flow != Flow::Nothing));
        tokio::spawn(carry(from_server, to_client, state, age, |flow| flow == Flow::Both));
    }
}

/// Carries bytes until either side ends or the connection's age is over.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: watch::Receiver<State>,
    age: u64,
    passes: impl Fn(Flow) -> bool,
) {
    let mut over = state.clone();
    let mut gate = state;
    let carrying = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if gate.wait_for(|state| passes(state.flow)).await.is_err() {
                break;
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = carrying => {}, _ = over.wait_for(|state| state.age != age) => {} }
}
