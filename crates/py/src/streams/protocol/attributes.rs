//! What asyncio has in the instance's dict.

use super::super::reader::StreamReaderCore;
use super::super::stock;
use super::connection::closed;
use super::{Link, StreamReaderProtocolCore, reader, set_link};
use crate::ffi::{Builder, Native as _, Obj, call, given};

/// Adds the attributes.
pub fn add(builder: Builder<StreamReaderProtocolCore>) -> Builder<StreamReaderProtocolCore> {
    builder
        .getter(c"_stream_reader", |this| {
            Ok(reader(this)?.unwrap_or_else(|| Obj::none(this.py())))
        })
        .property(
            c"_stream_reader_wr",
            |this| {
                let py = this.py();
                match &*this.link.borrow() {
                    Link::None => return Ok(Obj::none(py)),
                    Link::Given(reference) => return Ok(reference.clone()),
                    Link::Ours(_) => {}
                }
                match reader(this)? {
                    Some(reader) => call::call(py, &stock::get().weakref, [&reader]),
                    None => Ok(Obj::none(py)),
                }
            },
            |this, value| {
                let py = this.py();
                let value = given(value)?;
                if value.is_none() {
                    drop(this.link.replace(Link::None));
                    return Ok(());
                }
                let reader = call::call(py, &value, [])?;
                if StreamReaderCore::class().is_instance(&reader) {
                    return set_link(this, &reader);
                }
                drop(this.link.replace(Link::Given(value)));
                Ok(())
            },
        )
        .object(c"_strong_reader", |this| &this.strong_reader)
        .object(c"_transport", |this| &this.transport)
        .object(c"_client_connected_cb", |this| &this.callback)
        .object(c"_task", |this| &this.task)
        .object(c"_stream_writer", |this| &this.writer)
        .property(c"_closed", closed, |this, value| {
            this.closed.set(given(value)?);
            Ok(())
        })
        .object(c"_source_traceback", |this| &this.source_traceback)
        .property(
            c"_loop",
            |this| Ok(this.home.object_or_none(this.py())),
            |this, value| {
                this.home.set(this.py(), given(value)?);
                Ok(())
            },
        )
        .flag(c"_reject_connection", |this| &this.reject_connection)
        .flag(c"_over_ssl", |this| &this.over_ssl)
}
