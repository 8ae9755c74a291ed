//! Owns: how a turn fails.

use std::{error, fmt, io};

/// Why [`Loop::turn`](crate::Loop::turn) stopped early.
#[derive(Debug)]
pub enum TurnError<E> {
    /// Waiting for readiness failed. `Interrupted` is no failure of the loop: a signal arrived, and
    /// the caller may look at it and turn again. Nothing was run.
    Io(io::Error),
    /// A callback failed. The callbacks behind it are still ready, in their order.
    Callback(E),
}

impl<E> From<io::Error> for TurnError<E> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E: fmt::Display> fmt::Display for TurnError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "waiting for readiness failed: {error}"),
            Self::Callback(error) => write!(f, "a callback failed: {error}"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for TurnError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Callback(error) => Some(error),
        }
    }
}
