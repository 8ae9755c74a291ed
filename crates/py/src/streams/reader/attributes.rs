//! What asyncio has in the instance's dict.

use super::super::buffer::Wanted;
use super::super::hooks::ODD;

use super::{StreamReaderCore, no_loop, set_limit};
use crate::ffi::{Builder, Obj, given};

/// Adds the attributes.
pub fn add(builder: Builder<StreamReaderCore>) -> Builder<StreamReaderCore> {
    builder
        .property(
            c"_limit",
            |this| match this.odd_limit.get() {
                Some(limit) => Ok(limit),
                None => Ok(Obj::int(this.py(), this.limit.get())),
            },
            |this, value| {
                set_limit(this, &given(value)?);
                Ok(())
            },
        )
        .property(
            c"_loop",
            |this| {
                if this.home.is_empty() {
                    return Err(no_loop());
                }
                this.home.object(this.py())
            },
            |this, value| {
                this.home.set(this.py(), given(value)?);
                Ok(())
            },
        )
        .property(
            c"_buffer",
            |this| this.buffer.show(this.py()),
            |this, value| {
                if !this.buffer.replace(given(value)?) {
                    this.replaced.replaced(ODD);
                }
                Ok(())
            },
        )
        .flag(c"_eof", |this| &this.eof)
        .flag(c"_paused", |this| &this.paused)
        .object(c"_exception", |this| &this.exception)
        .object(c"_transport", |this| &this.transport)
        .property(
            c"_waiter",
            |this| Ok(this.waiter.get_or_none(this.py())),
            |this, value| {
                this.wanted.set(Wanted::Nothing);
                this.waiter.set(given(value)?.some());
                Ok(())
            },
        )
        .object(c"_source_traceback", |this| &this.source_traceback)
}
