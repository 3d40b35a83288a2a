//! What a person types, against the local stack: `cargo lambda invoke` with each event of `create_test_event.py` ends
//! in the status that the event is named after.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use testkit::footage::Footage;
use testkit::paths::workspace;

/// The local stack without the function, in a folder of its own.
struct Local {
    folder: TempDir,
    stack: Value,
    /// A shell that stops the stack, and waits for its end, when its standard input closes.
    guard: Child,
}

impl Drop for Local {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn python(script: &[&str]) -> Command {
    let mut command = Command::new(workspace().join(".venv/bin/python"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(script).current_dir(workspace());
    command.env("PATH", format!("{}:{path}", workspace().join(".venv/bin").display()));
    command
}

impl Local {
    fn start(recordings: &[(&str, PathBuf)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let shown = folder.path().join("recordings");
        std::fs::create_dir(&shown).expect("made");
        for (name, file) in recordings {
            std::fs::copy(file, shown.join(name)).expect("copied");
        }
        let python = python(&["-m", "scripts.local.local"]);
        let guard = Command::new("sh")
            .args(["-c", "\"$@\" < /dev/null & stack=$!; cat > /dev/null; kill $stack; wait $stack", "sh"])
            .arg(python.get_program())
            .args(python.get_args())
            .args(["--any-port", "--no-function", "--recordings"])
            .args([&shown, Path::new("--folder"), folder.path(), Path::new("--env-file")])
            .arg(folder.path().join("env"))
            .current_dir(workspace())
            .envs(python.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sh");
        let mut local = Self { folder, stack: Value::Null, guard };
        let give_up = Instant::now() + Duration::from_mins(1);
        let described = local.folder.path().join("stack.json");
        while !described.exists() {
            assert!(Instant::now() < give_up, "the local stack did not start: see its messages above");
            std::thread::sleep(Duration::from_millis(20)); // waits for a process, not for a result
        }
        local.stack = serde_json::from_slice(&std::fs::read(described).expect("readable")).expect("JSON");
        local
    }

    /// Runs the function on `event`, and returns the statuses that were PUT for its clip.
    async fn invoke(&self, event: &Path) -> Vec<String> {
        let mut invoke = python(&["-m", "scripts.local.invoke"]);
        invoke.arg("--event").arg(event).arg("--env-file").arg(self.folder.path().join("env"));
        let output = invoke.stdin(Stdio::null()).output().expect("python");
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {messages}", event.display());
        let event: Value = serde_json::from_slice(&std::fs::read(event).expect("readable")).expect("JSON");
        let body = event["Records"][0]["body"].as_str().expect("a body").replace('\'', "\"");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let api = self.stack["camera_api_url"].as_str().expect("an address");
        let clip = body["clipId"].as_str().expect("an id");
        let history = reqwest::get(format!("{api}/cameras/clips/{clip}/history")).await.expect("an answer");
        let puts: Vec<Value> = serde_json::from_slice(&history.bytes().await.expect("a body")).expect("a list");
        puts.iter().map(|put| put["status"].as_str().expect("a status").to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_leads_to_the_status_that_it_is_named_after() {
    // ten minutes of small pictures; the committed event asks for one minute of them
    let footage = Footage { frames: 3000, rate: "5", size: (192, 108), ..Footage::default() }.file();
    let recordings = ["test.20180916T173017000.mp4", "test.20180916T174017000.mp4"];
    let local = Local::start(&recordings.map(|name| (name, footage.clone())));
    let committed = workspace().join("tests/sample_event.json");
    assert_eq!(local.invoke(&committed).await, ["CLIP_AVAILABLE"], "the sample of the contract as it stands");
    let event = local.folder.path().join("event.json");
    for (option, status) in [
        ("-a", "CLIP_AVAILABLE"),
        ("-p", "CLIP_PENDING"),
        ("-n", "CLIP_NOT_AVAILABLE"),
        ("-o", "CLIP_OUT_OF_RANGE"),
        ("-t", "CLIP_TOO_LONG"),
    ] {
        let mut create = python(&["scripts/create_test_event.py", option]);
        let created = create.arg("--output").arg(&event).status().expect("python");
        assert!(created.success(), "create_test_event.py {option}");
        assert_eq!(local.invoke(&event).await, [status], "{option}");
    }
}
