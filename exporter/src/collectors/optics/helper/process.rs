//! The helper itself: it reads halves of pages for the exporter, and keeps CAP_NET_ADMIN to do so.
//!
//! It looks at nothing that a module wrote. Whoever takes it over all the same can send any generic
//! netlink command that CAP_NET_ADMIN allows, because a filter of system calls does not see into
//! messages. That is why it hears nothing but questions of a fixed size from a fixed list.

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::{
    event::{Timespec, poll},
    io::{Errno, retry_on_intr},
    net::{RecvFlags, SendFlags, recv, send},
    process::{Signal, set_parent_process_death_signal},
    stdio::stdin,
    thread::{CapabilitySet, set_name},
};

use super::{
    filter, sys,
    wire::{Answer, Question},
};
use crate::{
    collectors::optics::module::HALF,
    error::one_line,
    kernel::netlink::{
        ethtool::{
            self,
            module_eeprom::{self, Place},
        },
        genl::{self, Family},
        socket::{AskError, NetlinkSocket},
    },
    privileges::{self, Privileged},
};

/// After each reading it rests as long as that took, but at least and at most so long. So whoever asks
/// cannot make it hold the RTNL lock for more than half of the time.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(10));

/// A stop is for the exporter, which may be told together with its helper; that ends when the exporter
/// has.
const IGNORED: [libc::c_int; 5] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// Exit status.
const SUCCESS: i32 = libc::EXIT_SUCCESS;
const FAILURE: i32 = libc::EXIT_FAILURE;

/// Answers the questions that come on standard input, which is a socket, until nobody can ask any more.
pub fn run() -> ! {
    let socket = stdin();
    let prepared = Reader::open(socket);
    let hello = prepared.as_ref().err().map(one_line).unwrap_or_default();
    // A text, so that it never is the end of the stream.
    let said = send(socket, format!("{hello}\n").as_bytes(), SendFlags::NOSIGNAL);
    match prepared {
        // Before its socket is closed, which the filter forbids, too.
        Ok(mut reader) if said.is_ok() => sys::exit(reader.serve(socket)),
        _ => sys::exit(FAILURE),
    }
}

struct Reader {
    netlink: NetlinkSocket,
    ethtool: Family,
}

impl Reader {
    /// Opens what is needed, and gives up everything else.
    fn open(socket: BorrowedFd<'_>) -> anyhow::Result<Self> {
        set_parent_process_death_signal(Some(Signal::KILL)).context("end with the exporter")?;
        // Only for who looks at processes.
        set_name(c"netdrop-optics").ok();
        IGNORED.into_iter().for_each(sys::ignore);
        let mut netlink = NetlinkSocket::generic()?;
        let ethtool = ethtool(&mut netlink)?;
        privileges::keep_only(Privileged::at_start(), CapabilitySet::NET_ADMIN)?;
        // Where there is no Landlock the filter has to do: it allows no call that opens anything.
        privileges::confine_to_nothing().ok();
        filter::apply([socket, netlink.as_fd()])?;
        Ok(Self { netlink, ethtool })
    }

    /// Returns the exit status.
    fn serve(&mut self, socket: BorrowedFd<'_>) -> i32 {
        // One more, to see what is too long.
        let mut question = [0; Question::SIZE + 1];
        loop {
            let len = match retry_on_intr(|| recv(socket, &mut question, RecvFlags::empty())) {
                Ok((_, 0)) => return SUCCESS,
                Ok((_, len)) => len,
                Err(_) => return FAILURE,
            };
            let began = Instant::now();
            let answer = match Question::from_bytes(&question[..len]) {
                Some(question) => self.answer(question),
                None => Answer {
                    seq: 0,
                    bytes: Err(Errno::INVAL),
                },
            };
            let said = retry_on_intr(|| send(socket, &answer.to_bytes(), SendFlags::NOSIGNAL));
            if said.is_err() {
                return FAILURE;
            }
            rest(began.elapsed().clamp(REST.0, REST.1));
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        Answer {
            seq: question.seq,
            bytes: self.read(question).map_err(|error| match error {
                AskError::Refused(errno) => errno,
                AskError::Malformed(_) => Errno::BADMSG,
                AskError::Socket(error) => match error.downcast_ref() {
                    Some(&errno) => errno,
                    None => Errno::PROTO,
                },
            }),
        }
    }

    fn read(&mut self, question: Question) -> Result<Vec<u8>, AskError> {
        let place = question.half.place();
        let place = Place {
            address: place.address,
            page: place.page,
            bank: place.bank,
            offset: place.offset,
            length: HALF as u8,
        };
        let request = module_eeprom::request(&self.ethtool, question.port, place);
        let request = request.map_err(AskError::Socket)?;
        let mut bytes = Vec::new();
        self.netlink.ask(
            |seq| request.bytes(seq),
            |message| {
                bytes = module_eeprom::parse(message)?;
                Ok(())
            },
        )?;
        Ok(bytes)
    }
}

fn ethtool(netlink: &mut NetlinkSocket) -> anyhow::Result<Family> {
    let request = genl::family_request(ethtool::NAME)?;
    let mut family = None;
    netlink
        .ask(
            |seq| request.bytes(seq),
            |message| {
                family = Some(genl::parse_family(message)?);
                Ok(())
            },
        )
        .context("ask for the netlink family ethtool")?;
    family
        .filter(|family| family.has(module_eeprom::GET))
        .context("this needs Linux 5.13")
}

/// poll(2), because nothing else that waits is allowed.
fn rest(pause: Duration) {
    if let Ok(pause) = Timespec::try_from(pause) {
        // A signal that ends it early is rare, and does no harm.
        poll(&mut [], Some(&pause)).ok();
    }
}
