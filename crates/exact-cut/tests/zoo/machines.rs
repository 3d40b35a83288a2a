//! The same request gives the same bytes on every machine: with one, two and four CPUs, new and old ones, an
//! earlier ffmpeg, and a second time.

use std::os::unix::fs::symlink;
use std::path::Path;

use exact_cut::render::thumbnails::PictureFormat;
use tempfile::TempDir;

use super::{Cut, Zoo, cameras};

/// Names of links to `machine.sh`.
const MACHINES: [&str; 6] = ["cpus-2", "cpus-1", "cpus-4", "old-2", "early-2", "cpus-2"];

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_clip_do_not_depend_on_the_machine() {
    let machines = TempDir::new().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zoo/machine.sh");
    let formats = [PictureFormat::Png, PictureFormat::Jpg].into_iter().cycle();
    for (camera, format) in cameras::various().into_iter().zip(formats) {
        let zoo = Zoo::open(&camera, format);
        let mut first: Option<Vec<Vec<u8>>> = None;
        for machine in MACHINES {
            let ffmpeg = machines.path().join(machine);
            let _ = symlink(&script, &ffmpeg);
            let Cut { rendered, scratch, .. } = zoo.cut(&ffmpeg, &camera.name, camera.spans[0]).await;
            let clip = scratch.path().join("clip.mp4");
            let pictures = rendered.thumbnails.iter().map(|thumbnail| &thumbnail.path);
            let files: Vec<Vec<u8>> =
                [&clip].into_iter().chain(pictures).map(|path| std::fs::read(path).expect("readable")).collect();
            let first = first.get_or_insert_with(|| files.clone());
            let same = first.iter().zip(&files).map(|(first, now)| first == now).collect::<Vec<_>>();
            let name = &camera.name;
            assert!(same.iter().all(|same| *same), "{name} on {machine}: clip and thumbnails are the same: {same:?}");
        }
    }
}
