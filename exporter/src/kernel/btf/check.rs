//! Whether bytes may be given to btf-rs. Pure.
//!
//! It reserves memory for as much as a header claims, and searches the end of a name to the end of
//! the file. The kernel accepts no such BTF, so what is refused here is damaged (`btf_parse_hdr`,
//! `btf_parse_str_sec` and `__btf_name_valid` in `kernel/bpf/btf.c`).

use std::io::{self, Read};

/// Above what a kernel takes for a name (KSYM_NAME_LEN, 512), so that it may grow. The longest in a
/// 6.18 kernel has 104 bytes.
const MAX_NAME: usize = 4096;

/// `struct btf_header` (`include/uapi/linux/btf.h`).
const HEADER: usize = 24;

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

/// Reads BTF from its beginning to its end: are both sections in the file, and do all names end?
///
/// # Errors
///
/// Those of the reader, or [`io::ErrorKind::InvalidData`] with what is wrong.
pub fn check(mut btf: impl Read) -> io::Result<()> {
    let mut header = [0; HEADER];
    btf.read_exact(&mut header)?;
    let sections = Sections::of(&header);
    let (mut at, mut name) = (HEADER, 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let len = match btf.read(&mut chunk) {
            Ok(0) => break,
            Ok(len) => len,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let in_chunk = |place: usize| place.saturating_sub(at).min(len);
        let names = in_chunk(sections.names_start)..in_chunk(sections.names_end);
        for &byte in &chunk[names] {
            name = if byte == 0 { 0 } else { name + 1 };
            if name > MAX_NAME {
                return Err(damaged("a name without an end"));
            }
        }
        at += len;
    }
    if at < sections.types_end || at < sections.names_end {
        return Err(damaged("the file ends before its sections"));
    }
    if name > 0 {
        return Err(damaged("the last name has no end"));
    }
    Ok(())
}

/// Where the sections are in the file.
struct Sections {
    types_end: usize,
    names_start: usize,
    names_end: usize,
}

impl Sections {
    /// In the byte order of this machine, as the kernel that runs has it. What is of the other one
    /// looks too long, and is refused as that.
    fn of(header: &[u8; HEADER]) -> Self {
        // After magic, version and flags, that btf-rs looks at.
        let (fields, _) = header[4..].as_chunks();
        let field = |n: usize| u32::from_ne_bytes(fields[n]) as usize;
        let [header_len, types, types_len, names, names_len] = [0, 1, 2, 3, 4].map(field);
        let names_start = header_len + names;
        Self {
            types_end: header_len + types + types_len,
            names_start,
            names_end: names_start + names_len,
        }
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
