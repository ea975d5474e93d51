//! Protobuf's wire format over a slice, with offsets into the whole body.

use super::DecodeError;

/// What is wrong with the bytes at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end inside a value, or a length points past the end.
    #[error("unexpected end of input")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("varint overflows 64 bits")]
    VarintOverflow,
    /// A field number that is zero or does not fit.
    #[error("invalid field number")]
    FieldNumber,
    /// A known field with another wire type, or an unknown wire type.
    #[error("wrong wire type {found} for field {field}")]
    WireType {
        /// The field.
        field: u32,
        /// Its wire type.
        found: u8,
    },
    /// Groups are obsolete, nest without bound and appear in no remote write message.
    #[error("group in field {field}")]
    Group {
        /// The field.
        field: u32,
    },
}

/// The wire types that a field may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    /// Up to ten bytes, seven bits each.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length and as many bytes.
    Bytes,
    /// Four bytes.
    Fixed32,
}

impl WireType {
    /// The wire type in the low bits of a key; groups and unknown types have none.
    #[inline]
    fn of(key: u64) -> Option<Self> {
        match key & 7 {
            0 => Some(Self::Varint),
            1 => Some(Self::Fixed64),
            2 => Some(Self::Bytes),
            5 => Some(Self::Fixed32),
            _ => None,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Bytes => 2,
            Self::Fixed32 => 5,
        }
    }
}

/// A known field: number, wire type, and what its bytes hold.
pub(super) type Field = (u32, WireType, Option<&'static Schema>);

/// The known fields of a message that is only checked.
#[derive(Debug)]
pub(super) struct Schema(pub(super) &'static [Field]);

/// A message, or what is left of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'a> {
    rest: &'a [u8],
    /// Offset in the body at which the message ends.
    end: usize,
}

impl<'a> Wire<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, end: body.len() }
    }

    /// What is left.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Passes over `n` bytes; `None` if fewer are left.
    #[inline]
    pub(super) fn pass(&mut self, n: usize) -> Option<()> {
        self.rest = self.rest.get(n..)?;
        Some(())
    }

    fn fault(&self, fault: Fault) -> DecodeError {
        DecodeError::Protobuf { offset: self.end - self.rest.len(), fault }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().take(10).enumerate() {
            if i == 9 && *byte > 1 {
                return Err(self.fault(Fault::VarintOverflow));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                self.rest = self.rest.get(i + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(self.fault(Fault::Truncated))
    }

    /// Field number and wire type of the next field; `None` at the end of the message.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Option<(u32, WireType)>, DecodeError> {
        let Some((&byte, rest)) = self.rest.split_first() else { return Ok(None) };
        // Every field there is has a key of one byte.
        if (0x08..0x80).contains(&byte)
            && let Some(wire_type) = WireType::of(u64::from(byte))
        {
            self.rest = rest;
            return Ok(Some((u32::from(byte >> 3), wire_type)));
        }
        self.any_key().map(Some)
    }

    #[cold]
    fn any_key(&mut self) -> Result<(u32, WireType), DecodeError> {
        let before = *self;
        let key = self.varint()?;
        let field = u32::try_from(key).map_err(|_| before.fault(Fault::FieldNumber))? >> 3;
        match (WireType::of(key), key & 7) {
            (None, 3 | 4) => Err(before.fault(Fault::Group { field })),
            (None, found) => Err(before.fault(Fault::WireType { field, found: found as u8 })),
            (Some(_), _) if field == 0 => Err(before.fault(Fault::FieldNumber)),
            (Some(wire_type), _) => Ok((field, wire_type)),
        }
    }

    #[inline]
    fn expect(&self, field: u32, found: WireType, expected: WireType) -> Result<(), DecodeError> {
        if found == expected { Ok(()) } else { Err(self.fault(Fault::WireType { field, found: found.number() })) }
    }

    #[inline]
    fn take(&mut self, n: u64) -> Result<&'a [u8], DecodeError> {
        match usize::try_from(n).ok().and_then(|n| self.rest.split_at_checked(n)) {
            Some((piece, rest)) => {
                self.rest = rest;
                Ok(piece)
            }
            None => Err(self.fault(Fault::Truncated)),
        }
    }

    #[inline]
    pub(super) fn bytes(&mut self, field: u32, found: WireType) -> Result<&'a [u8], DecodeError> {
        self.expect(field, found, WireType::Bytes)?;
        let length = self.varint()?;
        self.take(length)
    }

    #[inline]
    pub(super) fn message(&mut self, field: u32, found: WireType) -> Result<Self, DecodeError> {
        let rest = self.bytes(field, found)?;
        Ok(Self { rest, end: self.end - self.rest.len() })
    }

    #[inline]
    pub(super) fn fixed64(&mut self, field: u32, found: WireType) -> Result<u64, DecodeError> {
        self.expect(field, found, WireType::Fixed64)?;
        match self.rest.split_first_chunk() {
            Some((piece, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*piece))
            }
            None => Err(self.fault(Fault::Truncated)),
        }
    }

    #[inline]
    pub(super) fn varint_field(&mut self, field: u32, found: WireType) -> Result<u64, DecodeError> {
        self.expect(field, found, WireType::Varint)?;
        self.varint()
    }

    /// Numbers of a repeated field, packed or one alone.
    #[inline]
    pub(super) fn varints(&mut self, field: u32, found: WireType, mut visit: impl FnMut(u64)) -> Result<(), DecodeError> {
        if found == WireType::Varint {
            visit(self.varint()?);
            return Ok(());
        }
        self.message(field, found)?.varints_to_end(visit)
    }

    /// Numbers that nothing stands between, to the end.
    #[inline]
    pub(super) fn varints_to_end(&mut self, mut visit: impl FnMut(u64)) -> Result<(), DecodeError> {
        while !self.rest.is_empty() {
            visit(self.varint()?);
        }
        Ok(())
    }

    /// Eight-byte numbers of a repeated field, packed or one alone.
    pub(super) fn fixed64s(&mut self, field: u32, found: WireType, mut visit: impl FnMut(u64)) -> Result<(), DecodeError> {
        if found == WireType::Fixed64 {
            visit(self.fixed64(field, found)?);
            return Ok(());
        }
        let mut packed = self.message(field, found)?;
        while !packed.rest.is_empty() {
            visit(packed.fixed64(field, WireType::Fixed64)?);
        }
        Ok(())
    }

    /// Passes over a field that nobody reads.
    pub(super) fn skip(&mut self, field: u32, wire_type: WireType) -> Result<(), DecodeError> {
        match wire_type {
            WireType::Varint => self.varint().map(|_| ()),
            WireType::Fixed64 => self.take(8).map(|_| ()),
            WireType::Fixed32 => self.take(4).map(|_| ()),
            WireType::Bytes => self.bytes(field, wire_type).map(|_| ()),
        }
    }

    /// Walks a message to its end; its depth is that of the schema.
    pub(super) fn check(mut self, schema: &Schema) -> Result<(), DecodeError> {
        while let Some((field, found)) = self.key()? {
            match schema.0.iter().find(|known| known.0 == field) {
                Some((_, expected, inner)) => {
                    self.expect(field, found, *expected)?;
                    match inner {
                        Some(inner) => self.message(field, found)?.check(inner)?,
                        None => self.skip(field, found)?,
                    }
                }
                None => self.skip(field, found)?,
            }
        }
        Ok(())
    }
}
