//! Attributes of netlink messages (`struct nlattr`, `include/uapi/linux/netlink.h`). Pure.

use super::Malformed;

/// `struct nlattr`.
const HEADER: usize = 4;

/// `NLA_TYPE_MASK`: without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`, which old kernels leave out.
const KIND: u16 = 0x3fff;

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its number in the enumeration that belongs to where it stands.
    pub kind: u16,
    /// What it says.
    pub payload: &'a [u8],
}

/// The attributes in these bytes. After one that is [`Malformed`] there are no more, because nobody
/// knows where the next one begins.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (attribute, len) = match first(rest) {
            Some(found) => found,
            None => {
                rest = &[];
                return Some(Err(Malformed("the length of an attribute")));
            }
        };
        // The last one may lack its padding.
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(attribute))
    })
}

fn first(bytes: &[u8]) -> Option<(Attribute<'_>, usize)> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (kind, _) = rest.split_first_chunk()?;
    let len = usize::from(u16::from_ne_bytes(*len));
    let attribute = Attribute {
        kind: u16::from_ne_bytes(*kind) & KIND,
        payload: bytes.get(HEADER..len)?,
    };
    Some((attribute, len))
}

impl<'a> Attribute<'a> {
    /// The attributes that it holds.
    pub fn nested(&self) -> impl Iterator<Item = Result<Attribute<'a>, Malformed>> + use<'a> {
        attributes(self.payload)
    }

    /// An `u8`.
    ///
    /// # Errors
    ///
    /// It is shorter.
    pub fn u8(&self) -> Result<u8, Malformed> {
        self.chunk().map(u8::from_ne_bytes)
    }

    /// An `u16`.
    ///
    /// # Errors
    ///
    /// It is shorter.
    pub fn u16(&self) -> Result<u16, Malformed> {
        self.chunk().map(u16::from_ne_bytes)
    }

    /// An `u32`.
    ///
    /// # Errors
    ///
    /// It is shorter.
    pub fn u32(&self) -> Result<u32, Malformed> {
        self.chunk().map(u32::from_ne_bytes)
    }

    /// An `u64`, or an `uint`, which has 4 bytes where they are enough (`nla_put_uint`, 6.7).
    ///
    /// # Errors
    ///
    /// It is shorter.
    pub fn uint(&self) -> Result<u64, Malformed> {
        match self.payload.len() {
            4..8 => self.u32().map(u64::from),
            _ => self.chunk().map(u64::from_ne_bytes),
        }
    }

    /// A text without its closing NUL. What is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        let text = self.payload.split(|&byte| byte == 0).next();
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    }

    fn chunk<const N: usize>(&self) -> Result<[u8; N], Malformed> {
        let chunk = self.payload.first_chunk().copied();
        chunk.ok_or(Malformed("a number that is too short"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_walked_to_the_first_that_does_not_fit() {
        let mut bytes = vec![5, 0, 1, 0, 9, 0, 0, 0];
        bytes.extend([8, 0, 2, 0x80, 1, 0, 0, 0]);
        let walk = |bytes: &[u8]| {
            attributes(bytes)
                .map(|a| a.map(|a| a.kind))
                .collect::<Vec<_>>()
        };
        assert_eq!(walk(&bytes), [Ok(1), Ok(2)]);
        bytes.extend([3, 0, 1, 0]);
        assert_eq!(
            walk(&bytes)[2],
            Err(Malformed("the length of an attribute"))
        );
        bytes[16] = 5;
        assert_eq!(
            walk(&bytes)[2],
            Err(Malformed("the length of an attribute"))
        );
    }

    #[test]
    fn numbers_are_as_long_as_the_kernel_made_them() {
        let attribute = |payload| Attribute { kind: 1, payload };
        assert_eq!(attribute(&[1, 0, 0, 0]).uint(), Ok(1));
        assert_eq!(
            attribute(&[1, 0, 0, 0, 1, 0, 0, 0]).uint(),
            Ok((1 << 32) + 1)
        );
        assert!(attribute(&[1, 0, 0]).uint().is_err());
        assert!(attribute(&[1]).u32().is_err());
        assert_eq!(attribute(b"eth0\0").text(), "eth0");
    }
}
