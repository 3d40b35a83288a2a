//! The same request gives the same bytes on every machine: with one, two and four CPUs, new ones and old ones, and again.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::{Zoo, cameras};
use crate::stack::Stack;

/// Names of links to `machine.sh`.
const MACHINES: [&str; 5] = ["cpus-2", "cpus-1", "cpus-4", "old-2", "cpus-2"];

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_clip_do_not_depend_on_the_machine() {
    let stack = Arc::new(Stack::start().await);
    let machines = TempDir::new().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/machine.sh");
    for (camera, pictures) in cameras::various().into_iter().zip(["png", "jpg"].into_iter().cycle()) {
        let (zoo, _) = Zoo::open(Arc::clone(&stack), &camera, PathBuf::new(), pictures).await;
        let mut first: Option<Vec<Vec<u8>>> = None;
        for machine in MACHINES {
            let ffmpeg = machines.path().join(machine);
            let _ = symlink(&script, &ffmpeg);
            let (rendered, _, _scratch) = zoo.cut(&ffmpeg, &camera.name, camera.spans[0]).await;
            let pictures = rendered.thumbnails.iter().map(|thumbnail| &thumbnail.path);
            let files: Vec<Vec<u8>> = [&rendered.clip]
                .into_iter()
                .chain(pictures)
                .map(|path| std::fs::read(path).expect("readable"))
                .collect();
            let first = first.get_or_insert_with(|| files.clone());
            let same = first.iter().zip(&files).map(|(first, now)| first == now).collect::<Vec<_>>();
            assert!(
                same.iter().all(|same| *same),
                "{} on {machine}: clip and thumbnails the same: {same:?}",
                camera.name
            );
        }
    }
}
