//! The function in a control group: the kernel counts the memory of the function and of ffmpeg, and kills what takes more.

use std::path::{Path, PathBuf};

use testkit::footage::{Footage, X264};
use testkit::random::{number_from_env, unique_name};

use crate::compare_pictures::GROUP;
use crate::fixture::Fixture;
use crate::hostile::{Case, one};
use crate::worker::Worker;

/// The widths of `THUMBNAIL_SIZES` by default, and the one that all scenarios have.
const WIDTHS: &str = "64 300 640 1500 3000";
const SIZES: [(usize, usize); 4] = [(320, 180), (1280, 720), (1920, 1080), (3840, 2160)];

/// A control group with a limit of memory. It is removed when this is dropped.
struct ControlGroup {
    folder: PathBuf,
}

impl ControlGroup {
    /// Makes a group of `mib` MiB, or returns `None` if this machine does not allow it.
    fn new(mib: u64) -> Option<Self> {
        let bytes = (mib << 20).to_string();
        for (parent, limits) in [
            ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]),
            ("/sys/fs/cgroup", ["memory.max", "memory.swap.max"]),
        ] {
            let folder = Path::new(parent).join(unique_name("exact-cut"));
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self { folder };
            let [memory, swap] = limits.map(|limit| group.folder.join(limit));
            if std::fs::write(memory, &bytes).is_ok() {
                // a machine without swap has no such file
                let _ = std::fs::write(swap, if parent.ends_with("memory") { &bytes } else { "0" });
                return Some(group);
            }
        }
        println!("not tried: this machine does not allow control groups");
        None
    }

    /// Returns a command that starts a program in the group.
    fn launcher(&self) -> Vec<String> {
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\"", self.folder.display());
        ["/bin/sh", "-c", &join].map(str::to_owned).to_vec()
    }

    /// Returns how many processes the kernel has killed for want of memory.
    fn killed(&self) -> u64 {
        let files = ["memory.oom_control", "memory.events"].map(|name| self.folder.join(name));
        let text: String = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("a kernel that counts").trim().parse().expect("a number")
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // the processes of the group have ended, or are about to
        for _ in 0..1000 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        println!("not removed: {}", self.folder.display());
    }
}

fn recording((width, height): (usize, usize)) -> Vec<u8> {
    let options = format!("{X264} -bf 2 -g {GROUP} -maxrate 6M -bufsize 6M");
    let footage = Footage { size: (width, height), options, ..Footage::default() };
    std::fs::read(footage.file()).expect("drawn")
}

/// Returns whether a clip of `size` is made with `mib` MiB, or `None` if that cannot be tried here. Otherwise the request
/// fails because of memory, and the kernel kills nothing.
async fn is_made(size: (usize, usize), mib: u64) -> Option<bool> {
    let group = ControlGroup::new(mib)?;
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
