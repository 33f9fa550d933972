//! Finds the tools that compile for BPF, and runs them so that only the inputs decide the result.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

/// What to do where a tool is missing.
const REMEDY: &str = "packaging/bpf-toolchain.sh sets the toolchain up";

const CARGO_ARGS: [&str; 8] = [
    "-Zbuild-std=core",
    // No path of this machine gets into the object, so every checkout gives the same bytes.
    "-Ztrim-paths",
    "--config=profile.bpf.trim-paths=\"all\"",
    "--locked",
    "--target=bpfel-unknown-none",
    "--profile=bpf",
    "--package=netdrop-ebpf",
    "--bin=netdrop",
];

const RUSTC_ARGS: [&str; 4] = [
    "-Clinker=bpf-linker",
    "-Clink-arg=--btf",
    // BTF is made from the debug information.
    "-Cdebuginfo=2",
    // aya-ebpf would take the building machine's; one object serves all of them, because it reads
    // no registers.
    "--cfg=bpf_target_arch=\"x86_64\"",
];

/// DWARF is nine tenths of the object and no loader reads it. BTF stays.
const OBJCOPY_ARGS: [&str; 1] = ["--strip-debug"];

/// Every option that decides the bytes of the object.
pub(crate) fn recipe() -> impl Iterator<Item = &'static str> {
    CARGO_ARGS.into_iter().chain(RUSTC_ARGS).chain(OBJCOPY_ARGS)
}

/// All that it takes.
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: Tool,
    pub(crate) objcopy: Tool,
}

/// A rustc that has the sources of its library, and the cargo beside it.
pub(crate) struct Compiler {
    sysroot: PathBuf,
    /// For example `1.96.0 (ac68faa20 2026-05-25)`.
    pub(crate) version: String,
    /// The version of its LLVM.
    pub(crate) llvm: String,
}

/// A program and its version.
pub(crate) struct Tool {
    path: PathBuf,
    pub(crate) version: String,
}

impl Toolchain {
    /// Prefers the compiler of version `rustc`: with it, the object can come out the same.
    pub(crate) fn find(rustc: Option<&str>) -> Result<Self> {
        let mut compilers: Vec<Compiler> = sysroots().filter_map(Compiler::in_sysroot).collect();
        ensure!(
            !compilers.is_empty(),
            "no Rust compiler with the sources of its library was found ({REMEDY})"
        );
        let preferred = compilers
            .iter()
            .position(|compiler| Some(&*compiler.version) == rustc);
        let compiler = compilers.swap_remove(preferred.unwrap_or(0));
        let linker = Tool::find(installed("bpf-linker"))
            .with_context(|| format!("bpf-linker was not found ({REMEDY})"))?;
        let objcopy = Tool::find(compiler.objcopies())
            .with_context(|| format!("llvm-objcopy was not found ({REMEDY})"))?;
        Ok(Self {
            compiler,
            linker,
            objcopy,
        })
    }

    /// Tells cargo to come back when a tool was replaced.
    pub(crate) fn watch(&self) {
        for path in [
            &self.compiler.rustc(),
            &self.linker.path,
            &self.objcopy.path,
        ] {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }

    /// Compiles, links and strips; returns the object.
    pub(crate) fn build_object(&self, workspace: &Path, out_dir: &Path) -> Result<Vec<u8>> {
        let target_dir = out_dir.join("bpf");
        // The remapping below needs to know where cargo unpacks the packages.
        run(self.cargo(workspace).args(["fetch", "--locked"]))?;
        run(self
            .cargo(workspace)
            .arg("build")
            .args(CARGO_ARGS)
            .arg("--target-dir")
            .arg(&target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags()))?;
        let stripped = out_dir.join("stripped.o");
        run(Command::new(&self.objcopy.path)
            .args(OBJCOPY_ARGS)
            .arg(target_dir.join("bpfel-unknown-none/bpf/netdrop"))
            .arg(&stripped))?;
        fs::read(&stripped).context("read the object that was built")
    }

    /// The compiler's cargo, without what the outer cargo set for its own build.
    fn cargo(&self, workspace: &Path) -> Command {
        let mut cargo = Command::new(self.compiler.sysroot.join("bin/cargo"));
        cargo.current_dir(workspace);
        for (name, _) in env::vars_os().filter(|(name, _)| !passes_on(&name.to_string_lossy())) {
            cargo.env_remove(name);
        }
        let linker_dir = self.linker.path.parent().map(Path::to_path_buf);
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = linker_dir.into_iter().chain(env::split_paths(&path));
        if let Ok(path) = env::join_paths(directories) {
            cargo.env("PATH", path);
        }
        // Lets a stable compiler take the -Z options.
        cargo
            .env("RUSTC", self.compiler.rustc())
            .env("RUSTC_BOOTSTRAP", "1");
        cargo
    }
}

/// Whether the inner cargo may see this variable: all but those that steer a build, or point the
/// dynamic linker to another compiler's libraries.
fn passes_on(name: &str) -> bool {
    let network = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
    ];
    let steering = [
        "CARGO",
        "RUST",
        "AYA_",
        "LD_LIBRARY_PATH",
        "MAKEFLAGS",
        "MFLAGS",
    ];
    let starts_with_one_of = |prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
    starts_with_one_of(&network) || !starts_with_one_of(&steering)
}

fn rustflags() -> OsString {
    let mut flags = OsString::from(RUSTC_ARGS.join("\x1f"));
    // The name of this directory depends on the registry's address, which may be a mirror's.
    let registries = fs::read_dir(cargo_home().join("registry/src"));
    for registry in registries.into_iter().flatten().flatten() {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(registry.path());
        flags.push("=/crates.io");
    }
    flags
}

fn cargo_home() -> PathBuf {
    let home = || env::home_dir().unwrap_or_default().join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// Where a program of this name may be.
fn installed(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
    directories.push(cargo_home().join("bin"));
    directories
        .into_iter()
        .map(move |directory| directory.join(name))
}

/// Of the current toolchain, of rustup's nightly, and of the distribution's compiler.
fn sysroots() -> impl Iterator<Item = PathBuf> {
    let current = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut nightly = Command::new("rustup");
    // A build must not install a toolchain.
    nightly
        .args(["run", "nightly", "rustc"])
        .env("RUSTUP_AUTO_INSTALL", "0");
    [
        Command::new(current),
        nightly,
        Command::new("/usr/bin/rustc"),
    ]
    .into_iter()
    .filter_map(|mut rustc| {
        let sysroot = run(rustc.args(["--print", "sysroot"])).ok()?;
        Some(sysroot.trim().into())
    })
}

impl Compiler {
    fn in_sysroot(sysroot: PathBuf) -> Option<Self> {
        let sources = sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml");
        if !sources.exists() || !sysroot.join("bin/cargo").exists() {
            return None;
        }
        let about = run(Command::new(sysroot.join("bin/rustc")).arg("-vV")).ok()?;
        let after = |prefix| about.lines().find_map(|line| line.strip_prefix(prefix));
        let version = after("rustc ")?.to_owned();
        let llvm = after("LLVM version: ")?.to_owned();
        Some(Self {
            sysroot,
            version,
            llvm,
        })
    }

    fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    /// Where an objcopy of its LLVM may be: Debian's, rustup's, anyone's.
    fn objcopies(&self) -> impl Iterator<Item = PathBuf> {
        let major = self.llvm.split('.').next().unwrap_or_default();
        let debian = format!("/usr/lib/llvm-{major}/bin/llvm-objcopy").into();
        let host = env::var("HOST").unwrap_or_default();
        let rustup = self
            .sysroot
            .join(format!("lib/rustlib/{host}/bin/rust-objcopy"));
        [debian, rustup]
            .into_iter()
            .chain(installed("llvm-objcopy"))
    }
}

impl Tool {
    /// The first that runs.
    fn find(candidates: impl IntoIterator<Item = PathBuf>) -> Option<Self> {
        candidates.into_iter().find_map(|path| {
            let about = run(Command::new(&path).arg("--version")).ok()?;
            let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
            let version = about.split_whitespace().find(is_version)?.to_owned();
            Some(Self { path, version })
        })
    }
}

/// Runs to the end and returns what it printed.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("{name} failed (its output is below)");
    }
    String::from_utf8(output.stdout).with_context(|| format!("read what {name} printed"))
}
