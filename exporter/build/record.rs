//! What is known about a built object: `exporter-ebpf/netdrop.bpf.toml`.

use std::fmt;

use crate::{inputs, toolchain::Toolchain};

/// One object, what it was built from and with.
pub(crate) struct Record {
    /// [`inputs::digest`] at that time.
    pub(crate) inputs: String,
    /// SHA-256 of the object.
    pub(crate) object: String,
    /// The compiler's version.
    pub(crate) rustc: String,
    /// The version of the LLVM in that compiler.
    pub(crate) llvm: String,
    /// The linker's version. It links against the LLVM of [`Record::objcopy`] on Debian.
    pub(crate) bpf_linker: String,
    /// The version of the LLVM whose objcopy removed the DWARF sections.
    pub(crate) objcopy: String,
}

impl Record {
    /// The record of an object that was just built.
    pub(crate) fn new(inputs: &str, object: &[u8], toolchain: &Toolchain) -> Self {
        Self {
            inputs: inputs.to_owned(),
            object: inputs::sha256(object),
            rustc: toolchain.compiler.version.clone(),
            llvm: toolchain.compiler.llvm.clone(),
            bpf_linker: toolchain.linker.version.clone(),
            objcopy: toolchain.objcopy.version.clone(),
        }
    }

    /// Reads what `Display` writes; `None` if a line is missing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value = |wanted: &str| {
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .find(|(key, _)| *key == wanted)
                .map(|(_, value)| value.trim_matches('"').to_owned())
        };
        Some(Self {
            inputs: value("inputs-sha256")?,
            object: value("object-sha256")?,
            rustc: value("rustc")?,
            llvm: value("llvm")?,
            bpf_linker: value("bpf-linker")?,
            objcopy: value("llvm-objcopy")?,
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# What netdrop.bpf.o was built from and with; packaging/bpf-object.sh --update writes it."
        )?;
        writeln!(f, "inputs-sha256 = \"{}\"", self.inputs)?;
        writeln!(f, "object-sha256 = \"{}\"", self.object)?;
        writeln!(f, "rustc = \"{}\"", self.rustc)?;
        writeln!(f, "llvm = \"{}\"", self.llvm)?;
        writeln!(f, "bpf-linker = \"{}\"", self.bpf_linker)?;
        writeln!(f, "llvm-objcopy = \"{}\"", self.objcopy)
    }
}
