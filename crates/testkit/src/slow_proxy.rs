//! A proxy that lets what a client sends through slowly, or from some point on not at all. Answers pass at once.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Bytes that the system takes for the proxy before the proxy reads them. With more, most of an upload would have left
/// the client before the proxy could slow it down.
const RECEIVE_BUFFER: u32 = 128 << 10;

/// How fast the bytes of a connection pass.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes that pass at once.
    pub portion: usize,
    /// Pause after each portion.
    pub pause: Duration,
    /// Bytes after which nothing passes any more.
    pub most: usize,
}

/// A proxy. It ends when this is dropped.
#[derive(Debug)]
pub struct SlowProxy {
    /// Host and port.
    pub address: String,
    listener: JoinHandle<()>,
}

impl Drop for SlowProxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl SlowProxy {
    /// Starts a proxy before `server`, a host with a port.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn before(server: &str, pace: Pace) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("an option of sockets");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = socket.local_addr().expect("bound").to_string();
        let listener = socket.listen(64).expect("listens");
        let server = server.to_owned();
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(&server).await {
                    tokio::spawn(forward(client, server, pace));
                }
            }
        });
        Self { address, listener }
    }
}

async fn forward(client: TcpStream, server: TcpStream, pace: Pace) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let sends = async {
        let (mut buffer, mut passed, mut in_portion) = (vec![0; pace.portion], 0, 0);
        while passed < pace.most {
            let Ok(length @ 1..) = from_client.read(&mut buffer[in_portion..]).await else { return };
            if to_server.write_all(&buffer[in_portion..][..length]).await.is_err() {
                return;
            }
            passed += length;
            in_portion = (in_portion + length) % pace.portion;
            if in_portion == 0 {
                tokio::time::sleep(pace.pause).await; // the pause is the fault
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sends => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}
