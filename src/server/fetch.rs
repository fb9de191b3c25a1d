//! Asking web servers (HTTP/1.1, RFC 9112), for the plugins that judge clients.
//!
//! Every question is a task and a connection of its own: a server that is slow or dead holds up
//! nobody but those it is asked about, and no more than [`UNDER_WAY_MAX`] are asked at once. Whose
//! turn it is then says `waiting.rs`: whoever floods the broker with CONNECTs keeps others waiting
//! for one question of each address. What is asked, and what an answer means, is in
//! `access/http.rs`.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::network::Network;
use super::waiting::Waiting;
use crate::access::{Answer, Busy, Fetch, FetchError, Method, Request, Server, Whose};

/// Questions that are asked at once, by all workers together.
const UNDER_WAY_MAX: usize = 64;
/// Questions that wait for that, of those who are known and of strangers each. More are refused: who
/// asks may try again.
const WAITING_MAX: usize = 1_024;
/// Bytes of the longest answer, and of what precedes it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The questions of all workers.
#[derive(Debug)]
pub(crate) struct Questions(Mutex<Asked>);

/// How many are under way, and those that wait.
#[derive(Debug)]
struct Asked {
    under_way: usize,
    waiting: Waiting<(), UnderWay>,
}

/// The place of a question that is under way.
#[derive(Debug)]
struct UnderWay(Arc<Questions>);

impl Default for Questions {
    fn default() -> Questions {
        Questions(Mutex::new(Asked { under_way: 0, waiting: Waiting::new(WAITING_MAX) }))
    }
}

impl Questions {
    /// Has a question wait for its place.
    fn enter(self: &Arc<Self>, whose: Whose) -> Result<oneshot::Receiver<UnderWay>, Busy> {
        let turn = self.asked().waiting.push((), whose)?;
        self.call();
        Ok(turn)
    }

    /// Gives the next of those that wait a place, if one is free.
    fn call(self: &Arc<Self>) {
        let mut asked = self.asked();
        if asked.under_way >= UNDER_WAY_MAX {
            return;
        }
        let Some(next) = asked.waiting.pop() else { return };
        asked.under_way += 1;
        drop(asked);
        // If it has just left, its place comes back, and another is called.
        let _ = next.done.send(UnderWay(Arc::clone(self)));
    }

    /// No code that can panic runs under this lock.
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.asked().under_way -= 1;
        self.0.call();
    }
}

/// Asks web servers from one worker's thread.
#[derive(Clone)]
pub(crate) struct Fetcher<N> {
    network: N,
    questions: Arc<Questions>,
}

impl<N> Fetcher<N> {
    pub(crate) fn new(network: N, questions: Arc<Questions>) -> Fetcher<N> {
        Fetcher { network, questions }
    }
}

impl<N> std::fmt::Debug for Fetcher<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("questions", &self.questions).finish_non_exhaustive()
    }
}

impl<N: Network> Fetch for Fetcher<N> {
    fn fetch(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, FetchError>> + Send>> {
        let Ok(turn) = self.questions.enter(request.whose) else {
            return Box::pin(std::future::ready(Err(FetchError::Busy)));
        };
        let (done, answer) = oneshot::channel();
        self.network.spawn(ask(self.network.clone(), turn, request, done));
        let gone = || FetchError::Failed("the broker stops".to_owned());
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(gone())) })
    }
}

/// Asks, in time, unless nobody waits for the answer any more.
async fn ask<N: Network>(
    network: N,
    turn: oneshot::Receiver<UnderWay>,
    request: Request,
    mut done: oneshot::Sender<Result<Answer, FetchError>>,
) {
    let in_time = timeout(request.timeout, async {
        let Ok(_place) = turn.await else {
            return Err(FetchError::Busy); // it made room for another
        };
        exchange(&network, &request).await
    });
    let answer = tokio::select! {
        biased;
        () = done.closed() => return,
        answer = in_time => answer.unwrap_or(Err(FetchError::TooLate)),
    };
    let _ = done.send(answer); // who waited has just left
}

fn failed(error: impl ToString) -> FetchError {
    FetchError::Failed(error.to_string())
}

async fn exchange<N: Network>(network: &N, request: &Request) -> Result<Answer, FetchError> {
    let Server { host, port, tls } = &*request.server;
    let stream = network.connect(host, *port).await.map_err(failed)?;
    let Some(tls) = tls else { return talk(stream, request).await };
    let name = ServerName::try_from(host.clone()).map_err(failed)?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
    talk(stream.map_err(failed)?, request).await
}

/// Asks over a connection and reads the answer to its end.
async fn talk<S>(stream: S, request: &Request) -> Result<Answer, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(ANSWER_BYTES_MAX);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(failed)?;
    let question = question_of(request).map_err(failed)?;
    let mut asked = pin!(async {
        let answer = sender.send_request(question).await.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(Answer { status, body: body.map_err(failed)?.to_bytes() })
    });
    let mut connection = pin!(connection);
    let mut is_over = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut asked => return answer,
            // What it has read before it ended is still to be had.
            _ = &mut connection, if !is_over => is_over = true,
        }
    }
}

fn question_of(request: &Request) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
    let Server { host, port, .. } = &*request.server;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let method = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
        Method::Put => hyper::Method::PUT,
    };
    let mut question = hyper::Request::builder()
        .method(method)
        .uri(&request.target)
        .header(HOST, format!("{host}:{port}"))
        .header(USER_AGENT, &*request.user_agent)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close");
    if let Some(kind) = request.content_type {
        question = question.header(CONTENT_TYPE, kind);
    }
    question.body(Full::new(request.body.clone()))
}

/// What a server is trusted by, over TLS: the authorities of a file in PEM, or the system's.
pub(super) fn trust(
    cafile: Option<&std::path::Path>,
    cryptography: &super::Cryptography,
) -> Result<Arc<tokio_rustls::rustls::ClientConfig>, super::TlsError> {
    let roots = match cafile {
        Some(path) => super::tls::authorities_of("cafile", path)?,
        None => system_authorities()?,
    };
    // Not the process's: a program that embeds the broker may have two, and then it has none.
    let config =
        tokio_rustls::rustls::ClientConfig::builder_with_provider(cryptography.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(Arc::new(config))
}

fn system_authorities() -> Result<tokio_rustls::rustls::RootCertStore, super::TlsError> {
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let error = found.errors.first().map_or_else(
            || io::Error::from(io::ErrorKind::NotFound).to_string(),
            ToString::to_string,
        );
        return Err(super::TlsError::NoSystemAuthority(error));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_is_over_or_given_up_leaves_its_place_to_one_that_waits() {
        let questions = Arc::new(Questions::default());
        let whose = Whose { address: None, is_known: false };
        let enter = || questions.enter(whose).expect("there is room to wait");
        let mut under_way: Vec<_> = (0..UNDER_WAY_MAX).map(|_| enter()).collect();
        let (given_up, mut waits) = (enter(), enter());
        drop(given_up);
        let mut first = under_way.remove(0);
        let place = first.try_recv().expect("it is under way");
        assert!(waits.try_recv().is_err(), "there is no place");
        drop(place);
        assert!(waits.try_recv().is_ok(), "its place is free");
    }
}
