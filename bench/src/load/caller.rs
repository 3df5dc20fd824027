//! One kept-alive connection, as cheap as can be: what the load costs, the services lack.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Call;

pub(super) struct Caller {
    requests: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Caller {
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { requests, host: HeaderValue::from_str(&address.to_string())? })
    }

    /// The answer's body; an error when the answer is not 2xx.
    pub(super) async fn post(&mut self, call: &Call) -> anyhow::Result<Bytes> {
        let mut request = Request::post(call.path.as_str()).body(Full::new(call.body.clone()))?;
        *request.headers_mut() = call.headers.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{} answers {status}: {}", call.path, String::from_utf8_lossy(&body));
        Ok(body)
    }
}
