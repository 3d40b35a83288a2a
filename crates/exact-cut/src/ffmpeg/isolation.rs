//! What a process that becomes ffmpeg gives up for good. Decoders read files from outside; one with an exploitable bug must
//! not reach the network, other processes, or files that are none of its business.
//!
//! - **No new privileges**: no program that is started later has more rights (prctl(2), `PR_SET_NO_NEW_PRIVS`).
//! - **Landlock** (landlock(7)): the files of the run may be read and written, the libraries of the system may be read, and
//!   only ffmpeg may be started. TCP, signals to other processes and abstract sockets are refused too, as far as the kernel
//!   knows how. Needs Linux 5.13.
//! - **seccomp** (seccomp(2)): no sockets, no other processes, no access to other processes, no change of the system. Needs no
//!   special kernel.
//!
//! **One exec.** ffmpeg itself is started under these filters, so one `execve` must pass. A filter sees addresses, not the
//! text at them. It lets the one `execve` pass whose path lies at the address that holds ffmpeg's path now. Once ffmpeg runs,
//! that address means nothing. A program that guesses it has one try: any other `execve` ends the process.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::io::Errno;
use rustix::process::getpid;
use rustix::thread::set_no_new_privs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// The newest rules that this file knows. An older kernel enforces what it can.
const LANDLOCK: ABI = ABI::V6;
/// May be read: libraries and what libc looks up. A static ffmpeg needs none of them.
const READABLE: [&str; 10] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/opt/lib",
    "/etc/ld.so.cache",
    "/dev/null",
    "/dev/urandom",
    "/sys/devices/system/cpu",
];
/// Dynamic linkers, which the kernel starts for a program that is not static.
const LINKERS: [&str; 2] = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
/// System calls that are refused, whatever their arguments: sockets, other processes, other ways to make system calls,
/// and changes of the system.
const REFUSED: [i64; 49] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_acct,
    libc::SYS_personality,
    libc::SYS_settimeofday,
];
/// x86-64 has a second set of numbers for the same calls, which begins here (`__X32_SYSCALL_BIT`, asm/unistd.h).
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Isolates this process, which is about to become the program of `command` with files in `folders`. Returns what the kernel
/// refuses, each with the reason; the rest holds.
pub(super) fn isolate(command: &Command, folders: &[&Path]) -> Vec<String> {
    let program = command.get_program();
    [
        ("no_new_privs", set_no_new_privs(true).map_err(|error| error.to_string())),
        ("Landlock", restrict_files(Path::new(program), folders)),
        ("seccomp", restrict_calls(program).map_err(|error| error.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, result)| Some(format!("{name}: {}", result.err()?)))
    .collect()
}

fn restrict_files(program: &Path, folders: &[&Path]) -> Result<(), String> {
    match landlocked(program, folders) {
        Ok(RulesetStatus::NotEnforced) => Err("this kernel does not have it".to_owned()),
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn landlocked(program: &Path, folders: &[&Path]) -> Result<RulesetStatus, RulesetError> {
    let (all, read) = (AccessFs::from_all(LANDLOCK), AccessFs::ReadFile | AccessFs::ReadDir);
    let run: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::Execute;
    let ruleset = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules([program], run))?
        .add_rules(path_beneath_rules(LINKERS, run))?
        .add_rules(path_beneath_rules(READABLE, read))?
        .add_rules(path_beneath_rules(folders, all & !AccessFs::Execute))?;
    let null = PathFd::new("/dev/null").map(|null| PathBeneath::new(null, AccessFs::WriteFile));
    let ruleset = ruleset.add_rules(null.into_iter().map(Ok::<_, RulesetError>))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

fn restrict_calls(program: &OsStr) -> Result<(), seccompiler::Error> {
    let mut refused: Rules = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let own = u64::from(getpid().as_raw_nonzero().get().cast_unsigned());
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        refused.insert(call, vec![rule(0, Length::Dword, Is::Ne, own)?]);
    }
    // its first argument is the process; 0 is the caller
    refused.insert(libc::SYS_prlimit64, vec![rule(0, Length::Dword, Is::Ne, 0)?]);
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    refused.insert(libc::SYS_clone, vec![rule(0, Length::Qword, Is::MaskedEq(thread), 0)?]);
    #[cfg(target_arch = "x86_64")]
    refused.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    // its arguments lie in memory, where no filter sees them; libc makes threads by clone instead
    let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let path = program.as_bytes().as_ptr().addr() as u64;
    let other_exec = vec![rule(0, Length::Qword, Is::Ne, path)?];
    let fatal = Rules::from([(libc::SYS_execve, other_exec), (libc::SYS_execveat, Vec::new())]);
    for (rules, action) in [
        (refused, SeccompAction::Errno(errno(Errno::PERM))),
        (unknown, SeccompAction::Errno(errno(Errno::NOSYS))),
        (fatal, SeccompAction::KillProcess),
    ] {
        apply_filter(&filter(&rules, action)?)?;
    }
    Ok(())
}

fn rule(argument: u8, length: Length, operator: Is, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])
}

/// Returns a filter that answers calls that fit one of `rules` with `action`, and lets all others pass. A call without rules
/// fits always.
fn filter(rules: &Rules, action: SeccompAction) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = rules.clone();
    #[cfg(target_arch = "x86_64")]
    rules.extend(rules.clone().into_iter().map(|(call, rules)| (call | X32, rules)));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, std::env::consts::ARCH.try_into()?)?;
    filter.try_into()
}

fn errno(errno: Errno) -> u32 {
    errno.raw_os_error().cast_unsigned()
}

/// Returns whether a program is a script. Scripts start other programs, which isolation forbids.
pub(super) fn is_script(program: &Path) -> io::Result<bool> {
    let mut start = [0; 2];
    let read = io::Read::read(&mut std::fs::File::open(program)?, &mut start)?;
    Ok(start[..read] == *b"#!")
}
