//! Kernel address to function name: what `/proc/kallsyms` said, remembered.
//!
//! The kernel checks who may see addresses when the file is opened and keeps the answer with the
//! open file (`kernel/kallsyms.c: kallsyms_open`, `kallsyms_show_value`, v5.10), so a reader that
//! stays open outlives a dropped CAP_SYSLOG. Whoever may not see them reads zeros.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::kallsyms::{self, Home, Visibility};
use super::masked;

/// How long the name of an address outside the kernel image is believed, and how long an address
/// without a name is not looked up again. Modules and BPF programs come and go, and their
/// addresses are used again.
pub const VOLATILE_TTL: Duration = Duration::from_secs(60);

/// How many addresses are remembered, about 2 MB. A kernel has a few thousand places that drop
/// packets, so more than this means that modules were loaded and unloaded many times.
pub const MAX_CACHED: usize = 16_384;

/// The names of kernel addresses, read when they are first needed and then remembered.
///
/// Filled by [`resolve`](Self::resolve). A name in the kernel image stays; other names, and the
/// addresses without one, are forgotten after [`VOLATILE_TTL`]; everything is when there are more
/// than [`MAX_CACHED`].
#[derive(Debug)]
pub struct Symbols<R = File> {
    reader: BufReader<R>,
    cache: HashMap<u64, Cached>,
    unknown: Arc<str>,
}

#[derive(Debug)]
struct Cached {
    name: Arc<str>,
    /// `None` for good.
    expires: Option<Instant>,
}

/// Why no address gets a name.
#[derive(Debug, thiserror::Error)]
pub enum NoSymbols {
    /// The file was opened without CAP_SYSLOG, or `kernel.kptr_restrict` is 2.
    #[error("the kernel hides its addresses")]
    Hidden,
    /// The kernel's file cannot be seen.
    #[error(
        "something is mounted over it: unmask it in the container (podman: --security-opt \
         unmask=/proc/kallsyms, docker: --security-opt systempaths=unconfined, Kubernetes: procMount: \
         Unmasked), leave ProtectKernelTunables= out of the unit"
    )]
    Masked,
    /// The kernel was built without.
    #[error("there is none: the kernel needs CONFIG_KALLSYMS=y")]
    Absent,
    /// The kernel has it, and this procfs shows only processes.
    #[error(
        "there is none: procfs is mounted with subset=pid, leave ProcSubset=pid out of the unit"
    )]
    SubsetPid,
    /// The file is there, and cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

impl Symbols<File> {
    /// Opens `kallsyms` under `procfs`. Do this before dropping CAP_SYSLOG.
    ///
    /// # Errors
    ///
    /// No address would get a name, as long as the file stays open.
    pub fn open(procfs: &Path) -> Result<Self, NoSymbols> {
        match masked::open(&procfs.join("kallsyms")) {
            Ok(Some(file)) => Self::new(file),
            Ok(None) => Err(NoSymbols::Masked),
            // Every kernel has the other one.
            Err(e) if e.kind() == ErrorKind::NotFound && !procfs.join("version").exists() => {
                Err(NoSymbols::SubsetPid)
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Err(NoSymbols::Absent),
            Err(e) => Err(e.into()),
        }
    }
}

impl<R: Read + Seek> Symbols<R> {
    /// Over the text of `/proc/kallsyms`, of which it reads no more than it takes to find an
    /// address that is not hidden.
    ///
    /// # Errors
    ///
    /// Reading failed, or no address would get a name.
    pub fn new(reader: R) -> Result<Self, NoSymbols> {
        let mut reader = BufReader::new(reader);
        match kallsyms::visibility(&mut reader)? {
            Visibility::Shown => Ok(Self {
                reader,
                cache: HashMap::new(),
                unknown: Arc::default(),
            }),
            Visibility::Hidden => Err(NoSymbols::Hidden),
            Visibility::Nothing => Err(NoSymbols::Masked),
        }
    }

    /// Makes [`name`](Self::name) know these addresses, in one pass over the file if any of them
    /// is new or forgotten, otherwise without reading.
    ///
    /// # Errors
    ///
    /// Reading failed. The addresses have no name then, and are not tried again for
    /// [`VOLATILE_TTL`].
    pub fn resolve(&mut self, addresses: &[u64], now: Instant) -> io::Result<()> {
        let known = |a| self.cache.get(a).is_some_and(|c| !c.has_expired(now));
        if addresses.iter().all(known) {
            return Ok(());
        }
        let wanted = self.make_room(addresses, now);
        let found = self
            .reader
            .rewind()
            .and_then(|()| kallsyms::parse_kallsyms(&mut self.reader, &wanted));

        let expires = Some(now + VOLATILE_TTL);
        let (found, result) = match found {
            Ok(found) => (found, Ok(())),
            Err(error) => (HashMap::new(), Err(error)),
        };
        for address in wanted {
            let cached = match found.get(&address) {
                Some(function) => Cached {
                    name: Arc::clone(&function.name),
                    expires: expires.filter(|_| function.home == Home::Module),
                },
                None => Cached {
                    name: Arc::clone(&self.unknown),
                    expires,
                },
            };
            self.cache.insert(address, cached);
        }
        result
    }

    /// The function at this address, as of the last [`resolve`](Self::resolve) that was given it;
    /// empty when unknown.
    pub fn name(&self, address: u64) -> Arc<str> {
        let name = self.cache.get(&address).map_or(&self.unknown, |c| &c.name);
        Arc::clone(name)
    }

    /// Forgets what is out of date, and returns which addresses the next pass shall look for: also
    /// those that are still known but will expire, so that they do so together and one pass a
    /// [`VOLATILE_TTL`] is enough.
    fn make_room(&mut self, addresses: &[u64], now: Instant) -> Vec<u64> {
        let mut wanted = addresses.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        self.cache.retain(|_, cached| !cached.has_expired(now));
        if self.cache.len() + wanted.len() > MAX_CACHED {
            self.cache.clear();
            wanted.truncate(MAX_CACHED);
        }
        wanted.retain(|a| self.cache.get(a).is_none_or(|c| c.expires.is_some()));
        wanted
    }
}

impl Cached {
    fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Cursor, SeekFrom};
    use std::rc::Rc;

    use super::*;

    const TEXT: &str = "\
ffffffff81e422c0 T sk_skb_reason_drop
ffffffff81e629f0 T __dev_queue_xmit
ffffffffc0001000 t nft_do_chain\t[nf_tables]
";
    const IMAGE: u64 = 0xffff_ffff_81e6_2a00;
    const MODULE: u64 = 0xffff_ffff_c000_1010;
    const NOWHERE: u64 = 0xffff_ffff_d000_0000;

    /// A file that counts how often it is read from its start, and can break.
    struct Watched {
        text: Cursor<String>,
        passes: Rc<Cell<usize>>,
        broken: Rc<Cell<bool>>,
    }

    impl Read for Watched {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.broken.get() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.text.read(buffer)
        }
    }

    impl Seek for Watched {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.passes.set(self.passes.get() + 1);
            self.text.seek(to)
        }
    }

    struct Fixture {
        symbols: Symbols<Watched>,
        passes: Rc<Cell<usize>>,
        broken: Rc<Cell<bool>>,
        start: Instant,
    }

    impl Fixture {
        fn new(text: &str) -> Self {
            let passes = Rc::new(Cell::new(0));
            let broken = Rc::new(Cell::new(false));
            let symbols = Symbols::new(Watched {
                text: Cursor::new(text.into()),
                passes: Rc::clone(&passes),
                broken: Rc::clone(&broken),
            });
            Self {
                symbols: symbols.unwrap(),
                passes,
                broken,
                start: Instant::now(),
            }
        }

        fn resolve(&mut self, addresses: &[u64], seconds: u64) {
            let now = self.start + Duration::from_secs(seconds);
            self.symbols.resolve(addresses, now).unwrap();
        }
    }

    #[test]
    fn a_drain_is_resolved_in_one_pass_and_remembered() {
        let mut f = Fixture::new(TEXT);
        f.resolve(&[IMAGE, NOWHERE, MODULE, IMAGE], 0);
        f.resolve(&[MODULE, IMAGE], 59);
        assert_eq!(&*f.symbols.name(IMAGE), "__dev_queue_xmit");
        assert_eq!(&*f.symbols.name(MODULE), "nft_do_chain");
        assert_eq!(&*f.symbols.name(NOWHERE), "");
        assert_eq!(f.passes.get(), 1);
    }

    #[test]
    fn names_in_modules_and_unknown_addresses_are_looked_up_again_after_a_minute() {
        let mut f = Fixture::new(TEXT);
        f.resolve(&[IMAGE, MODULE], 0);
        f.resolve(&[NOWHERE, MODULE], 40);
        assert_eq!(f.passes.get(), 2);
        f.resolve(&[IMAGE, MODULE], 99);
        assert_eq!(f.passes.get(), 2, "the second pass renewed the module");

        let text = TEXT.replace("nft_do_chain", "nft_do_reload");
        *f.symbols.reader.get_mut().text.get_mut() = text;
        f.resolve(&[IMAGE, MODULE], 100);
        assert_eq!(f.passes.get(), 3);
        assert_eq!(&*f.symbols.name(MODULE), "nft_do_reload");
        f.resolve(&[IMAGE], 1_000_000);
        assert_eq!(f.passes.get(), 3, "the kernel image stays");
    }

    #[test]
    fn a_file_that_gives_no_address_a_name_is_refused() {
        let hidden = "0000000000000000 T _text\n0000000000000000 t foo\t[bar]\n";
        let opened = |text: &str| Symbols::new(Cursor::new(text.to_owned())).expect_err(text);
        assert!(matches!(opened(hidden), NoSymbols::Hidden));
        assert!(matches!(opened(""), NoSymbols::Masked));
    }

    #[test]
    fn a_missing_file_is_told_from_one_that_procfs_does_not_show() {
        let procfs = tempfile::tempdir().expect("a directory");
        let opened = || Symbols::open(procfs.path()).expect_err("no kallsyms");
        assert!(matches!(opened(), NoSymbols::SubsetPid));
        std::fs::write(procfs.path().join("version"), "Linux").expect("a file");
        assert!(matches!(opened(), NoSymbols::Absent));
        std::fs::create_dir(procfs.path().join("kallsyms")).expect("a directory");
        assert!(matches!(opened(), NoSymbols::Masked));
    }

    #[test]
    fn a_failed_pass_is_reported_once_a_minute_and_spoils_no_name() {
        let mut f = Fixture::new(TEXT);
        f.resolve(&[IMAGE], 0);
        f.broken.set(true);
        let both = [IMAGE, MODULE];
        assert!(f.symbols.resolve(&both, f.start).is_err());
        f.resolve(&both, 59);
        assert_eq!(&*f.symbols.name(IMAGE), "__dev_queue_xmit");
        f.broken.set(false);
        f.resolve(&both, 60);
        assert_eq!(&*f.symbols.name(MODULE), "nft_do_chain");
    }

    #[test]
    fn the_cache_is_bounded_and_still_knows_the_last_drain() {
        let mut f = Fixture::new(TEXT);
        let count = MAX_CACHED as u64 / 2;
        f.resolve(&[MODULE], 0);
        for drain in 0..4 {
            let first = NOWHERE + drain * count;
            let mut addresses: Vec<_> = (first..first + count).collect();
            addresses.push(IMAGE);
            f.resolve(&addresses, drain);
            assert!(f.symbols.cache.len() <= MAX_CACHED);
            assert_eq!(&*f.symbols.name(IMAGE), "__dev_queue_xmit");
        }
    }

    #[test]
    fn the_running_kernel_tells_its_functions_where_it_does_not_hide_them() {
        let Ok(mut symbols) = Symbols::open(Path::new("/proc")) else {
            return; // It hides them, or has none.
        };
        let text = std::fs::read_to_string("/proc/kallsyms").unwrap();
        let line = text
            .lines()
            .find(|l| l.ends_with(" T kfree_skbmem") || l.ends_with(" t kfree_skbmem"));
        let address = line.map_or(0, |l| u64::from_str_radix(&l[..16], 16).unwrap());
        symbols.resolve(&[address + 1], Instant::now()).unwrap();
        let expected = line.map_or("", |_| "kfree_skbmem");
        assert_eq!(&*symbols.name(address + 1), expected);
    }
}
