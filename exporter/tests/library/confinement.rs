//! What Landlock takes away, in a thread of its own, because there is no way back.

use std::{
    fs::{self, File},
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use netdrop_exporter::privileges;

/// Does something in a confined thread.
fn confined<T: Send>(readable: &[&Path], work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let confined = scope.spawn(|| {
            privileges::confine(readable).expect("confine");
            work()
        });
        confined.join().expect("the thread")
    })
}

fn denied<T>(result: std::io::Result<T>) -> bool {
    result.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
}

/// Whether this kernel has Landlock, and in which version (`landlock_create_ruleset(2)`).
fn landlock_version() -> i64 {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes no pointer and no size.
    #[expect(unsafe_code, reason = "there is no wrapper for it")]
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    }
}

#[test]
fn what_the_exporter_reads_stays_readable() {
    let sysfs = tempfile::tempdir().expect("a directory");
    let file = sysfs.path().join("speed");
    fs::write(&file, "1000").expect("a file");
    confined(&[sysfs.path(), Path::new("/nonexistent")], || {
        fs::read("/proc/self/fdinfo/0").expect("a file in procfs");
        fs::read_dir("/sys/class/net").expect("a directory in sysfs");
        fs::read_dir("/run").expect("the names in /run");
        fs::read(&file).expect("a file below another root");
    });
}

#[test]
fn no_privilege_can_be_gained() {
    let status = confined(&[], || fs::read_to_string("/proc/thread-self/status"));
    let status = status.expect("its status");
    assert!(
        status.lines().any(|line| line == "NoNewPrivs:\t1"),
        "{status}"
    );
}

#[test]
fn nothing_else_can_be_opened_written_or_executed() {
    let has_landlock = landlock_version() >= 1;
    let directory = tempfile::tempdir().expect("a directory");
    let attempts = confined(&[directory.path()], || {
        [
            denied(File::open("/etc/passwd")),
            denied(fs::write(directory.path().join("new"), "")),
            denied(fs::write("/proc/self/comm", "other")),
            denied(Command::new("/bin/true").status()),
        ]
    });
    assert_eq!(attempts, [has_landlock; 4]);
}

#[test]
fn no_connection_can_be_made_and_no_port_taken() {
    // TCP came with the fourth version (Linux 6.7).
    let has_tcp = landlock_version() >= 4;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let attempts = confined(&[], || {
        [
            denied(TcpStream::connect(address)),
            denied(TcpListener::bind("127.0.0.1:0")),
        ]
    });
    assert_eq!(attempts, [has_tcp; 2]);
    TcpStream::connect(address).expect("others can");
}
