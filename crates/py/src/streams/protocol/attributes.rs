//! What asyncio has in the instance's dict.

use super::super::reader::StreamReaderCore;
use super::super::{given, some, stock, truth};
use super::connection::closed;
use super::{Link, StreamReaderProtocolCore, reader, set_link};
use crate::ffi::{Builder, Native as _, Obj, call};

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
        .property(
            c"_strong_reader",
            |this| Ok(this.strong_reader.get_or_none(this.py())),
            |this, value| {
                this.strong_reader.set(value.and_then(some));
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
            c"_client_connected_cb",
            |this| Ok(this.callback.get_or_none(this.py())),
            |this, value| {
                this.callback.set(some(given(value)?));
                Ok(())
            },
        )
        .property(
            c"_task",
            |this| Ok(this.task.get_or_none(this.py())),
            |this, value| {
                this.task.set(some(given(value)?));
                Ok(())
            },
        )
        .property(
            c"_stream_writer",
            |this| Ok(this.writer.get_or_none(this.py())),
            |this, value| {
                this.writer.set(some(given(value)?));
                Ok(())
            },
        )
        .property(c"_closed", closed, |this, value| {
            this.closed.set(given(value)?);
            Ok(())
        })
        .property(
            c"_source_traceback",
            |this| Ok(this.source_traceback.get_or_none(this.py())),
            |this, value| {
                this.source_traceback.set(value.and_then(some));
                Ok(())
            },
        )
        .property(
            c"_loop",
            |this| Ok(this.home.object_or_none(this.py())),
            |this, value| {
                this.home.set(this.py(), given(value)?);
                Ok(())
            },
        )
        .property(
            c"_reject_connection",
            |this| Ok(Obj::bool(this.py(), this.reject_connection.get())),
            |this, value| {
                this.reject_connection.set(truth(this.py(), value)?);
                Ok(())
            },
        )
        .property(
            c"_over_ssl",
            |this| Ok(Obj::bool(this.py(), this.over_ssl.get())),
            |this, value| {
                this.over_ssl.set(truth(this.py(), value)?);
                Ok(())
            },
        )
}
