use std::fmt;

/// Why some bytes are not readable, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    kind: ErrorKind,
    offset: usize,
}

/// What the reader stumbled over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// There is nothing but white space.
    Empty,
    /// The bytes are not UTF-8 (UTF-16 and UTF-32 end here as well).
    NotUtf8,
    /// The text begins with U+FEFF.
    ByteOrderMark,
    /// The text ends in the middle of a value.
    UnexpectedEnd,
    /// A byte that the grammar does not allow in this place.
    UnexpectedByte,
    /// A backslash is followed by something that is no escape sequence.
    BadEscape,
    /// A control character stands unescaped in a string.
    ControlCharacter,
    /// Something follows the value.
    TrailingData,
    /// An escaped surrogate without its other half.
    LoneSurrogate,
    /// A number that is infinite as a 64-bit float.
    NumberOutOfRange,
    /// Objects and arrays are nested too deep.
    TooDeep,
    /// One object has too many members.
    TooManyKeys,
    /// One object has two members of the same name.
    DuplicateKey,
}

impl Error {
    pub(crate) const fn new(kind: ErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    pub(crate) const fn kind(self) -> ErrorKind {
        self.kind
    }

    /// The byte at which the reader gave up.
    pub(crate) const fn offset(self) -> usize {
        self.offset
    }
}

impl ErrorKind {
    /// Whether the text breaks the JSON grammar, rather than being well-formed
    /// text that parsers read differently.
    pub(crate) const fn breaks_grammar(self) -> bool {
        match self {
            Self::Empty
            | Self::NotUtf8
            | Self::ByteOrderMark
            | Self::UnexpectedEnd
            | Self::UnexpectedByte
            | Self::BadEscape
            | Self::ControlCharacter
            | Self::TrailingData => true,
            Self::LoneSurrogate
            | Self::NumberOutOfRange
            | Self::TooDeep
            | Self::TooManyKeys
            | Self::DuplicateKey => false,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::NotUtf8 => "it is not UTF-8",
            Self::ByteOrderMark => "it begins with a byte order mark",
            Self::UnexpectedEnd => "it ends in the middle of a value",
            Self::UnexpectedByte => "there is a character that JSON does not allow here",
            Self::BadEscape => "there is a backslash that begins no escape sequence",
            Self::ControlCharacter => "there is an unescaped control character in a string",
            Self::TrailingData => "something follows the value",
            Self::LoneSurrogate => "there is an escaped surrogate without its other half",
            Self::NumberOutOfRange => "there is a number too large for a 64-bit float",
            Self::TooDeep => "objects and arrays are nested too deep",
            Self::TooManyKeys => "an object has too many members",
            Self::DuplicateKey => "an object has two members of the same name",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.kind, self.offset)
    }
}

impl std::error::Error for Error {}
