//! The client without Python: one connection, one request at a time.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
};

use roundel_bridge::roundel::{Lock, net::TcpStream};

/// What can go wrong.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(io::Error),
    /// An answer that the protocol does not have.
    Answer(String),
    /// A request was given up before its answer was read.
    Broken,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Whose turn it is; and what has been read beyond the last answer.
    turn: Lock<Vec<u8>>,
    in_request: Cell<bool>,
    cache: RefCell<HashMap<String, String>>,
}

impl Connection {
    pub(crate) async fn open(host: &str, port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect((host, port)).await?;
        Ok(Self {
            stream,
            turn: Lock::new(Vec::new()),
            in_request: Cell::new(false),
            cache: RefCell::default(),
        })
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        let line = self.request(&format!("GET {key}\n")).await?;
        match line.split_once(' ') {
            Some(("VALUE", value)) => {
                self.remember(key, value);
                Ok(Some(value.to_owned()))
            }
            None if line == "NONE" => Ok(None),
            Some(_) | None => Err(Failure::Answer(line)),
        }
    }

    pub(crate) async fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        let line = self.request(&format!("SET {key} {value}\n")).await?;
        match line.as_str() {
            "OK" => {
                self.remember(key, value);
                Ok(())
            }
            _ => Err(Failure::Answer(line)),
        }
    }

    pub(crate) fn cached(&self, key: &str) -> Option<String> {
        self.cache.borrow().get(key).cloned()
    }

    fn remember(&self, key: &str, value: &str) {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.cache.borrow_mut().insert(key, value);
    }

    /// Sends a line and reads the one that answers it. Cancelled in between, the connection is of no more use: the next
    /// answer would be that of this request.
    async fn request(&self, line: &str) -> Result<String, Failure> {
        let mut rest = self.turn.acquire().await;
        if self.in_request.replace(true) {
            return Err(Failure::Broken);
        }
        self.stream.write_all(line.as_bytes()).await?;
        let mut buffer = [0; 4096];
        let end = loop {
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                break end;
            }
            match self.stream.read(&mut buffer).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                n => rest.extend_from_slice(&buffer[..n]),
            }
        };
        self.in_request.set(false);
        let answer: Vec<u8> = rest.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&answer[..end]).into_owned())
    }
}
