//! One error for the whole engine: a coarse kind to branch on, a message to read.
//!
//! 1. A kind exists only where a caller would act differently; each names its remedy.
//! 2. A message names the file, the offset, what was wanted and what was found; lower case, no stop.
//! 3. An error is cheap to clone, because a failed write is final and is repeated to every later
//!    caller.

use std::fmt;
use std::io;
use std::sync::Arc;

/// What went wrong, by what the caller would do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong: fix the argument. Nothing was changed.
    InvalidArgument,
    /// A collection, key or file that must exist does not.
    NotFound,
    /// A transaction lost against another: retry it.
    Conflict,
    /// A fail-fast scan met a write: restart the scan.
    Interrupted,
    /// Another process has the database open: close it there first.
    Busy,
    /// An earlier write or sync failed; reads go on. Reopen the database to write again.
    ReadOnly,
    /// Bytes on disk are not what was written: run `verify`, restore or repair.
    Corruption,
    /// The operating system refused: the message has its reason.
    Io,
    /// The files are of a newer format, or ask for a feature that this build lacks.
    Unsupported,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidArgument => "invalid argument",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Interrupted => "interrupted",
            Self::Busy => "busy",
            Self::ReadOnly => "read-only",
            Self::Corruption => "corruption",
            Self::Io => "i/o",
            Self::Unsupported => "unsupported",
        })
    }
}

/// The error of every fallible call.
///
/// One pointer wide; cloning shares the source.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The result of every fallible call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// The call is wrong; nothing was changed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Bytes of `file` at `at` are not what was written.
    pub fn corruption(
        file: impl fmt::Display,
        at: u64,
        want: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self::new(ErrorKind::Corruption, format!("{file} at byte {at}: want {want}, found {found}"))
    }

    /// The operating system failed at `doing` (as in "sync log-000004").
    pub fn io(doing: impl fmt::Display, source: io::Error) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Io,
            message: format!("{doing}: {source}"),
            source: Some(Arc::new(source)),
        }))
    }

    /// The coarse kind to branch on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without the kind.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The same error with `context` before its message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The same message and source under another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The operating system's own kind, if it was the cause.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        let source = self.0.source.as_ref()?;
        source.downcast_ref::<io::Error>().map(io::Error::kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .finish()
    }
}

/// For `std::io`'s traits: damage is `InvalidData`, the rest has the nearest kind; the error itself
/// is inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::InvalidArgument => io::ErrorKind::InvalidInput,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::Corruption => io::ErrorKind::InvalidData,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            ErrorKind::Busy => io::ErrorKind::ResourceBusy,
            // Never `Interrupted`, which callers try again without looking.
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| s.as_ref() as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_kind_file_offset_wanted_and_found() {
        let error = Error::corruption("seg-000042", 8192, "0x1badb002", "0x00000000");
        assert_eq!(
            error.to_string(),
            "corruption: seg-000042 at byte 8192: want 0x1badb002, found 0x00000000"
        );
    }

    #[test]
    fn an_error_passes_through_std_io_and_is_found_again() {
        let error = io::Error::from(Error::corruption("blob-000001", 7, "a", "b"));
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<Error>());
        assert_eq!(inside.map(Error::kind), Some(ErrorKind::Corruption));
    }

    #[test]
    fn an_error_keeps_what_the_system_said() {
        let error = Error::io("sync log-000001", io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.io_kind(), Some(io::ErrorKind::StorageFull));
        assert_eq!(error.clone().kind(), ErrorKind::Io);
    }
}
