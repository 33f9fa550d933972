//! The text of `/proc/kallsyms`: which function an address is in. Pure.
//!
//! The file has the symbols of the kernel image in the order of their addresses, then those of
//! modules, ftrace trampolines, BPF programs and kprobes, each in its own order
//! (`kernel/kallsyms.c: update_iter_mod`, v5.10). With CONFIG_KALLSYMS_ALL data is among them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::name;

/// How far behind a symbol an address may be and still belong to it. Nothing in the file says
/// where a module's code ends. The largest gap between two functions of a 6.18 kernel is 20 KiB.
pub const MAX_FUNCTION: u64 = 64 * 1024;

/// Above what a line of the kernel's has: an address, a letter, and names of a symbol and a module
/// (KSYM_NAME_LEN, 512).
const MAX_LINE: u64 = 4096;

/// Whether the kernel shows its addresses to this reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Yes.
    Shown,
    /// No, they are all zero: the file was opened without CAP_SYSLOG, or `kernel.kptr_restrict`
    /// is 2. No address gets a name, and this stays so until the file is opened again.
    Hidden,
    /// There is not one symbol, so this is not the kernel's file.
    Nothing,
}

/// A function, as far as drops are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name without what the compiler appends to clones and parts of functions, such as
    /// `.cold`, `.isra.0`, `.constprop.0`, `.llvm.123`.
    pub name: Arc<str>,
    /// Where it lives.
    pub home: Home,
}

/// Where a function lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Home {
    /// In the kernel image, for good.
    #[default]
    Image,
    /// In a module, BPF program or trampoline, which can vanish: `[name]` follows the symbol.
    Module,
}

/// Finds the function of each wanted address in one pass over text like
///
/// ```text
/// ffffffff81e629f0 T __dev_queue_xmit
/// ffffffffc0001000 t nft_do_chain<TAB>[nf_tables]
/// ```
///
/// That is the function that starts at the address, or else the nearest one that starts below it.
/// Wanted addresses without one are missing from the result. Lines need not be sorted: only those
/// of the kernel image are. What is not such a line is skipped.
///
/// # Errors
///
/// Those of the reader.
pub fn parse_kallsyms(
    mut reader: impl BufRead,
    wanted: &[u64],
) -> io::Result<HashMap<u64, Function>> {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    wanted.dedup();

    // A symbol is of use to the first wanted address that is not below it, and to the next ones
    // only if nothing lies between: nearest[i] starts above wanted[i - 1].
    let mut nearest = vec![Nearest::default(); wanted.len()];
    let mut line = Vec::new();
    while next_line(&mut reader, &mut line)? {
        let Some(symbol) = Symbol::parse(&line) else {
            continue;
        };
        let Some(kind) = symbol.kind() else { continue };
        let first = wanted.partition_point(|&address| address < symbol.address);
        if let Some(nearest) = nearest.get_mut(first) {
            nearest.improve(&symbol, kind);
        }
    }
    Ok(attribute(&wanted, &nearest))
}

/// Reads until an address that is not zero, and to the end if there is none.
///
/// # Errors
///
/// Those of the reader.
pub fn visibility(mut reader: impl BufRead) -> io::Result<Visibility> {
    let mut visibility = Visibility::Nothing;
    let mut line = Vec::new();
    while next_line(&mut reader, &mut line)? {
        match Symbol::parse(&line) {
            // Per-CPU symbols of older x86 kernels begin at a true 0: go on looking.
            Some(symbol) if symbol.address == 0 => visibility = Visibility::Hidden,
            Some(_) => return Ok(Visibility::Shown),
            None => {}
        }
    }
    Ok(visibility)
}

/// Gives each wanted address its own nearest symbol, or that of the address below it.
fn attribute(wanted: &[u64], nearest: &[Nearest]) -> HashMap<u64, Function> {
    let mut functions = HashMap::new();
    let mut last: Option<(u64, Function)> = None;
    for (&address, nearest) in wanted.iter().zip(nearest) {
        if nearest.address != 0 {
            last = nearest.function().map(|f| (nearest.address, f));
        }
        if let Some((start, function)) = &last
            && address - start < MAX_FUNCTION
        {
            functions.insert(address, function.clone());
        }
    }
    functions
}

/// Reads the next line, or as much of it as can be one; false at the end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut reader = reader.take(MAX_LINE);
    Ok(reader.read_until(b'\n', line)? > 0)
}

/// What a symbol is good for; of several at one address, the first is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    GlobalFunction,
    LocalFunction,
    WeakFunction,
    /// The end of what is below it, and not a function: data, or a mark between sections.
    #[default]
    Boundary,
}

/// One line.
struct Symbol<'a> {
    address: u64,
    /// As `nm` prints it.
    letter: u8,
    name: &'a [u8],
    home: Home,
}

impl<'a> Symbol<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|field| !field.is_empty());
        let address = parse_hex(fields.next()?)?;
        let &[letter] = fields.next()? else {
            return None;
        };
        let name = fields.next()?;
        let home = match fields.next() {
            Some(_) => Home::Module,
            None => Home::Image,
        };
        Some(Self {
            address,
            letter,
            name,
            home,
        })
    }

    /// `None` if the symbol says nothing about the code around it.
    fn kind(&self) -> Option<Kind> {
        // Padding and type hash in front of a function: nothing there runs as a function of its
        // own (kernel/kprobes.c: is_cfi_preamble_symbol, v6.11).
        let is_padding = self.name.starts_with(b"__pfx_") || self.name.starts_with(b"__cfi_");
        if self.address == 0 || is_padding {
            return None;
        }
        match self.letter {
            b'T' | b't' | b'W' | b'w' if is_section_mark(self.name) => Some(Kind::Boundary),
            b'T' => Some(Kind::GlobalFunction),
            b't' => Some(Kind::LocalFunction),
            b'W' | b'w' => Some(Kind::WeakFunction),
            b'B' | b'b' | b'D' | b'd' | b'R' | b'r' => Some(Kind::Boundary),
            // Absolute symbols and the like are not places.
            _ => None,
        }
    }
}

/// Whether the linker script made the symbol, to mark where a section begins or ends
/// (`include/asm-generic/vmlinux.lds.h`, v6.12). Code runs right up to such a mark, but what
/// follows it until the next function is padding, or not code at all.
fn is_section_mark(name: &[u8]) -> bool {
    match name {
        b"_text" | b"_stext" | b"_etext" | b"_sinittext" | b"_einittext" | b"_end" => true,
        b"__init_begin" | b"__init_end" => true,
        _ => {
            let mark = name.ends_with(b"_text_start") || name.ends_with(b"_text_end");
            name.starts_with(b"__") && mark
        }
    }
}

/// The nearest symbol so far at or below a wanted address; address 0 for none.
#[derive(Clone, Debug, Default)]
struct Nearest {
    address: u64,
    kind: Kind,
    name: Vec<u8>,
    home: Home,
}

impl Nearest {
    fn improve(&mut self, symbol: &Symbol<'_>, kind: Kind) {
        // As the kernel's own choice among aliases, fewest leading underscores first, where it
        // does not depend on the order of the lines (scripts/kallsyms.c: compare_symbols, v6.12).
        let order = (symbol.address.cmp(&self.address))
            .then_with(|| self.kind.cmp(&kind))
            .then_with(|| underscores(&self.name).cmp(&underscores(symbol.name)))
            .then_with(|| self.name.as_slice().cmp(symbol.name));
        if order == Ordering::Greater {
            self.address = symbol.address;
            self.kind = kind;
            self.name.clear();
            self.name.extend_from_slice(symbol.name);
            self.home = symbol.home;
        }
    }

    fn function(&self) -> Option<Function> {
        (self.kind != Kind::Boundary).then(|| Function {
            name: name::label(without_suffix(&self.name)).into(),
            home: self.home,
        })
    }
}

fn underscores(name: &[u8]) -> usize {
    name.iter().take_while(|&&byte| byte == b'_').count()
}

/// The name up to the first dot, unless it begins with it (as on PowerPC).
pub fn without_suffix(name: &[u8]) -> &[u8] {
    let dot = name.iter().skip(1).position(|&byte| byte == b'.');
    match dot {
        Some(before) => &name[..=before],
        None => name,
    }
}

fn parse_hex(digits: &[u8]) -> Option<u64> {
    if digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a 6.18 kernel (grep them from `/proc/kallsyms`, as root), then such as modules and
    /// BPF programs have, out of order.
    const TEXT: &str = "\
ffffffff81000000 T _stext
ffffffff81247341 t fourcc_string.cold
ffffffff81247390 T __unlikely_text_end
ffffffff81356c80 t __pfx___do_sys_vfork
ffffffff81356c90 t __do_sys_vfork
ffffffff81356c90 T __ia32_sys_vfork
ffffffff81356c90 T __x64_sys_vfork
ffffffff81e5d190 t __pfx_net_tx_action
ffffffff81e5d1a0 t net_tx_action
ffffffff81e629e0 T __pfx___dev_queue_xmit
ffffffff81e629f0 T __dev_queue_xmit
ffffffff81e63920 T __pfx_kick_defer_list_purge
ffffffff82208d80 T __SCT__tp_func_ma_write
ffffffff82208d88 T _etext
ffffffff82400000 D __start_rodata
ffffffffc0301000 t veth_xmit\t[veth]
ffffffffc0300000 t br_handle_frame.isra.0\t[bridge]
ffffffffc0201000 t bpf_prog_6deef7357e7b4530_drop\t[bpf]
";

    fn name_of(address: u64) -> Option<(String, Home)> {
        let mut found = parse_kallsyms(TEXT.as_bytes(), &[address]).unwrap();
        let function = found.remove(&address)?;
        Some((function.name.to_string(), function.home))
    }

    fn image(name: &str) -> Option<(String, Home)> {
        Some((name.into(), Home::Image))
    }

    fn module(name: &str) -> Option<(String, Home)> {
        Some((name.into(), Home::Module))
    }

    #[test]
    fn an_address_belongs_to_the_function_that_starts_at_or_below_it() {
        assert_eq!(name_of(0xffff_ffff_81e6_29f0), image("__dev_queue_xmit"));
        assert_eq!(name_of(0xffff_ffff_81e6_3123), image("__dev_queue_xmit"));
        assert_eq!(name_of(0xffff_ffff_81e5_d1a0), image("net_tx_action"));
    }

    #[test]
    fn padding_in_front_of_a_function_belongs_to_the_one_below() {
        assert_eq!(name_of(0xffff_ffff_81e6_3925), image("__dev_queue_xmit"));
    }

    #[test]
    fn of_several_names_the_global_one_is_taken_whatever_the_order() {
        let address = 0xffff_ffff_8135_6c94;
        let mut lines: Vec<_> = TEXT.lines().collect();
        for _ in 0..lines.len() {
            lines.rotate_left(1);
            let text = lines.join("\n");
            let found = parse_kallsyms(text.as_bytes(), &[address]).unwrap();
            assert_eq!(&*found[&address].name, "__ia32_sys_vfork");
        }
    }

    #[test]
    fn lines_of_modules_need_no_order_and_what_the_compiler_appended_is_cut() {
        assert_eq!(name_of(0xffff_ffff_c030_0010), module("br_handle_frame"));
        assert_eq!(name_of(0xffff_ffff_c030_1010), module("veth_xmit"));
        let bpf = module("bpf_prog_6deef7357e7b4530_drop");
        assert_eq!(name_of(0xffff_ffff_c020_1001), bpf);
        assert_eq!(name_of(0xffff_ffff_8124_7380), image("fourcc_string"));
    }

    #[test]
    fn addresses_outside_all_code_have_no_function() {
        for address in [
            0,
            0xffff_ffff_80ff_ffff, // below everything
            0xffff_ffff_8124_7390, // behind a section
            0xffff_ffff_8220_8d90, // behind the text
            0xffff_ffff_8240_0010, // in data
            0xffff_ffff_c030_1000 + MAX_FUNCTION,
            u64::MAX,
        ] {
            assert_eq!(name_of(address), None, "{address:#x}");
        }
    }

    #[test]
    fn a_name_that_begins_with_a_dot_keeps_it() {
        for (name, stripped) in [
            (".kfree_skb", ".kfree_skb"),
            (".kfree_skb.part.0", ".kfree_skb"),
            ("kfree_skb.llvm.123", "kfree_skb"),
            (".", "."),
            ("", ""),
        ] {
            assert_eq!(without_suffix(name.as_bytes()), stripped.as_bytes());
        }
    }

    #[test]
    fn lines_that_are_not_symbols_are_skipped() {
        let text = "\n\nffff\nffff T\nwhat T is_this\n11112222333344445 T long\n\
            1000 TT two\n+1000 T sign\n1000 T good\n1008 U undefined\n1009";
        let found = parse_kallsyms(text.as_bytes(), &[0x1008]).unwrap();
        assert_eq!(&*found[&0x1008].name, "good");
    }

    #[test]
    fn all_zero_addresses_are_hidden_ones() {
        let hidden = TEXT.lines().map(|l| format!("{:016}{}\n", 0, &l[16..]));
        let hidden: String = hidden.collect();
        assert_eq!(visibility(hidden.as_bytes()).unwrap(), Visibility::Hidden);
        let shown = hidden + TEXT;
        assert_eq!(visibility(shown.as_bytes()).unwrap(), Visibility::Shown);
    }

    #[test]
    fn text_without_a_symbol_is_not_the_kernels() {
        for text in ["", "\n", "no symbol\n", "7"] {
            assert_eq!(visibility(text.as_bytes()).unwrap(), Visibility::Nothing);
        }
    }
}
