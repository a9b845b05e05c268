//! Numbers between files, memory and `f64`.

use hdf5_pure::{
    Datatype, DatatypeByteOrder, EnumTypeBuilder, FloatingPointLayout, make_f32_type, make_f64_type,
    make_i8_type, make_i16_type, make_i32_type, make_i64_type, make_u8_type, make_u16_type, make_u32_type,
    make_u64_type,
};

use super::model::Numbers;

/// A stored number type that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumberType {
    pub kind: Kind,
    pub big_endian: bool,
}

/// What a number is once it is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    F32,
    F64,
}

impl Kind {
    pub fn size(self) -> usize {
        match self {
            Kind::Bool | Kind::I8 | Kind::U8 => 1,
            Kind::I16 | Kind::U16 | Kind::F16 => 2,
            Kind::I32 | Kind::U32 | Kind::F32 => 4,
            Kind::I64 | Kind::U64 | Kind::F64 => 8,
        }
    }
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::I8 => "int8",
            Kind::I16 => "int16",
            Kind::I32 => "int32",
            Kind::I64 => "int64",
            Kind::U8 => "uint8",
            Kind::U16 => "uint16",
            Kind::U32 => "uint32",
            Kind::U64 => "uint64",
            Kind::F16 => "float16",
            Kind::F32 => "float32",
            Kind::F64 => "float64",
        }
    }
    pub fn is_integer(self) -> bool {
        !matches!(self, Kind::Bool | Kind::F16 | Kind::F32 | Kind::F64)
    }
    /// The little-endian type of a file.
    pub fn datatype(self) -> Datatype {
        match self {
            Kind::Bool => EnumTypeBuilder::with_base(make_i8_type())
                .raw_value("FALSE", &[0])
                .raw_value("TRUE", &[1])
                .build()
                .expect("two values of one byte make an enumeration"),
            Kind::I8 => make_i8_type(),
            Kind::I16 => make_i16_type(),
            Kind::I32 => make_i32_type(),
            Kind::I64 => make_i64_type(),
            Kind::U8 => make_u8_type(),
            Kind::U16 => make_u16_type(),
            Kind::U32 => make_u32_type(),
            Kind::U64 => make_u64_type(),
            Kind::F16 => Datatype::FloatingPoint {
                size: 2,
                byte_order: DatatypeByteOrder::LittleEndian,
                layout: FloatingPointLayout {
                    bit_offset: 0,
                    bit_precision: 16,
                    exponent_location: 10,
                    exponent_size: 5,
                    mantissa_location: 0,
                    mantissa_size: 10,
                    exponent_bias: 15,
                },
            },
            Kind::F32 => make_f32_type(),
            Kind::F64 => make_f64_type(),
        }
    }
}

impl NumberType {
    /// The number type of a stored type; `None` for texts, records and numbers of odd widths.
    pub fn of(datatype: &Datatype) -> Option<NumberType> {
        let (kind, order) = match datatype {
            Datatype::FixedPoint { size, byte_order, layout } => {
                if u32::from(layout.bit_precision) != size * 8 || layout.bit_offset != 0 {
                    return None;
                }
                let kind = match (size, layout.signed) {
                    (1, true) => Kind::I8,
                    (2, true) => Kind::I16,
                    (4, true) => Kind::I32,
                    (8, true) => Kind::I64,
                    (1, false) => Kind::U8,
                    (2, false) => Kind::U16,
                    (4, false) => Kind::U32,
                    (8, false) => Kind::U64,
                    _ => return None,
                };
                (kind, byte_order)
            }
            Datatype::FloatingPoint { size, byte_order, layout } => {
                let kind = match (size, layout.exponent_size, layout.mantissa_size) {
                    (2, 5, 10) => Kind::F16,
                    (4, 8, 23) => Kind::F32,
                    (8, 11, 52) => Kind::F64,
                    _ => return None,
                };
                (kind, byte_order)
            }
            Datatype::Enumeration { size: 1, members, .. }
                if members.len() == 2
                    && members.iter().any(|m| m.name == "FALSE" && m.value == [0])
                    && members.iter().any(|m| m.name == "TRUE" && m.value == [1]) =>
            {
                return Some(NumberType { kind: Kind::Bool, big_endian: false });
            }
            _ => return None,
        };
        match order {
            DatatypeByteOrder::LittleEndian => Some(NumberType { kind, big_endian: false }),
            DatatypeByteOrder::BigEndian => Some(NumberType { kind, big_endian: true }),
            _ => None,
        }
    }
}

macro_rules! each_kind {
    ($numbers:expr, $v:ident => $body:expr) => {
        match $numbers {
            Numbers::Bool($v) => $body,
            Numbers::I8($v) => $body,
            Numbers::I16($v) => $body,
            Numbers::I32($v) => $body,
            Numbers::I64($v) => $body,
            Numbers::U8($v) => $body,
            Numbers::U16($v) => $body,
            Numbers::U32($v) => $body,
            Numbers::U64($v) => $body,
            Numbers::F16($v) => $body,
            Numbers::F32($v) => $body,
            Numbers::F64($v) => $body,
        }
    };
}

/// A number that can become `f64`.
trait ToF64: Copy {
    fn to_f64(self) -> f64;
}
macro_rules! to_f64 {
    ($($t:ty),*) => { $(impl ToF64 for $t { fn to_f64(self) -> f64 { self as f64 } })* };
}
to_f64!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);
impl ToF64 for bool {
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
}

/// The value of the bits of a half precision number.
pub(crate) fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1.0 + mantissa / 1024.0) * 2f64.powi(e - 15),
    }
}

impl Numbers {
    /// Number of values.
    pub fn len(&self) -> usize {
        each_kind!(self, v => v.len())
    }
    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The name of the type, as NumPy has it.
    pub fn type_name(&self) -> &'static str {
        self.kind().name()
    }
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Numbers::Bool(_) => Kind::Bool,
            Numbers::I8(_) => Kind::I8,
            Numbers::I16(_) => Kind::I16,
            Numbers::I32(_) => Kind::I32,
            Numbers::I64(_) => Kind::I64,
            Numbers::U8(_) => Kind::U8,
            Numbers::U16(_) => Kind::U16,
            Numbers::U32(_) => Kind::U32,
            Numbers::U64(_) => Kind::U64,
            Numbers::F16(_) => Kind::F16,
            Numbers::F32(_) => Kind::F32,
            Numbers::F64(_) => Kind::F64,
        }
    }
    /// The values as `f64`; whole numbers beyond 2⁵³ are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Numbers::F16(v) => v.iter().map(|&b| half(b)).collect(),
            Numbers::Bool(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::I8(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::I16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::I32(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::I64(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::U8(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::U16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::U32(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::U64(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::F32(v) => v.iter().map(|x| x.to_f64()).collect(),
            Numbers::F64(v) => v.clone(),
        }
    }
    /// The values as `i64`; `None` when they are no whole numbers or one is too large.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match self {
            Numbers::Bool(v) => v.iter().map(|&x| x.into()).collect(),
            Numbers::I8(v) => v.iter().map(|&x| x.into()).collect(),
            Numbers::I16(v) => v.iter().map(|&x| x.into()).collect(),
            Numbers::I32(v) => v.iter().map(|&x| x.into()).collect(),
            Numbers::I64(v) => v.clone(),
            Numbers::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Numbers::U16(v) => v.iter().map(|&x| x.into()).collect(),
            Numbers::U32(v) => v.iter().map(|&x| x.into()).collect(),
            Numbers::U64(v) => v.iter().map(|&x| x.try_into().ok()).collect::<Option<_>>()?,
            Numbers::F16(_) | Numbers::F32(_) | Numbers::F64(_) => return None,
        })
    }
    /// Room for `n` values of a type.
    pub(crate) fn with_capacity(kind: Kind, n: usize) -> Numbers {
        match kind {
            Kind::Bool => Numbers::Bool(Vec::with_capacity(n)),
            Kind::I8 => Numbers::I8(Vec::with_capacity(n)),
            Kind::I16 => Numbers::I16(Vec::with_capacity(n)),
            Kind::I32 => Numbers::I32(Vec::with_capacity(n)),
            Kind::I64 => Numbers::I64(Vec::with_capacity(n)),
            Kind::U8 => Numbers::U8(Vec::with_capacity(n)),
            Kind::U16 => Numbers::U16(Vec::with_capacity(n)),
            Kind::U32 => Numbers::U32(Vec::with_capacity(n)),
            Kind::U64 => Numbers::U64(Vec::with_capacity(n)),
            Kind::F16 => Numbers::F16(Vec::with_capacity(n)),
            Kind::F32 => Numbers::F32(Vec::with_capacity(n)),
            Kind::F64 => Numbers::F64(Vec::with_capacity(n)),
        }
    }
    /// Appends the numbers in `bytes`, which were stored as the same kind.
    pub(crate) fn extend_from_bytes(&mut self, bytes: &[u8], big_endian: bool) {
        macro_rules! extend {
            ($v:expr, $t:ty) => {{
                const N: usize = size_of::<$t>();
                let (words, _) = bytes.as_chunks::<N>();
                if big_endian {
                    $v.extend(words.iter().map(|w| <$t>::from_be_bytes(*w)))
                } else {
                    $v.extend(words.iter().map(|w| <$t>::from_le_bytes(*w)))
                }
            }};
        }
        match self {
            Numbers::Bool(v) => v.extend(bytes.iter().map(|&b| b != 0)),
            Numbers::I8(v) => extend!(v, i8),
            Numbers::I16(v) => extend!(v, i16),
            Numbers::I32(v) => extend!(v, i32),
            Numbers::I64(v) => extend!(v, i64),
            Numbers::U8(v) => v.extend_from_slice(bytes),
            Numbers::U16(v) => extend!(v, u16),
            Numbers::U32(v) => extend!(v, u32),
            Numbers::U64(v) => extend!(v, u64),
            Numbers::F16(v) => extend!(v, u16),
            Numbers::F32(v) => extend!(v, f32),
            Numbers::F64(v) => extend!(v, f64),
        }
    }
    /// The little-endian bytes of the values.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Numbers::Bool(v) => v.iter().map(|&b| u8::from(b)).collect(),
            Numbers::I8(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::U8(v) => v.clone(),
            Numbers::U16(v) | Numbers::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_matches_its_definition() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (1, 5.960464477539063e-8),
            (0x3555, 0.333251953125),
        ] {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f64::NEG_INFINITY);
    }

    #[test]
    fn bytes_and_back() {
        for big in [false, true] {
            let mut n = Numbers::with_capacity(Kind::I16, 2);
            n.extend_from_bytes(if big { &[1, 2, 255, 254] } else { &[2, 1, 254, 255] }, big);
            assert_eq!(n, Numbers::I16(vec![258, -2]));
            assert_eq!(n.to_bytes(), [2, 1, 254, 255]);
        }
    }
}
