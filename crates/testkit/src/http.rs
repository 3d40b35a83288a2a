//! HTTP/1.1 on bare sockets. A fault needs more control over the bytes than an HTTP library gives.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub type Connection = BufReader<TcpStream>;

/// A request or an answer with its whole body.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    #[must_use]
    pub fn request(method: &str, target: &str, host: &str) -> Self {
        let headers = vec![("Host".to_owned(), host.to_owned())];
        Self { start: format!("{method} {target} HTTP/1.1"), headers, body: Vec::new() }
    }

    #[must_use]
    pub fn answer(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let mut answer = Self { start: format!("HTTP/1.1 {status} X"), headers: Vec::new(), body: body.into() };
        answer.set("Content-Length", &answer.body.len().to_string());
        answer
    }

    #[must_use]
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Returns path and query of a request.
    #[must_use]
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    #[must_use]
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let headers: String = self.headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
        [&self.start, "\r\n", &headers, "\r\n"].concat().into_bytes()
    }
}

/// Reads the next message, or `None` if the other side has closed the connection between two messages. The answer to a
/// HEAD request (`to_head`) has no body, whatever its header says.
///
/// # Errors
/// If the connection breaks or the message is not HTTP.
pub async fn read(connection: &mut Connection, to_head: bool) -> io::Result<Option<Message>> {
    let Some(start) = line(connection).await? else { return Ok(None) };
    let mut message = Message { start, ..Message::default() };
    while let Some(header) = line(connection).await?.filter(|line| !line.is_empty()) {
        let (name, value) = header.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        message.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if message.header("Expect").is_some() {
        connection.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        message.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Expect"));
    }
    if to_head || matches!(message.status(), 204 | 304) {
        return Ok(Some(message));
    }
    if message.header("Transfer-Encoding").is_some() {
        loop {
            let size = line(connection).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = size.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            let from = message.body.len();
            message.body.resize(from + size, 0);
            connection.read_exact(&mut message.body[from..]).await?;
            line(connection).await?;
            if size == 0 {
                break;
            }
        }
        message.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Transfer-Encoding"));
        message.set("Content-Length", &message.body.len().to_string());
    } else if let Some(length) = message.header("Content-Length") {
        message.body = vec![0; length.parse().map_err(|_| io::ErrorKind::InvalidData)?];
        connection.read_exact(&mut message.body).await?;
    }
    Ok(Some(message))
}

async fn line(connection: &mut Connection) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = connection.read_line(&mut line).await?;
    Ok((length > 0).then(|| line.trim_end().to_owned()))
}

/// Writes a message.
///
/// # Errors
/// If the connection breaks.
pub async fn write(connection: &mut Connection, message: &Message) -> io::Result<()> {
    connection.get_mut().write_all(&[message.head(), message.body.clone()].concat()).await
}

/// Calls a server that does not misbehave.
///
/// # Errors
/// If the connection breaks.
pub async fn call(address: &str, request: &Message) -> io::Result<Message> {
    let mut connection = BufReader::new(TcpStream::connect(address).await?);
    write(&mut connection, request).await?;
    let answer = read(&mut connection, request.method() == "HEAD").await?;
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Prepares a connection so that the other side sees a reset when it is dropped.
pub fn reset(connection: &Connection) {
    let _ = socket2::SockRef::from(connection.get_ref()).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_message_survives_the_wire_and_chunks_are_joined() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.expect("a connection");
            let mut connection = BufReader::new(connection);
            let request = read(&mut connection, false).await.expect("HTTP").expect("a request");
            let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
            connection.get_mut().write_all(chunked).await.expect("written");
            request
        });
        let mut request = Message::request("PUT", "/a/b?c=d", "host");
        request.body = b"12345".to_vec();
        request.set("Content-Length", "5");
        let answer = call(&address, &request).await.expect("an answer");
        assert_eq!((answer.status(), &answer.body[..]), (200, &b"abcde"[..]));
        let seen = server.await.expect("no panic");
        assert_eq!((seen.method(), seen.path(), seen.target()), ("PUT", "/a/b", "/a/b?c=d"));
        assert_eq!((seen.header("host"), &seen.body[..]), (Some("host"), &b"12345"[..]));
    }
}
