//! The function in a control group: the kernel counts the memory of the function and of ffmpeg, and kills what takes more.

use testkit::footage::{Footage, X264};
use testkit::random::number_from_env;

use crate::compare_pictures::GROUP;
use crate::control_group::ControlGroup;
use crate::fixture::Fixture;
use crate::hostile::{Case, one};
use crate::worker::Worker;

/// The widths of `THUMBNAIL_SIZES` by default, and the one that all scenarios have.
const WIDTHS: &str = "64 300 640 1500 3000";
const SIZES: [(usize, usize); 4] = [(320, 180), (1280, 720), (1920, 1080), (3840, 2160)];

fn recording((width, height): (usize, usize)) -> Vec<u8> {
    let options = format!("{X264} -bf 2 -g {GROUP} -maxrate 6M -bufsize 6M");
    let footage = Footage { size: (width, height), options, ..Footage::default() };
    std::fs::read(footage.file()).expect("drawn")
}

/// Returns whether a clip of `size` is made with `mib` MiB, or `None` if that cannot be tried here. Otherwise the request
/// fails because of memory, and the kernel kills nothing.
async fn is_made(size: (usize, usize), mib: u64) -> Option<bool> {
    let group = ControlGroup::of_memory(mib)?;
    let mut worker = Worker { launcher: group.launcher(), ..Worker::start(Fixture::get().await).await };
    worker.variables.push(("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), mib.to_string()));
    worker.variables.retain(|(name, _)| name != "THUMBNAIL_SIZES");
    worker.variables.push(("THUMBNAIL_SIZES".to_owned(), WIDTHS.to_owned()));
    let what = format!("{} × {} in {mib} MiB", size.0, size.1);
    let made = one(&mut worker, &Case { what: what.clone(), bytes: recording(size), shows: None }).await;
    let made = made.unwrap_or_else(|violation| panic!("{what}: {violation}; {}", worker.log()));
    assert_eq!(group.killed(), 0, "{what}: killed for want of memory; {}", worker.log());
    if !made {
        let errors = worker.errors();
        assert!(!errors.is_empty() && errors.iter().all(|error| error.contains("memory")), "{what}: {errors:?}");
    }
    Some(made)
}

#[tokio::test(flavor = "multi_thread")]
async fn clips_of_720_lines_are_made_in_256_mib_and_of_1080_lines_in_512() {
    for (size, mib) in [((1280, 720), 256), ((1920, 1080), 512)] {
        let made = is_made(size, mib).await;
        assert_ne!(made, Some(false), "{size:?} in {mib} MiB");
    }
}

/// The table in docs/operations.md.
#[tokio::test(flavor = "multi_thread")]
async fn table_of_memory_and_picture_sizes() {
    if number_from_env("FAULTS_ALL", 0) == 0 {
        println!("not tried: takes two minutes, set FAULTS_ALL=1");
        return;
    }
    println!("| memory | 320 × 180 | 1280 × 720 | 1920 × 1080 | 3840 × 2160 |\n|---|---|---|---|---|");
    for mib in [128, 192, 256, 384, 512, 768, 1024] {
        let mut row = format!("| {mib} MB |");
        for size in SIZES {
            let Some(made) = is_made(size, mib).await else { return };
            row += if made { " yes |" } else { " no |" };
        }
        println!("{row}");
    }
}
