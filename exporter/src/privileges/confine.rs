//! What files, ports and processes the exporter can still reach: landlock(7), Linux 5.13 and later.

use std::{io, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use log::Level;

use super::sys;

/// Linux 6.12. What an older kernel does not know is left out.
const LANDLOCK: ABI = ABI::V6;

/// Where aya and the C library read about this machine, whatever the flags say.
const ALWAYS_READABLE: [&str; 2] = ["/proc", "/sys"];

/// Where ip-netns(8) mounts the names of namespaces, in a directory that it creates when it needs it.
const RUN: &str = "/run";

/// Why a thread is not confined.
#[derive(Debug, thiserror::Error)]
pub enum Unconfined {
    /// The kernel is too old or was built without it. Runtimes also answer so for what is younger than
    /// their seccomp profile.
    #[error("there is no Landlock: it needs Linux 5.13 with CONFIG_SECURITY_LANDLOCK=y")]
    Absent,
    /// Who booted the kernel did not ask for it.
    #[error("Landlock is off: add landlock to lsm= on the kernel's command line")]
    Off,
    /// A sandbox is in the way.
    #[error("Landlock is refused: allow landlock_* and prctl in the seccomp profile: {0}")]
    Refused(String),
}

impl Unconfined {
    /// How much it matters: who runs the exporter chooses its sandbox, but often not the kernel.
    pub fn level(&self) -> Level {
        match self {
            Self::Absent | Self::Off => Level::Info,
            Self::Refused(_) => Level::Warn,
        }
    }
}

impl From<RulesetError> for Unconfined {
    fn from(error: RulesetError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// From now on this thread can open files only for reading and only below `/proc`, `/sys` and
/// `readable`, list the names in `/run`, execute nothing, bind no TCP port, connect to none, and signal
/// no other process. What is open stays open. TCP ports come with Linux 6.7, signals with 6.12.
///
/// # Errors
///
/// Nothing has changed, and why.
pub fn confine(readable: &[impl AsRef<Path>]) -> Result<(), Unconfined> {
    sys::try_landlock().map_err(why_not)?;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::Signal)?
        .create()?;
    for path in ALWAYS_READABLE
        .iter()
        .map(Path::new)
        .chain(readable.iter().map(AsRef::as_ref))
    {
        rules = allow(rules, path, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    rules = allow(rules, Path::new(RUN), AccessFs::ReadDir.into())?;
    rules.restrict_self()?;
    Ok(())
}

/// From now on this thread can open no file at all, nor do anything else that [`confine`] takes away, nor
/// reach an abstract Unix socket. What is open stays open.
///
/// # Errors
///
/// Nothing has changed, and why.
pub fn confine_to_nothing() -> Result<(), Unconfined> {
    sys::try_landlock().map_err(why_not)?;
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .restrict_self()?;
    Ok(())
}

fn why_not(error: io::Error) -> Unconfined {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Unconfined::Absent,
        Some(libc::EOPNOTSUPP) => Unconfined::Off,
        _ => Unconfined::Refused(error.to_string()),
    }
}

/// A path that is not there needs no rule; who wants it says so better.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(fd) => rules.add_rule(PathBeneath::new(fd, access)),
        Err(_) => Ok(rules),
    }
}
