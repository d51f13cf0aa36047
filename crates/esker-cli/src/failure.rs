//! How a verb ends: done, a plain "no", or an error in one line.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The end of a verb that met no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit 0.
    Done,
    /// Exit 1: the key is absent, the database is damaged.
    No,
}

/// The end of a verb that could not do its work: exit 2.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Standard output could not be written; a closed pipe is none of our business.
    Output(io::Error),
    /// All else, ready to be read: what, and where.
    Told(String),
}

/// What every verb returns.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure that says `message`.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Told(message.into())
    }

    /// The operating system failed at `doing` something to `path`.
    pub(crate) fn at(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::Told(format!("{doing} {}: {error}", path.display()))
    }

    /// The command line does not follow the grammar.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let what = text.split("\n\n").next().unwrap_or_default().trim();
        // Clap answers an empty command line with its help, which begins otherwise.
        let what = what.strip_prefix("error: ").unwrap_or("no verb is given");
        Self::Told(format!("{what} (see `esker --help`)"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Output(error) => format!("write to standard output: {error}"),
            Self::Told(message) => message.clone(),
        };
        let mut words = text.split_whitespace();
        f.write_str(words.next().unwrap_or_default())?;
        words.try_for_each(|word| write!(f, " {word}"))
    }
}

/// An `io::Error` that nobody named a file for comes from standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

impl From<esker::Error> for Failure {
    fn from(error: esker::Error) -> Self {
        Self::Told(error.to_string())
    }
}

/// Tells an error on standard error and turns the end of a verb into the process's.
pub(crate) fn exit_code(outcome: Result<Outcome>) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("esker: {failure}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::new("corruption: seg-000042\nat  byte 8192");
        assert_eq!(failure.to_string(), "corruption: seg-000042 at byte 8192");
    }
}
