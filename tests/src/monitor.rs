//! The monitor of the emulator that this machine runs in (`tests/kernels/run.sh`): its second serial port.

use std::fs;
use std::process::Command;

const PORT: &str = "/dev/ttyS1";

/// Gives the emulator a command.
///
/// # Panics
/// When there is no such port.
pub fn tell(command: &str) {
    // Or what the monitor says would be sent back to it as commands.
    let raw = ["-F", PORT, "raw", "-echo"];
    let status = Command::new("stty").args(raw).status().unwrap();
    assert!(status.success(), "stty: {status}");
    // What it has sent back before it was told not to ends here.
    fs::write(PORT, format!("\n{command}\n")).unwrap();
}
