//! Control groups (cgroups(7)), version 1 or 2: the kernel limits the function and its ffmpeg together, as on Lambda.

use std::path::{Path, PathBuf};

use testkit::random::unique_name;

/// The period in which a group may use its share of a processor, in µs. It is the kernel's default.
const PERIOD_US: u32 = 100_000;

/// A control group. It is removed when this is dropped.
pub struct ControlGroup {
    folder: PathBuf,
}

impl ControlGroup {
    /// Makes a group that may have `mib` MiB of memory, or returns `None` if this machine does not allow it.
    pub fn of_memory(mib: u64) -> Option<Self> {
        let bytes = (mib << 20).to_string();
        // a machine without swap has no limit of swap, so whether that one can be set does not matter
        let version_1 = [("memory.limit_in_bytes", &*bytes), ("memory.memsw.limit_in_bytes", &*bytes)];
        let version_2 = [("memory.max", &*bytes), ("memory.swap.max", "0")];
        Self::limited("memory", &version_1, &version_2)
    }

    /// Makes a group that may have so many hundredths of one processor, or returns `None` if this machine does not allow
    /// it.
    pub fn of_processor(percent: u32) -> Option<Self> {
        let (quota, period) = ((PERIOD_US / 100 * percent).to_string(), PERIOD_US.to_string());
        let version_2 = format!("{quota} {period}");
        let version_1 = [("cpu.cfs_quota_us", &*quota), ("cpu.cfs_period_us", &*period)];
        Self::limited("cpu", &version_1, &[("cpu.max", &version_2)])
    }

    /// Makes a group with a limit of `controller`: files and what to write to them. The first file must be there.
    fn limited(controller: &str, version_1: &[(&str, &str)], version_2: &[(&str, &str)]) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let name = unique_name(&format!("exact-cut-{}", std::process::id()));
        for (parent, limits) in [(root.join(controller), version_1), (root.to_owned(), version_2)] {
            let folder = parent.join(&name);
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self { folder };
            let written = limits.iter().map(|(file, limit)| std::fs::write(group.folder.join(file), limit).is_ok());
            if written.collect::<Vec<_>>()[0] {
                return Some(group);
            }
        }
        println!("not tried: this machine does not allow control groups with a limit of {controller}");
        None
    }

    /// Returns a command that starts a program in the group.
    pub fn launcher(&self) -> Vec<String> {
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\"", self.folder.display());
        ["/bin/sh", "-c", &join].map(str::to_owned).to_vec()
    }

    /// Returns how many processes the kernel has killed for want of memory.
    pub fn killed(&self) -> u64 {
        self.count(&["memory.oom_control", "memory.events"], "oom_kill")
    }

    /// Returns in how many periods the group had to wait for its share of the next one.
    pub fn throttled(&self) -> u64 {
        self.count(&["cpu.stat"], "nr_throttled")
    }

    /// Returns what the kernel counts under `name` in one of `files`.
    fn count(&self, files: &[&str], name: &str) -> u64 {
        let texts = files.iter().filter_map(|file| std::fs::read_to_string(self.folder.join(file)).ok());
        let text: String = texts.collect();
        let count = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
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
