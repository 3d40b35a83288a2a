//! One ministack for all tests of a process.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Ministack, and its address.
pub struct Server {
    pub url: String,
    /// Its standard input: when this process ends, however it does, it closes, and the shell around ministack kills it.
    _guard: Child,
}

pub static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let url = format!("http://127.0.0.1:{port}");
    let ministack = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/ministack");
    assert!(ministack.exists(), "{} is missing: run `make install`", ministack.display());
    let guard = Command::new("sh")
        .args(["-c", "\"$@\" & server=$!; cat > /dev/null; kill -9 $server", "sh"])
        .arg(ministack)
        .envs([("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "127.0.0.1"), ("AWS_ENDPOINT_URL", &url)])
        .env("GATEWAY_PORT", port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    let patience = Instant::now() + Duration::from_mins(1);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < patience, "ministack does not listen on {url}");
        std::thread::sleep(Duration::from_millis(20)); // waiting for a process, not for a result
    }
    Server { url, _guard: guard }
});
