//! Messages of netlink(7) datagrams (`struct nlmsghdr`, `include/uapi/linux/netlink.h`). Pure.

use super::Malformed;

/// `struct nlmsghdr`.
const HEADER: usize = 16;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its type: an `RTM_*`, or the number of a generic netlink family.
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// The request that this answers, or belongs to.
    pub seq: u32,
    /// The port that made the request; 0 for the kernel's own doing.
    pub port: u32,
    /// What stands behind the header.
    pub payload: &'a [u8],
}

/// The messages of a datagram. After one that is [`Malformed`] there are no more, because nobody
/// knows where the next one begins.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((message, len)) = first(rest) else {
            rest = &[];
            return Some(Err(Malformed("the length of a message")));
        };
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(message))
    })
}

fn first(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let half = |at: usize| {
        let half = bytes.get(at..)?.first_chunk()?;
        Some(u16::from_ne_bytes(*half))
    };
    let word = |at: usize| {
        let word = bytes.get(at..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*word))
    };
    let len = usize::try_from(word(0)?).ok()?;
    let message = Message {
        kind: half(4)?,
        flags: half(6)?,
        seq: word(8)?,
        port: word(12)?,
        payload: bytes.get(HEADER..len)?,
    };
    Some((message, len))
}

impl Message<'_> {
    /// The error number, or 0, if this ends an answer.
    ///
    /// # Errors
    ///
    /// It lacks the number.
    pub fn end(&self) -> Result<Option<i32>, Malformed> {
        let number = self.payload.first_chunk().copied().map(i32::from_ne_bytes);
        match self.kind {
            ERROR => number.map(Some).ok_or(Malformed("an error without number")),
            DONE => Ok(Some(number.unwrap_or(0))),
            _ => Ok(None),
        }
    }
}
