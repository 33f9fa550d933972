//! What the exporter and its helper say to each other: messages of a fixed size. Pure.

use rustix::io::Errno;

use crate::{
    collectors::optics::module::{HALF, HalfPage},
    devices::IfIndex,
};

/// A question: half a page of the module in a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The answer has it, too.
    pub seq: u32,
    /// The port.
    pub port: IfIndex,
    /// What to read.
    pub half: HalfPage,
}

impl Question {
    /// In bytes.
    pub const SIZE: usize = 9;

    /// As bytes.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.seq.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.port.0.to_ne_bytes());
        bytes[8] = self.half as u8;
        bytes
    }

    /// From bytes. `None` for what is no question.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().ok()?;
        Some(Self {
            seq: u32::from_ne_bytes(*bytes.first_chunk()?),
            port: IfIndex(u32::from_ne_bytes(*bytes[4..].first_chunk()?)),
            half: *HalfPage::ALL.get(usize::from(bytes[8]))?,
        })
    }
}

/// An answer: as many bytes as the driver gave, or its error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question's.
    pub seq: u32,
    /// What the kernel said.
    pub bytes: Result<Vec<u8>, Errno>,
}

impl Answer {
    /// In bytes.
    pub const SIZE: usize = 4 + 4 + 1 + HALF;

    /// As bytes. What does not fit is cut off.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut message = [0; Self::SIZE];
        message[..4].copy_from_slice(&self.seq.to_ne_bytes());
        match &self.bytes {
            Ok(bytes) => {
                let bytes = &bytes[..bytes.len().min(HALF)];
                message[8] = bytes.len() as u8;
                message[9..9 + bytes.len()].copy_from_slice(bytes);
            }
            Err(errno) => {
                message[4..8].copy_from_slice(&errno.raw_os_error().to_ne_bytes());
            }
        }
        message
    }

    /// From bytes. `None` for what is no answer.
    pub fn from_bytes(message: &[u8]) -> Option<Self> {
        let message: &[u8; Self::SIZE] = message.try_into().ok()?;
        let errno = i32::from_ne_bytes(*message[4..].first_chunk()?);
        let len = usize::from(message[8]);
        let bytes = match errno {
            0 => Ok(message[9..].get(..len)?.to_vec()),
            errno => Err(Errno::from_raw_os_error(errno)),
        };
        Some(Self {
            seq: u32::from_ne_bytes(*message.first_chunk()?),
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_survive_the_way_and_rubbish_is_none() {
        for half in HalfPage::ALL {
            let question = Question {
                seq: 7,
                port: IfIndex(0x0102_0304),
                half,
            };
            let bytes = question.to_bytes();
            assert_eq!(Question::from_bytes(&bytes), Some(question));
            assert_eq!(Question::from_bytes(&bytes[1..]), None);
        }
        let mut rubbish = [0; Question::SIZE];
        rubbish[8] = HalfPage::ALL.len() as u8;
        assert_eq!(Question::from_bytes(&rubbish), None);

        for bytes in [
            Ok(vec![1, 2, 3]),
            Ok(vec![]),
            Ok(vec![9; HALF]),
            Err(Errno::IO),
        ] {
            let answer = Answer { seq: 7, bytes };
            assert_eq!(Answer::from_bytes(&answer.to_bytes()), Some(answer));
        }
        let mut rubbish = [0; Answer::SIZE];
        rubbish[8] = 129;
        assert_eq!(Answer::from_bytes(&rubbish), None);
        assert_eq!(Answer::from_bytes(&[]), None);
    }
}
