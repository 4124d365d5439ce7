//! Error classes of the standard and what calls of the full interface fail with (MPI 5.0, 9.4).

use std::borrow::Cow;

/// What a call of the full interface gives.
pub type Outcome<T> = Result<T, Failure>;

/// Why a call failed: a class of the standard, and what happened in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", .class.name())]
pub struct Failure {
    /// Class of the error.
    pub class: Class,
    /// What was wrong and how to put it right.
    pub why: Cow<'static, str>,
    /// Code to return instead of the class: one that the application or its callback made.
    pub code: Option<i32>,
    /// Handle of the communicator whose operation failed, where the call does not name it.
    pub on: Option<usize>,
}

impl Failure {
    /// A failure of this class.
    #[must_use]
    #[cold]
    pub fn new(class: Class, why: impl Into<Cow<'static, str>>) -> Self {
        Self { class, why: why.into(), code: None, on: None }
    }

    /// A code that a callback of the application returned.
    #[must_use]
    #[cold]
    pub fn of_callback(code: i32) -> Self {
        let class = Class::of_code(code).unwrap_or(Class::Other);
        let why = Cow::Borrowed("a function of the application failed");
        Self { class, why, code: Some(code), on: None }
    }

    /// The code that the call returns.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code.unwrap_or(self.class as i32)
    }
}

/// A failure of this class, as a result.
///
/// # Errors
/// Always.
#[cold]
pub fn fail<T>(class: Class, why: impl Into<Cow<'static, str>>) -> Outcome<T> {
    Err(Failure::new(class, why))
}

macro_rules! classes {
    ($($name:ident = $value:literal, $standard:literal, $text:literal;)*) => {
        /// The error classes, with the values of the standard ABI (MPI 5.0, 20).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Class {
            $(#[doc = concat!("`", $standard, "`: ", $text, ".")] $name = $value,)*
        }

        impl Class {
            /// All of them.
            pub const ALL: &[Class] = &[$(Class::$name,)*];

            /// Its name in the standard.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Class::$name => $standard,)* }
            }

            /// Its meaning in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Class::$name => $text,)* }
            }

            /// The class that is this code; none for success and for codes of applications.
            #[must_use]
            pub fn of_code(code: i32) -> Option<Self> {
                match code { $($value => Some(Class::$name),)* _ => None }
            }
        }
    };
}

classes! {
    Buffer = 1, "MPI_ERR_BUFFER", "invalid buffer pointer";
    Count = 2, "MPI_ERR_COUNT", "invalid count";
    Type = 3, "MPI_ERR_TYPE", "invalid datatype";
    Tag = 4, "MPI_ERR_TAG", "invalid tag";
    Comm = 5, "MPI_ERR_COMM", "invalid communicator";
    Rank = 6, "MPI_ERR_RANK", "invalid rank";
    Request = 7, "MPI_ERR_REQUEST", "invalid request";
    Root = 8, "MPI_ERR_ROOT", "invalid root";
    Group = 9, "MPI_ERR_GROUP", "invalid group";
    Op = 10, "MPI_ERR_OP", "invalid operation";
    Topology = 11, "MPI_ERR_TOPOLOGY", "invalid topology";
    Dims = 12, "MPI_ERR_DIMS", "invalid dimensions";
    Arg = 13, "MPI_ERR_ARG", "invalid argument";
    Unknown = 14, "MPI_ERR_UNKNOWN", "unknown error";
    Truncate = 15, "MPI_ERR_TRUNCATE", "message truncated";
    Other = 16, "MPI_ERR_OTHER", "error, see its text";
    Intern = 17, "MPI_ERR_INTERN", "internal error";
    Pending = 18, "MPI_ERR_PENDING", "pending request";
    InStatus = 19, "MPI_ERR_IN_STATUS", "the error is in the status";
    Access = 20, "MPI_ERR_ACCESS", "permission denied";
    Amode = 21, "MPI_ERR_AMODE", "invalid access mode";
    Assert = 22, "MPI_ERR_ASSERT", "invalid assertion";
    BadFile = 23, "MPI_ERR_BAD_FILE", "invalid file name";
    Base = 24, "MPI_ERR_BASE", "invalid base address";
    Conversion = 25, "MPI_ERR_CONVERSION", "error in data conversion";
    Disp = 26, "MPI_ERR_DISP", "invalid displacement";
    DupDatarep = 27, "MPI_ERR_DUP_DATAREP", "data representation defined twice";
    FileExists = 28, "MPI_ERR_FILE_EXISTS", "file exists";
    FileInUse = 29, "MPI_ERR_FILE_IN_USE", "file in use";
    File = 30, "MPI_ERR_FILE", "invalid file";
    InfoKey = 31, "MPI_ERR_INFO_KEY", "invalid info key";
    InfoNokey = 32, "MPI_ERR_INFO_NOKEY", "no such info key";
    InfoValue = 33, "MPI_ERR_INFO_VALUE", "invalid info value";
    Info = 34, "MPI_ERR_INFO", "invalid info";
    Io = 35, "MPI_ERR_IO", "input or output error";
    Keyval = 36, "MPI_ERR_KEYVAL", "invalid attribute key";
    Locktype = 37, "MPI_ERR_LOCKTYPE", "invalid lock type";
    Name = 38, "MPI_ERR_NAME", "service not published";
    NoMem = 39, "MPI_ERR_NO_MEM", "out of memory";
    NotSame = 40, "MPI_ERR_NOT_SAME", "arguments differ between ranks";
    NoSpace = 41, "MPI_ERR_NO_SPACE", "no space left";
    NoSuchFile = 42, "MPI_ERR_NO_SUCH_FILE", "no such file";
    Port = 43, "MPI_ERR_PORT", "invalid port";
    Quota = 44, "MPI_ERR_QUOTA", "quota exceeded";
    ReadOnly = 45, "MPI_ERR_READ_ONLY", "read-only file or file system";
    RmaAttach = 46, "MPI_ERR_RMA_ATTACH", "memory cannot be attached";
    RmaConflict = 47, "MPI_ERR_RMA_CONFLICT", "conflicting accesses to a window";
    RmaRange = 48, "MPI_ERR_RMA_RANGE", "memory outside of the window";
    RmaShared = 49, "MPI_ERR_RMA_SHARED", "memory cannot be shared";
    RmaSync = 50, "MPI_ERR_RMA_SYNC", "wrong synchronization";
    Service = 51, "MPI_ERR_SERVICE", "invalid service name";
    Size = 52, "MPI_ERR_SIZE", "invalid size";
    Spawn = 53, "MPI_ERR_SPAWN", "processes could not be started";
    UnsupportedDatarep = 54, "MPI_ERR_UNSUPPORTED_DATAREP", "unsupported data representation";
    UnsupportedOperation = 55, "MPI_ERR_UNSUPPORTED_OPERATION", "unsupported operation";
    Win = 56, "MPI_ERR_WIN", "invalid window";
    RmaFlavor = 57, "MPI_ERR_RMA_FLAVOR", "wrong flavor of window";
    ProcAborted = 58, "MPI_ERR_PROC_ABORTED", "a process of the job ended";
    ValueTooLarge = 59, "MPI_ERR_VALUE_TOO_LARGE", "value too large for its type";
    Session = 60, "MPI_ERR_SESSION", "invalid session";
    Errhandler = 61, "MPI_ERR_ERRHANDLER", "invalid error handler";
    Abi = 62, "MPI_ERR_ABI", "wrong ABI";
    TCannotInit = 1001, "MPI_T_ERR_CANNOT_INIT", "the tool interface cannot be initialized";
    TNotAccessible = 1002, "MPI_T_ERR_NOT_ACCESSIBLE", "not accessible";
    TNotInitialized = 1003, "MPI_T_ERR_NOT_INITIALIZED", "the tool interface is not initialized";
    TNotSupported = 1004, "MPI_T_ERR_NOT_SUPPORTED", "not supported";
    TMemory = 1005, "MPI_T_ERR_MEMORY", "out of memory";
    TInvalid = 1006, "MPI_T_ERR_INVALID", "invalid use of the tool interface";
    TInvalidIndex = 1007, "MPI_T_ERR_INVALID_INDEX", "invalid index";
    TInvalidItem = 1008, "MPI_T_ERR_INVALID_ITEM", "invalid item";
    TInvalidSession = 1009, "MPI_T_ERR_INVALID_SESSION", "invalid session of the tool interface";
    TInvalidHandle = 1010, "MPI_T_ERR_INVALID_HANDLE", "invalid handle";
    TInvalidName = 1011, "MPI_T_ERR_INVALID_NAME", "invalid name";
    TOutOfHandles = 1012, "MPI_T_ERR_OUT_OF_HANDLES", "no handles left";
    TOutOfSessions = 1013, "MPI_T_ERR_OUT_OF_SESSIONS", "no sessions left";
    TCvarSetNotNow = 1014, "MPI_T_ERR_CVAR_SET_NOT_NOW", "the variable cannot be set now";
    TCvarSetNever = 1015, "MPI_T_ERR_CVAR_SET_NEVER", "the variable cannot be set";
    TPvarNoWrite = 1016, "MPI_T_ERR_PVAR_NO_WRITE", "the variable cannot be written";
    TPvarNoStartstop = 1017, "MPI_T_ERR_PVAR_NO_STARTSTOP", "the variable cannot be started or stopped";
    TPvarNoAtomic = 1018, "MPI_T_ERR_PVAR_NO_ATOMIC", "the variable cannot be read and reset at once";
}
