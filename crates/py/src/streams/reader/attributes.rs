//! What asyncio has in the instance's dict.

use super::super::buffer::Wanted;
use super::super::hooks::ODD;
use super::super::{given, some, truth};
use super::{StreamReaderCore, no_loop, set_limit};
use crate::ffi::{Builder, Obj};

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
        .property(
            c"_eof",
            |this| Ok(Obj::bool(this.py(), this.eof.get())),
            |this, value| {
                this.eof.set(truth(this.py(), value)?);
                Ok(())
            },
        )
        .property(
            c"_paused",
            |this| Ok(Obj::bool(this.py(), this.paused.get())),
            |this, value| {
                this.paused.set(truth(this.py(), value)?);
                Ok(())
            },
        )
        .property(
            c"_exception",
            |this| Ok(this.exception.get_or_none(this.py())),
            |this, value| {
                this.exception.set(some(given(value)?));
                Ok(())
            },
        )
        .property(
            c"_transport",
            |this| Ok(this.transport.get_or_none(this.py())),
            |this, value| {
                this.transport.set(some(given(value)?));
                Ok(())
            },
        )
        .property(
            c"_waiter",
            |this| Ok(this.waiter.get_or_none(this.py())),
            |this, value| {
                this.wanted.set(Wanted::Nothing);
                this.waiter.set(some(given(value)?));
                Ok(())
            },
        )
        .property(
            c"_source_traceback",
            |this| Ok(this.source_traceback.get_or_none(this.py())),
            |this, value| {
                this.source_traceback.set(value.and_then(some));
                Ok(())
            },
        )
}
