//! Recordings that are put anew, longer, while they are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use serde_json::json;
use tempfile::TempDir;
use testkit::footage::{Footage, X264};
use testkit::http;
use testkit::ministack::MINISTACK;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};

use crate::stack::{Put, Stack, T0, body, record};

const NAME: &str = "test.20180916T173017000.mp4";

/// Returns ten seconds in fragments of half a second, large enough for several reads.
fn fragmented() -> PathBuf {
    let options = format!("{X264} -bf 0 -g 15 -qp 20 -movflags +frag_keyframe+empty_moov+default_base_moof");
    Footage { frames: 300, options, ..Footage::default() }.file()
}

/// The first fragments of a file, one more each time they are asked for.
struct Growing {
    bytes: Vec<u8>,
    /// Where fragments end.
    ends: Vec<usize>,
    puts: AtomicUsize,
    most: usize,
    folder: TempDir,
}

impl Growing {
    /// Returns a file that grows at most so many times.
    fn new(most: usize) -> Self {
        let bytes = std::fs::read(fragmented()).expect("readable");
        let moofs = bytes.windows(4).enumerate().filter(|(_, name)| *name == b"moof").map(|(at, _)| at - 4);
        let ends = moofs.skip(8).collect();
        Self { bytes, ends, puts: AtomicUsize::new(0), most, folder: TempDir::new().expect("a folder") }
    }

    /// Returns the file, a fragment longer than before, unless it has stopped growing.
    fn next(&self) -> Option<PathBuf> {
        let number = self.puts.fetch_add(1, Ordering::Relaxed);
        let end = self.ends.get(number).filter(|_| number <= self.most)?;
        let path = self.folder.path().join(number.to_string());
        std::fs::write(&path, &self.bytes[..*end]).expect("written");
        Some(path)
    }
}

/// Serves a proxy to ministack on which each read of the recording but the first bytes finds it put anew. Returns its URL.
async fn proxy(stack: Arc<Stack>, growing: Arc<Growing>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(forward(connection, Arc::clone(&stack), Arc::clone(&growing)));
        }
    });
    url
}

async fn forward(connection: TcpStream, stack: Arc<Stack>, growing: Arc<Growing>) -> Option<()> {
    let mut connection = BufReader::new(connection);
    while let Ok(Some(request)) = http::read(&mut connection, false).await {
        let reads_on =
            request.method() == "GET" && request.path().ends_with(NAME) && request.header("If-Match").is_some();
        if let Some(file) = Some(()).filter(|()| reads_on).and_then(|()| growing.next()) {
            stack.put(NAME, &file).await;
        }
        let server = MINISTACK.url.trim_start_matches("http://").trim_end_matches('/');
        let mut answer = http::call(server, &request).await.ok()?;
        if request.target().contains("versionId") {
            answer = part_of(&answer, request.header("Range")?)?;
        }
        let head = request.method() == "HEAD";
        let whole = if head { http::Message { body: Vec::new(), ..answer } } else { answer };
        http::write(&mut connection, &whole).await.ok()?;
    }
    Some(())
}

/// Returns a range of an object. ministack 1.5.33 answers with all of it if a version is asked for; S3 does not (Amazon S3 API
/// Reference, `GetObject`).
fn part_of(answer: &http::Message, range: &str) -> Option<http::Message> {
    if answer.status() != 200 {
        return Some(answer.clone());
    }
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    let body = answer.body.get(from..=to)?.to_vec();
    let mut part = http::Message { start: "HTTP/1.1 206 X".to_owned(), headers: answer.headers.clone(), body };
    part.headers.retain(|(name, _)| !name.to_lowercase().starts_with("x-amz-checksum")); // those of the whole object
    part.set("Content-Length", &part.body.len().to_string());
    part.set("Content-Range", &format!("bytes {from}-{to}/{}", answer.body.len()));
    Some(part)
}

/// Asks for a clip while its recording grows so many times. Returns the statuses that were PUT, and whether the record failed.
async fn asked(growths: usize, keeps_versions: bool) -> (Vec<String>, bool) {
    let stack = Arc::new(Stack::start().await);
    if keeps_versions {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let keep = stack.s3.put_bucket_versioning().bucket(stack.bucket("origin")).versioning_configuration(enabled);
        keep.send().await.expect("versions");
    }
    let growing = Arc::new(Growing::new(growths));
    let file = growing.next().expect("the first version");
    let file: &Path = &file;
    stack.recordings(&[Put { name: NAME, file, listed: (T0, T0 + 10_000) }]).await;
    let url = proxy(Arc::clone(&stack), growing).await;
    let event = json!({"Records": [record("a", &body("clip", 600, 2100), 60_000)]});
    let answer = stack.function_through(&url, &[("REPORT_BATCH_ITEM_FAILURES", "true")]).invoke(event).await;
    let failed = answer.is_err() || answer.is_ok_and(|answer| !answer.batch_item_failures.is_empty());
    let puts = stack.camera.puts();
    (puts.iter().filter_map(|put| put["status"].as_str().map(str::to_owned)).collect(), failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_is_put_anew_is_begun_again_once() {
    let available = (vec!["CLIP_AVAILABLE".to_owned()], false);
    let comes_back = (Vec::new(), true);
    for (growths, keeps_versions, outcome) in [
        (0, false, &available),
        (1, false, &available),
        (1, true, &available),
        // the version that was opened second counts, if it can be read
        (20, true, &available),
        (20, false, &comes_back),
    ] {
        assert_eq!(
            &asked(growths, keeps_versions).await,
            outcome,
            "put anew {growths} times, versions: {keeps_versions}"
        );
    }
}
