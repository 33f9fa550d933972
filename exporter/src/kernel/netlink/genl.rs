//! Generic netlink (`include/uapi/linux/genetlink.h`): families, their commands, and requests. Pure.

use std::io::Cursor;

use anyhow::Context;
use neli::{
    ToBytes,
    consts::nl::NlmF,
    genl::{AttrTypeBuilder, GenlmsghdrBuilder, Nlattr, NlattrBuilder},
    nl::{NlPayload, NlmsghdrBuilder},
    types::{Buffer, GenlBuffer},
};

use super::{
    Malformed,
    attributes::{Attribute, attributes},
    message::Message,
};

/// `GENL_ID_CTRL`: the family that knows all others.
pub const CONTROLLER: u16 = 16;

/// `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID`, `_FAMILY_NAME`, `_OPS`, `CTRL_ATTR_OP_ID`.
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const OPS: u16 = 6;
const OP_ID: u16 = 1;

/// `struct genlmsghdr`.
const HEADER: usize = 4;

/// Version 1 is what all families have; the kernel does not look at it.
const VERSION: u8 = 1;

/// A family as the running kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// The type of its messages.
    pub id: u16,
    /// The commands that it takes.
    commands: Vec<u8>,
}

impl Family {
    /// Whether the kernel is new enough to know a command.
    pub fn has(&self, command: u8) -> bool {
        self.commands.contains(&command)
    }
}

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One object. The answer ends with an acknowledgement.
    One,
    /// All that match.
    Dump,
}

/// A request to a family.
#[derive(Clone, Debug)]
pub struct Request {
    /// [`Family::id`]
    pub family: u16,
    /// A number of the family's enumeration of commands.
    pub command: u8,
    /// What it says.
    pub attributes: Vec<Nlattr<u16, Buffer>>,
    /// How much it asks for.
    pub extent: Extent,
}

impl Request {
    /// The message, with the number that answers will have.
    ///
    /// # Errors
    ///
    /// neli cannot build it.
    pub fn bytes(self, seq: u32) -> anyhow::Result<Vec<u8>> {
        let payload = GenlmsghdrBuilder::<u8, u16>::default()
            .cmd(self.command)
            .version(VERSION)
            .attrs(self.attributes.into_iter().collect::<GenlBuffer<_, _>>())
            .build()?;
        let extent = match self.extent {
            Extent::One => NlmF::ACK,
            Extent::Dump => NlmF::DUMP,
        };
        let message = NlmsghdrBuilder::default()
            .nl_type(self.family)
            .nl_flags(NlmF::REQUEST | extent)
            .nl_seq(seq)
            .nl_payload(NlPayload::Payload(payload))
            .build()?;
        let mut bytes = Cursor::new(Vec::new());
        message.to_bytes(&mut bytes)?;
        Ok(bytes.into_inner())
    }
}

/// An attribute for a request.
///
/// # Errors
///
/// neli cannot build it.
pub fn attribute(
    kind: u16,
    payload: impl ToBytes + neli::Size,
) -> anyhow::Result<Nlattr<u16, Buffer>> {
    build(kind, false, payload)
}

/// An attribute that holds others.
///
/// # Errors
///
/// neli cannot build it.
pub fn nest(kind: u16, inner: &[Nlattr<u16, Buffer>]) -> anyhow::Result<Nlattr<u16, Buffer>> {
    let nested = build(kind, true, Buffer::new())?;
    inner.iter().try_fold(nested, |nested, attribute| {
        nested.nest(attribute).context("nest an attribute")
    })
}

fn build(
    kind: u16,
    nested: bool,
    payload: impl ToBytes + neli::Size,
) -> anyhow::Result<Nlattr<u16, Buffer>> {
    let kind = AttrTypeBuilder::default()
        .nla_type(kind)
        .nla_nested(nested)
        .build()?;
    let attribute = NlattrBuilder::default()
        .nla_type(kind)
        .nla_payload(payload)
        .build()?;
    Ok(attribute)
}

/// Asks for a family by its name.
///
/// # Errors
///
/// neli cannot build it.
pub fn family_request(name: &str) -> anyhow::Result<Request> {
    Ok(Request {
        family: CONTROLLER,
        command: GET_FAMILY,
        attributes: vec![attribute(FAMILY_NAME, name)?],
        extent: Extent::One,
    })
}

/// The answer to [`family_request`].
///
/// # Errors
///
/// Lengths do not fit, or it has no number.
pub fn parse_family(message: &Message<'_>) -> Result<Family, Malformed> {
    let (mut id, mut commands) = (None, Vec::new());
    for found in content(message)? {
        let found = found?;
        match found.kind {
            FAMILY_ID => id = Some(found.u16()?),
            OPS => {
                for op in found.nested() {
                    commands.extend(op_id(op?)?);
                }
            }
            _ => {}
        }
    }
    let id = id.ok_or(Malformed("a family without number"))?;
    Ok(Family { id, commands })
}

fn op_id(op: Attribute<'_>) -> Result<Option<u8>, Malformed> {
    for found in op.nested() {
        let found = found?;
        if found.kind == OP_ID {
            return Ok(u8::try_from(found.u32()?).ok());
        }
    }
    Ok(None)
}

/// The attributes of a message of a family.
///
/// # Errors
///
/// It has no generic netlink header.
pub fn content<'a>(
    message: &Message<'a>,
) -> Result<impl Iterator<Item = Result<Attribute<'a>, Malformed>> + use<'a>, Malformed> {
    let content = message.payload.get(HEADER..);
    let content = content.ok_or(Malformed("a short generic netlink header"))?;
    Ok(attributes(content))
}
