//! How far a TLS connection has come, and how far its protocol has been told.
//!
//! ```text
//! State      Unwrapped --> DoHandshake --> Wrapped --> Flushing --> Shutdown     (each --> Unwrapped)
//! AppState   Init --connection_made--> ConMade --eof_received--> Eof --connection_lost--> ConLost
//! ```

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum State {
    /// Not begun, or over.
    #[default]
    Unwrapped,
    /// The peers agree on keys.
    DoHandshake,
    /// Data flows.
    Wrapped,
    /// Closing: what the peer had sent is given to the protocol.
    Flushing,
    /// Closing: close_notify is exchanged.
    Shutdown,
}

impl State {
    /// asyncio's name of it.
    pub fn name(self) -> &'static str {
        match self {
            State::Unwrapped => "UNWRAPPED",
            State::DoHandshake => "DO_HANDSHAKE",
            State::Wrapped => "WRAPPED",
            State::Flushing => "FLUSHING",
            State::Shutdown => "SHUTDOWN",
        }
    }

    /// The next state. `RuntimeError` in asyncio's words if it cannot follow.
    pub fn then(self, next: State) -> PyResult<State> {
        let before = match next {
            State::Unwrapped => return Ok(next),
            State::DoHandshake => State::Unwrapped,
            State::Wrapped => State::DoHandshake,
            State::Flushing => State::Wrapped,
            State::Shutdown => State::Flushing,
        };
        if self == before {
            return Ok(next);
        }
        Err(PyRuntimeError::new_err(format!(
            "cannot switch state from SSLProtocolState.{} to SSLProtocolState.{}",
            self.name(),
            next.name()
        )))
    }

    /// Whether what a program writes is dropped: the connection is closing, or there is none.
    pub fn drops_writes(self) -> bool {
        match self {
            State::Flushing | State::Shutdown | State::Unwrapped => true,
            State::DoHandshake | State::Wrapped => false,
        }
    }

    /// Whether data of the peer is given to the protocol.
    pub fn reads(self) -> bool {
        match self {
            State::Wrapped | State::Flushing => true,
            State::Unwrapped | State::DoHandshake | State::Shutdown => false,
        }
    }

    /// Whether the time for closing runs.
    pub fn is_shutting_down(self) -> bool {
        match self {
            State::Flushing | State::Shutdown => true,
            State::Unwrapped | State::DoHandshake | State::Wrapped => false,
        }
    }
}

/// Of the protocol above.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AppState {
    /// It knows nothing.
    #[default]
    Init,
    /// It is connected.
    ConMade,
    /// It knows that the peer sends no more.
    Eof,
    /// It knows, or will in the next turn, that the connection is gone.
    ConLost,
}

impl AppState {
    /// asyncio's name of it.
    pub fn name(self) -> &'static str {
        match self {
            AppState::Init => "STATE_INIT",
            AppState::ConMade => "STATE_CON_MADE",
            AppState::Eof => "STATE_EOF",
            AppState::ConLost => "STATE_CON_LOST",
        }
    }

    /// `connection_made` is due: the state after it.
    pub fn made(self) -> Option<AppState> {
        match self {
            AppState::Init => Some(AppState::ConMade),
            AppState::ConMade | AppState::Eof | AppState::ConLost => None,
        }
    }

    /// `eof_received` is due.
    pub fn ended(self) -> Option<AppState> {
        match self {
            AppState::ConMade => Some(AppState::Eof),
            AppState::Init | AppState::Eof | AppState::ConLost => None,
        }
    }

    /// `connection_lost` is due.
    pub fn lost(self) -> Option<AppState> {
        match self {
            AppState::ConMade | AppState::Eof => Some(AppState::ConLost),
            AppState::Init | AppState::ConLost => None,
        }
    }
}
