//! A name server on a port of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use notifier::webhook::dns::Dns;
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// What it answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These addresses, each in its family.
    Addresses(Vec<IpAddr>),
    /// This code.
    Code(ResponseCode),
    /// Nothing to questions for IPv6 addresses, this address to those for IPv4.
    OnlyV4(IpAddr),
    /// Nothing at all.
    Silence,
}

/// Answers by the question's last label but one: `x.dead.test` as `dead` says.
pub struct NameServer {
    address: SocketAddr,
    asked: watch::Receiver<BTreeMap<String, usize>>,
    replies: Arc<Mutex<BTreeMap<&'static str, Reply>>>,
}

impl NameServer {
    pub async fn start(replies: impl IntoIterator<Item = (&'static str, Reply)>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("bound");
        let replies = Arc::new(Mutex::new(replies.into_iter().collect()));
        let (teller, asked) = watch::channel(BTreeMap::new());
        tokio::spawn(serve(socket, replies.clone(), teller));
        Self { address, asked, replies }
    }

    /// From now on, another answer.
    pub fn answer(&self, label: &'static str, reply: Reply) {
        self.replies.lock().expect("unpoisoned").insert(label, reply);
    }

    /// A look-up that asks this server, once, and waits for `timeout`.
    pub fn lookup(&self, timeout: Duration) -> Dns {
        let connection = |mut connection: ConnectionConfig| {
            connection.port = self.address.port();
            connection
        };
        let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
        let server = NameServerConfig::new(self.address.ip(), true, connections);
        let mut options = ResolverOpts::default();
        (options.timeout, options.attempts) = (timeout, 1);
        Dns::new(&ResolverConfig::from_name_servers(vec![server]), &options).expect("a look-up")
    }

    /// How many questions there were for this name.
    pub fn asked_for(&self, name: &str) -> usize {
        self.asked.borrow().get(name).copied().unwrap_or_default()
    }

    /// Waits until `count` different names have been asked for.
    pub async fn wait_for_names(&self, count: usize) {
        let mut asked = self.asked.clone();
        let waited = asked.wait_for(|names| names.len() >= count);
        let waited = tokio::time::timeout(Duration::from_secs(20), waited).await;
        waited.expect("the questions come").expect("it serves");
    }
}

async fn serve(
    socket: UdpSocket,
    replies: Arc<Mutex<BTreeMap<&'static str, Reply>>>,
    teller: watch::Sender<BTreeMap<String, usize>>,
) {
    let mut bytes = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
        let Ok(question) = Message::from_vec(&bytes[..length]) else { continue };
        let name = question.queries[0].name().to_ascii();
        let name = name.trim_end_matches('.');
        teller.send_modify(|asked| *asked.entry(name.to_owned()).or_default() += 1);
        let label = name.rsplit('.').nth(1).unwrap_or_default();
        let reply = replies.lock().expect("unpoisoned").get(label).cloned();
        if let Some(answer) = answer(&question, reply.unwrap_or(Reply::Code(ResponseCode::NXDomain))) {
            let _ = socket.send_to(&answer.to_vec().expect("an answer"), from).await;
        }
    }
}

fn answer(question: &Message, reply: Reply) -> Option<Message> {
    let query = question.queries[0].clone();
    let mut answer = question.clone();
    answer.metadata.message_type = MessageType::Response;
    let addresses = match reply {
        Reply::Silence => return None,
        Reply::OnlyV4(_) if query.query_type() == RecordType::AAAA => return None,
        Reply::OnlyV4(address) => vec![address],
        Reply::Addresses(addresses) => addresses,
        Reply::Code(code) => {
            answer.metadata.response_code = code;
            Vec::new()
        }
    };
    let of_family = |address: &IpAddr| address.is_ipv6() == (query.query_type() == RecordType::AAAA);
    for address in addresses.into_iter().filter(of_family) {
        answer.answers.push(Record::from_rdata(query.name().clone(), 60, RData::from(address)));
    }
    Some(answer)
}
