//! The named predefined datatypes, with the handle values of the standard ABI (MPI 5.0, 20).

/// Which of the standard's groups of types a basic type is of (MPI 5.0, 6.9.2), and so which
/// operations apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Integers of C.
    CInteger,
    /// Integers of Fortran.
    FortranInteger,
    /// Floating-point numbers of both languages.
    Floating,
    /// Truth values of all languages.
    Logical,
    /// Complex numbers of all languages.
    Complex,
    /// `MPI_BYTE`.
    Byte,
    /// Addresses, offsets and counts.
    MultiLanguage,
    /// A value and its index, or two values.
    Pair,
    /// Printable characters, to which no operation applies.
    Character,
    /// `MPI_PACKED`.
    Packed,
}

/// How the bytes of a number are read, for conversion to and from other representations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Bytes without meaning, or a single one.
    Bytes,
    Signed,
    Unsigned,
    /// IEEE binary16, 32, 64 or 128, by its size.
    Float,
    /// The 80 bits of x87 in 16 bytes.
    Extended,
    Wide,
}

macro_rules! basics {
    ($($name:ident = $value:literal, $standard:literal, $size:literal / $align:literal, $group:ident;)*) => {
        /// A named predefined datatype. The discriminant is its handle in the standard ABI.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Basic {
            $(#[doc = concat!("`", $standard, "`.")] $name = $value,)*
        }

        impl Basic {
            /// All of them, by ascending handle.
            pub const ALL: &[Basic] = &[$(Basic::$name,)*];

            /// The type of this handle.
            #[inline]
            #[must_use]
            pub fn from_handle(handle: usize) -> Option<Self> {
                match handle { $($value => Some(Basic::$name),)* _ => None }
            }

            /// Its name in the standard.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Basic::$name => $standard,)* }
            }

            /// Bytes of data.
            #[inline]
            #[must_use]
            pub fn size(self) -> i64 {
                match self { $(Basic::$name => $size,)* }
            }

            /// Alignment in a structure of C.
            #[must_use]
            pub fn align(self) -> i64 {
                match self { $(Basic::$name => $align,)* }
            }

            /// Its group.
            #[inline]
            #[must_use]
            pub fn group(self) -> Group {
                match self { $(Basic::$name => Group::$group,)* }
            }
        }
    };
}

basics! {
    Aint = 0x201, "MPI_AINT", 8 / 8, MultiLanguage;
    Count = 0x202, "MPI_COUNT", 8 / 8, MultiLanguage;
    Offset = 0x203, "MPI_OFFSET", 8 / 8, MultiLanguage;
    Packed = 0x207, "MPI_PACKED", 1 / 1, Packed;
    Short = 0x208, "MPI_SHORT", 2 / 2, CInteger;
    Int = 0x209, "MPI_INT", 4 / 4, CInteger;
    Long = 0x20a, "MPI_LONG", 8 / 8, CInteger;
    LongLong = 0x20b, "MPI_LONG_LONG_INT", 8 / 8, CInteger;
    UnsignedShort = 0x20c, "MPI_UNSIGNED_SHORT", 2 / 2, CInteger;
    Unsigned = 0x20d, "MPI_UNSIGNED", 4 / 4, CInteger;
    UnsignedLong = 0x20e, "MPI_UNSIGNED_LONG", 8 / 8, CInteger;
    UnsignedLongLong = 0x20f, "MPI_UNSIGNED_LONG_LONG", 8 / 8, CInteger;
    Float = 0x210, "MPI_FLOAT", 4 / 4, Floating;
    CFloatComplex = 0x212, "MPI_C_COMPLEX", 8 / 4, Complex;
    CxxFloatComplex = 0x213, "MPI_CXX_FLOAT_COMPLEX", 8 / 4, Complex;
    Double = 0x214, "MPI_DOUBLE", 8 / 8, Floating;
    CDoubleComplex = 0x216, "MPI_C_DOUBLE_COMPLEX", 16 / 8, Complex;
    CxxDoubleComplex = 0x217, "MPI_CXX_DOUBLE_COMPLEX", 16 / 8, Complex;
    FortranLogical = 0x218, "MPI_LOGICAL", 4 / 4, Logical;
    Integer = 0x219, "MPI_INTEGER", 4 / 4, FortranInteger;
    Real = 0x21a, "MPI_REAL", 4 / 4, Floating;
    FortranComplex = 0x21b, "MPI_COMPLEX", 8 / 4, Complex;
    DoublePrecision = 0x21c, "MPI_DOUBLE_PRECISION", 8 / 8, Floating;
    DoubleComplex = 0x21d, "MPI_DOUBLE_COMPLEX", 16 / 8, Complex;
    Character = 0x21e, "MPI_CHARACTER", 1 / 1, Character;
    LongDouble = 0x220, "MPI_LONG_DOUBLE", 16 / 16, Floating;
    CLongDoubleComplex = 0x224, "MPI_C_LONG_DOUBLE_COMPLEX", 32 / 16, Complex;
    CxxLongDoubleComplex = 0x225, "MPI_CXX_LONG_DOUBLE_COMPLEX", 32 / 16, Complex;
    FloatInt = 0x228, "MPI_FLOAT_INT", 8 / 4, Pair;
    DoubleInt = 0x229, "MPI_DOUBLE_INT", 12 / 8, Pair;
    LongInt = 0x22a, "MPI_LONG_INT", 12 / 8, Pair;
    TwoInt = 0x22b, "MPI_2INT", 8 / 4, Pair;
    ShortInt = 0x22c, "MPI_SHORT_INT", 6 / 4, Pair;
    LongDoubleInt = 0x22d, "MPI_LONG_DOUBLE_INT", 20 / 16, Pair;
    TwoReal = 0x230, "MPI_2REAL", 8 / 4, Pair;
    TwoDoublePrecision = 0x231, "MPI_2DOUBLE_PRECISION", 16 / 8, Pair;
    TwoInteger = 0x232, "MPI_2INTEGER", 8 / 4, Pair;
    CBool = 0x238, "MPI_C_BOOL", 1 / 1, Logical;
    CxxBool = 0x239, "MPI_CXX_BOOL", 1 / 1, Logical;
    Wchar = 0x23c, "MPI_WCHAR", 4 / 4, Character;
    Int8 = 0x240, "MPI_INT8_T", 1 / 1, CInteger;
    Uint8 = 0x241, "MPI_UINT8_T", 1 / 1, CInteger;
    Char = 0x243, "MPI_CHAR", 1 / 1, Character;
    SignedChar = 0x244, "MPI_SIGNED_CHAR", 1 / 1, CInteger;
    UnsignedChar = 0x245, "MPI_UNSIGNED_CHAR", 1 / 1, CInteger;
    Byte = 0x247, "MPI_BYTE", 1 / 1, Byte;
    Int16 = 0x248, "MPI_INT16_T", 2 / 2, CInteger;
    Uint16 = 0x249, "MPI_UINT16_T", 2 / 2, CInteger;
    Int32 = 0x250, "MPI_INT32_T", 4 / 4, CInteger;
    Uint32 = 0x251, "MPI_UINT32_T", 4 / 4, CInteger;
    Int64 = 0x258, "MPI_INT64_T", 8 / 8, CInteger;
    Uint64 = 0x259, "MPI_UINT64_T", 8 / 8, CInteger;
    Logical1 = 0x2c0, "MPI_LOGICAL1", 1 / 1, Logical;
    Integer1 = 0x2c1, "MPI_INTEGER1", 1 / 1, FortranInteger;
    Logical2 = 0x2c8, "MPI_LOGICAL2", 2 / 2, Logical;
    Integer2 = 0x2c9, "MPI_INTEGER2", 2 / 2, FortranInteger;
    Real2 = 0x2ca, "MPI_REAL2", 2 / 2, Floating;
    Logical4 = 0x2d0, "MPI_LOGICAL4", 4 / 4, Logical;
    Integer4 = 0x2d1, "MPI_INTEGER4", 4 / 4, FortranInteger;
    Real4 = 0x2d2, "MPI_REAL4", 4 / 4, Floating;
    Complex4 = 0x2d3, "MPI_COMPLEX4", 4 / 2, Complex;
    Logical8 = 0x2d8, "MPI_LOGICAL8", 8 / 8, Logical;
    Integer8 = 0x2d9, "MPI_INTEGER8", 8 / 8, FortranInteger;
    Real8 = 0x2da, "MPI_REAL8", 8 / 8, Floating;
    Complex8 = 0x2db, "MPI_COMPLEX8", 8 / 4, Complex;
    Logical16 = 0x2e0, "MPI_LOGICAL16", 16 / 16, Logical;
    Integer16 = 0x2e1, "MPI_INTEGER16", 16 / 16, FortranInteger;
    Real16 = 0x2e2, "MPI_REAL16", 16 / 16, Floating;
    Complex16 = 0x2e3, "MPI_COMPLEX16", 16 / 8, Complex;
    Complex32 = 0x2eb, "MPI_COMPLEX32", 32 / 16, Complex;
}

impl Basic {
    /// Its handle in the standard ABI.
    #[inline]
    #[must_use]
    pub fn handle(self) -> usize {
        self as usize
    }

    /// Bytes from one item to the next.
    #[must_use]
    pub fn extent(self) -> i64 {
        match self.pair() {
            Some((_, at, second)) => (at + second.size() + self.align() - 1) & -self.align(),
            None => self.size(),
        }
    }

    /// The two values of a pair, and where the second lies.
    #[must_use]
    pub fn pair(self) -> Option<(Basic, i64, Basic)> {
        Some(match self {
            Basic::FloatInt => (Basic::Float, 4, Basic::Int),
            Basic::DoubleInt => (Basic::Double, 8, Basic::Int),
            Basic::LongInt => (Basic::Long, 8, Basic::Int),
            Basic::TwoInt => (Basic::Int, 4, Basic::Int),
            Basic::ShortInt => (Basic::Short, 4, Basic::Int),
            Basic::LongDoubleInt => (Basic::LongDouble, 16, Basic::Int),
            Basic::TwoReal => (Basic::Real, 4, Basic::Real),
            Basic::TwoDoublePrecision => (Basic::DoublePrecision, 8, Basic::DoublePrecision),
            Basic::TwoInteger => (Basic::Integer, 4, Basic::Integer),
            _ => return None,
        })
    }

    /// The named pair of these two types, if there is one.
    pub(super) fn of_pair(first: Basic, second: Basic) -> Option<Basic> {
        let is = |it: &Basic| it.pair().is_some_and(|(a, _, b)| (a, b) == (first, second));
        Basic::ALL.iter().copied().find(is)
    }

    /// How its parts are read: their kind and size. A complex number has two; pairs are taken apart
    /// before.
    pub(super) fn number(self) -> (Number, usize) {
        let size = self.size() as usize;
        match self {
            Basic::LongDouble => (Number::Extended, size),
            Basic::CLongDoubleComplex | Basic::CxxLongDoubleComplex => (Number::Extended, size / 2),
            Basic::Wchar => (Number::Wide, size),
            _ => match self.group() {
                Group::Floating => (Number::Float, size),
                Group::Complex => (Number::Float, size / 2),
                Group::FortranInteger | Group::MultiLanguage => (Number::Signed, size),
                Group::Logical => (Number::Unsigned, size),
                Group::CInteger if self.name().starts_with("MPI_U") => (Number::Unsigned, size),
                Group::CInteger => (Number::Signed, size),
                Group::Byte | Group::Pair | Group::Character | Group::Packed => {
                    (Number::Bytes, size)
                }
            },
        }
    }
}
