//! One reading of one module, half a page after the other.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{
    helper::{End, ReadError},
    module::{Doubt, HalfPage, Module, Pages, decode, next},
    table::{Cause, Port},
};

/// How often half a page is tried that somebody else keeps busy.
const TRIES: u32 = 3;

/// How long what a module's maker wrote counts as true.
const STATIC_LASTS: Duration = Duration::from_secs(600);

/// What a reading came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The module said something.
    Read(Box<Read>),
    /// There is no module, or no driver that could read it.
    Empty,
    /// Nothing of it can be believed, or read.
    Failed(Cause, String),
    /// The helper is gone.
    Ended(End),
    /// The exporter stops.
    Stopped,
}

/// What the module said.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) module: Module,
    pub(super) pages: Pages,
    /// Whether what does not change was read, too.
    pub(super) is_whole: bool,
    /// What could not be read.
    pub(super) troubles: Vec<(Cause, String)>,
}

/// Reads half a page, and rests afterwards.
pub(super) trait Slices {
    /// Whether it was told to stop while it rested is an error, too.
    fn read(&mut self, half: HalfPage) -> Result<Vec<u8>, SliceError>;
}

/// Why there is no half page.
#[derive(Debug)]
pub(super) enum SliceError {
    /// See there.
    Read(ReadError),
    /// The exporter stops.
    Stopped,
}

/// Reads the module in a port, of which this is known.
pub(super) fn read(slices: &mut impl Slices, known: &Port, now: Instant) -> Outcome {
    match Reading::new(slices, known, now).run() {
        Ok(read) => Outcome::Read(Box::new(read)),
        Err(outcome) => outcome,
    }
}

struct Reading<'a, S> {
    slices: &'a mut S,
    known: &'a Port,
    /// Whether what is known and does not change may still be taken for true.
    is_fresh: bool,
    pages: Pages,
    is_whole: bool,
    troubles: Vec<(Cause, String)>,
}

impl<'a, S: Slices> Reading<'a, S> {
    fn new(slices: &'a mut S, known: &'a Port, now: Instant) -> Self {
        let is_fresh = |at| now.saturating_duration_since(at) < STATIC_LASTS;
        Self {
            slices,
            known,
            is_fresh: known.static_at.is_some_and(is_fresh),
            pages: Pages::new(),
            is_whole: true,
            troubles: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Read, Outcome> {
        while let Some(half) = next(&self.pages) {
            let bytes = if self.is_fresh && self.known.knows(half, &self.pages) {
                self.is_whole = false;
                self.known.pages.raw(half).to_vec()
            } else {
                self.half(half)?
            };
            self.pages.set(half, bytes);
        }
        let module = self.decode()?;
        let module = self.check_again(module)?;
        let doubts = module.doubts.iter();
        let doubts = doubts.map(|&doubt| (Cause::from(doubt), doubt.to_string()));
        let mut troubles = self.troubles;
        // What could not be read is missing, which has been said.
        if troubles.is_empty() {
            troubles.extend(doubts);
        }
        Ok(Read {
            module,
            pages: self.pages,
            is_whole: self.is_whole,
            troubles,
        })
    }

    fn decode(&self) -> Result<Module, Outcome> {
        decode(&self.pages).map_err(|why| Outcome::Failed(why.into(), why.to_string()))
    }

    /// A wrong checksum is the module's own if it is there again in the next reading. If not, something
    /// between here and the module is at fault, and what it gave is no reading.
    fn check_again(&mut self, module: Module) -> Result<Module, Outcome> {
        let was_so = |doubt| {
            let before = self.known.module.as_ref();
            before.is_some_and(|it| {
                it.identity == module.identity && it.doubts.contains(&Doubt::Checksum(doubt))
            })
        };
        let doubtful = module.doubts.iter().filter_map(|doubt| match doubt {
            Doubt::Checksum(half) if !was_so(*half) => Some(*half),
            _ => None,
        });
        let doubtful: Vec<_> = doubtful.collect();
        for &half in &doubtful {
            let again = self.half(half)?;
            let covered = half.checked();
            let first = self.pages.raw(half);
            if first.get(..covered) != again.get(..covered) {
                return Err(Outcome::Failed(
                    Cause::Checksum,
                    format!("{half} reads differently each time"),
                ));
            }
            self.pages.set(half, again);
        }
        if doubtful.is_empty() {
            return Ok(module);
        }
        self.decode()
    }

    /// Reads half a page. Without those that say what the module is there is nothing to go on with.
    fn half(&mut self, half: HalfPage) -> Result<Vec<u8>, Outcome> {
        let mut tries = 0;
        let error = loop {
            tries += 1;
            match self.slices.read(half) {
                Ok(bytes) => return Ok(bytes),
                Err(SliceError::Stopped) => return Err(Outcome::Stopped),
                Err(SliceError::Read(ReadError::Ended(end))) => return Err(Outcome::Ended(end)),
                Err(SliceError::Read(ReadError::Refused(Errno::BUSY | Errno::AGAIN)))
                    if tries < TRIES => {}
                Err(SliceError::Read(error)) => break error,
            }
        };
        let why = format!("{half}: {error}");
        let cause = match error {
            ReadError::Refused(Errno::NODEV | Errno::NXIO | Errno::OPNOTSUPP) => {
                return Err(Outcome::Empty);
            }
            ReadError::Refused(Errno::BUSY | Errno::AGAIN) => Cause::Busy,
            ReadError::Refused(Errno::INVAL) => Cause::Refused,
            ReadError::Refused(_) | ReadError::Ended(_) => Cause::Io,
            ReadError::Silent => Cause::Silent,
        };
        let is_identity = matches!(half, HalfPage::Lower | HalfPage::Page00);
        if is_identity || cause == Cause::Silent {
            return Err(Outcome::Failed(cause, why));
        }
        self.troubles.push((cause, why));
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests;
