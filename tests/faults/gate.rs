//! A gate before a server: connections pass it, or meet a fault of the network. Faults of HTTP are in [`crate::fault`].

use std::sync::Arc;

use testkit::http::reset;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, copy_bidirectional};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::patience::in_time;

/// Connections that wait for a closed gate, as `listen` counts them. One more fits; from then on the kernel drops what
/// arrives.
const BACKLOG: u32 = 1;

/// What a new connection meets.
#[derive(Clone)]
pub enum Door {
    /// The server.
    Open,
    /// The server, behind TLS.
    Tls(TlsAcceptor),
    /// Nobody who would take part in the handshake of TLS.
    Mute,
    /// Nothing: the backlog is full, and requests to connect are dropped.
    Full,
}

/// How the connections that exist are forgotten.
#[derive(Clone, Copy, Debug)]
pub enum Forgotten {
    Closed,
    Reset,
    /// What is sent disappears.
    Silent,
}

/// A gate. It ends when this is dropped.
pub struct Gate {
    /// Host and port.
    pub address: String,
    shared: Arc<Shared>,
    usual: Door,
    listener: JoinHandle<()>,
    /// Connections that fill the backlog.
    waiting: std::sync::Mutex<Vec<TcpStream>>,
}

struct Shared {
    server: String,
    door: watch::Sender<Door>,
    accepts: watch::Sender<bool>,
    forgotten: watch::Sender<Option<Forgotten>>,
    /// Connections that pass.
    established: watch::Sender<usize>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Gate {
    /// Starts a gate before `server`, a host with a port.
    pub fn before(server: &str, usual: Door) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = socket.local_addr().expect("bound").to_string();
        let listener = socket.listen(BACKLOG).expect("listens");
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            door: watch::Sender::new(usual.clone()),
            accepts: watch::Sender::new(true),
            forgotten: watch::Sender::new(None),
            established: watch::Sender::new(0),
        });
        let served = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            let mut door = served.door.subscribe();
            loop {
                let at_door = door.borrow_and_update().clone();
                if matches!(at_door, Door::Full) {
                    served.accepts.send_replace(false);
                    door.changed().await.expect("it lives as long as this");
                    served.accepts.send_replace(true);
                    continue;
                }
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((connection, _)) = accepted {
                            tokio::spawn(Arc::clone(&served).pass(at_door, connection));
                        }
                    }
                    changed = door.changed() => changed.expect("it lives as long as this"),
                }
            }
        });
        Self { address, shared, usual, listener, waiting: std::sync::Mutex::default() }
    }

    /// From now on, new connections meet `door`.
    pub async fn set(&self, door: Door) {
        let is_full = matches!(door, Door::Full);
        self.shared.door.send_replace(door);
        let mut accepts = self.shared.accepts.subscribe();
        in_time("the gate has its door", accepts.wait_for(|&accepts| accepts != is_full)).await.expect("it lives");
        let mut waiting = Vec::new();
        while is_full && waiting.len() <= BACKLOG as usize {
            let connection = in_time("a connection waits at the gate", TcpStream::connect(&self.address));
            waiting.push(connection.await.expect("the backlog has room"));
        }
        *self.waiting.lock().expect("no panic") = waiting;
    }

    /// Lets everybody pass again.
    pub async fn open(&self) {
        self.set(self.usual.clone()).await;
    }

    /// Forgets the connections that exist, and returns their number.
    pub async fn forget(&self, how: Forgotten) -> usize {
        let known = *self.shared.established.borrow();
        self.shared.forgotten.send_replace(Some(how));
        let mut established = self.shared.established.subscribe();
        in_time("all connections are forgotten", established.wait_for(|&count| count == 0)).await.expect("it lives");
        known
    }
}

impl Shared {
    async fn pass(self: Arc<Self>, door: Door, connection: TcpStream) {
        match door {
            Door::Open | Door::Full => self.forward(connection, reset_when_dropped).await,
            Door::Tls(acceptor) => {
                if let Ok(connection) = acceptor.accept(connection).await {
                    self.forward(connection, drop).await;
                }
            }
            Door::Mute => std::future::pending().await,
        }
    }

    async fn forward<C: AsyncRead + AsyncWrite + Unpin>(&self, mut connection: C, reset: impl FnOnce(C)) {
        let mut forgotten = self.forgotten.subscribe();
        let Ok(mut server) = TcpStream::connect(&self.server).await else { return };
        self.established.send_modify(|count| *count += 1);
        let forgets = tokio::select! {
            _ = copy_bidirectional(&mut connection, &mut server) => false,
            _ = forgotten.changed() => true,
        };
        let how = *forgotten.borrow();
        self.established.send_modify(|count| *count -= 1);
        match how.filter(|_| forgets) {
            Some(Forgotten::Silent) => std::future::pending().await,
            Some(Forgotten::Reset) => reset(connection),
            Some(Forgotten::Closed) | None => drop(connection),
        }
    }
}

fn reset_when_dropped(connection: TcpStream) {
    reset(&BufReader::new(connection));
}
