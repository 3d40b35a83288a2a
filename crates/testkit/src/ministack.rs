//! One ministack for all tests of a process: S3, SQS and SNS on this machine.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::paths::workspace;

/// A running ministack.
pub struct Ministack {
    /// Base URL of all services.
    pub url: String,
    /// When this process ends, in whatever way, the standard input of this shell closes, and the shell kills ministack.
    _guard: Child,
}

/// The ministack of this process.
pub static MINISTACK: LazyLock<Ministack> = LazyLock::new(start);

fn start() -> Ministack {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let url = format!("http://127.0.0.1:{port}");
    let program = workspace().join(".venv/bin/ministack");
    assert!(program.exists(), "{} is missing: run `make install`", program.display());
    let guard = Command::new("sh")
        .args(["-c", "\"$@\" & server=$!; cat > /dev/null; kill -9 $server", "sh"])
        .arg(program)
        .envs([("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "127.0.0.1"), ("AWS_ENDPOINT_URL", &url)])
        .env("GATEWAY_PORT", port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    let give_up = Instant::now() + Duration::from_mins(1);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < give_up, "ministack does not listen on {url}");
        std::thread::sleep(Duration::from_millis(20)); // waits for a process, not for a result
    }
    Ministack { url, _guard: guard }
}
