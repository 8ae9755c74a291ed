//! States that programs see as members of one of asyncio's own enums.
//!
//! Owns: the way from a native state to the member, and back. Leaves out: the states, which are their objects', and the
//! enum, which is asked of asyncio.
//!
//! The trade: a member is looked up by its value each time. Who asks is a `repr`, a copy or a test.

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::ffi::Obj;

/// A native state that an enum of asyncio's has a member for.
pub trait Member: Copy + 'static {
    /// All there are.
    const ALL: &'static [Self];

    /// The member's value.
    fn word(self) -> &'static str;

    /// The member of `members`.
    fn show(self, py: Python<'_>, members: &Obj) -> PyResult<Obj> {
        Ok(members.bind(py).call1((self.word(),))?.into())
    }

    /// What `member` stands for. None is what it is when the attribute is deleted.
    fn of(py: Python<'_>, member: Option<Obj>) -> PyResult<Self> {
        let member = member.unwrap_or_else(|| Obj::none(py));
        let word: String = member.bind(py).getattr(intern!(py, "value"))?.extract()?;
        let found = Self::ALL.iter().find(|known| known.word() == word);
        found.copied().ok_or_else(|| PyValueError::new_err(word))
    }
}
