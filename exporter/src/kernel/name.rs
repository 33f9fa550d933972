//! Names that the kernel takes as bytes, and how they are written for people.
//!
//! A network device may be called anything without `/`, `:` and white space (`dev_valid_name` in
//! `net/core/dev.c`), a network namespace anything that a file can be called. Labels and log lines
//! are UTF-8, so what is not is escaped there, and only there: sysfs and the filters get the bytes.

use std::{
    borrow::{Borrow, Cow},
    ffi::OsStr,
    fmt::{self, Debug, Display, Write},
    os::unix::ffi::OsStrExt,
    sync::Arc,
};

/// The name of a device, a network namespace, a driver or a kind of link. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// What comes before the first NUL, as in a fixed-size field of the kernel.
    pub fn until_nul(bytes: &[u8]) -> Self {
        let name = bytes.split(|&byte| byte == 0).next();
        Self::from(name.unwrap_or_default())
    }

    /// The name itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name itself, to be a part of a path.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name as the value of a label; see [`label`].
    pub fn label(&self) -> Cow<'_, str> {
        label(&self.0)
    }
}

/// Bytes as the value of a label: each byte that is not UTF-8 as `\xb9`, and a backslash as `\x5c`,
/// so that different names have different labels. A regular expression takes it as it is.
pub fn label(name: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(name) {
        Ok(text) if !text.contains('\\') => Cow::Borrowed(text),
        _ => Cow::Owned(escaped(name, |character| character == '\\')),
    }
}

/// Escapes bytes that are not UTF-8, and the characters that `is_escaped` picks.
fn escaped(name: &[u8], is_escaped: impl Fn(char) -> bool) -> String {
    let mut text = String::with_capacity(name.len() + 3);
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_escaped(character) {
                escape(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut text);
            } else {
                text.push(character);
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

fn escape(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "\\x{byte:02x}").ok();
    }
}

/// For log lines: as the label, and control characters are escaped, too, so that a name can neither
/// begin a line nor speak to a terminal.
impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&self.0, |c| c == '\\' || c.is_control()))
    }
}

impl Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Self {
        Self(name.into())
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        name.as_bytes().into()
    }
}

impl From<&OsStr> for Name {
    fn from(name: &OsStr) -> Self {
        name.as_bytes().into()
    }
}

impl Default for Name {
    fn default() -> Self {
        "".into()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

/// So that sets and maps of names can be asked for bytes.
impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_label_cannot_hold_is_escaped_so_that_names_stay_distinct() {
        let cases: [(&[u8], &str); 10] = [
            (b"eth0", "eth0"),
            (b"", ""),
            ("münchen".as_bytes(), "münchen"),
            // GBK and Latin-1.
            (b"l2tp-\xb9\xfa", r"l2tp-\xb9\xfa"),
            (b"l2tp-\xba\xe8", r"l2tp-\xba\xe8"),
            (b"m\xfcnchen", r"m\xfcnchen"),
            // A character that is cut off, and one that UTF-8 must not encode.
            (b"\xe4\xbda", r"\xe4\xbda"),
            (b"\xed\xa0\x80", r"\xed\xa0\x80"),
            // What another name is written as.
            (br"l2tp-\xb9\xfa", r"l2tp-\x5cxb9\x5cxfa"),
            (br"\x5c", r"\x5cx5c"),
        ];
        for (name, expected) in cases {
            assert_eq!(label(name), expected);
            assert_eq!(Name::from(name).to_string(), expected);
        }
    }

    #[test]
    fn a_log_line_stays_one_line_and_silent_to_terminals() {
        let name = Name::from("a\n\x1b[2J\u{85}\u{7f}ü");
        assert_eq!(name.to_string(), r"a\x0a\x1b[2J\xc2\x85\x7fü");
        assert_eq!(name.label(), "a\n\x1b[2J\u{85}\u{7f}ü");
    }

    #[test]
    fn a_name_in_a_field_ends_at_its_nul() {
        assert_eq!(Name::until_nul(b"eth0\0left over"), "eth0");
        assert_eq!(Name::until_nul(b"sixteen bytes ok"), "sixteen bytes ok");
        assert_eq!(Name::until_nul(b""), "");
    }
}
