//! Addresses as Python shows them: `(host, port)`, `(host, port, flowinfo, scope_id)`, a path.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use roundel_core::Address;

use super::plain;
use crate::ffi::{Obj, call};

/// Whether [`show`] knows the addresses of this family.
pub fn is_shown(family: i64) -> bool {
    let module = plain::module();
    [module.inet, module.inet6, module.unix].contains(&family)
}

/// What `socket.recvfrom()` and `accept()` give as the address.
pub fn show(py: Python<'_>, address: &Address) -> PyResult<Obj> {
    let text = |text: &str| Obj::from(PyString::new(py, text).into_any());
    let number = |number: u32| Obj::int(py, i64::from(number));
    match address {
        Address::V4(address) => {
            let host = text(&address.ip().to_string());
            call::tuple(py, [&host, &number(u32::from(address.port()))].into_iter())
        }
        Address::V6(address) => {
            let host = text(&host_v6(*address.ip()));
            let rest = [
                number(u32::from(address.port())),
                number(u32::from_be(address.flowinfo())),
                number(address.scope_id()),
            ];
            call::tuple(py, [&host, &rest[0], &rest[1], &rest[2]].into_iter())
        }
        Address::Unix(name) => match name.first() {
            Some(0) => call::bytes(py, name),
            Some(_) | None => Ok(OsStr::from_bytes(name)
                .into_pyobject(py)
                .map(|path| path.into_any().into())?),
        },
        Address::Unnamed | Address::Other => Ok(Obj::none(py)),
    }
}

/// As the C library writes it, which has the last four bytes in IPv4's way where they stand alone.
fn host_v6(host: Ipv6Addr) -> String {
    match host.segments() {
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
            let [.., a, b, c, d] = host.octets();
            format!("::{}", Ipv4Addr::new(a, b, c, d))
        }
        _ => host.to_string(),
    }
}

/// The address in a tuple whose host is a number. None for names, and for anything that the socket's own method had
/// better look at.
pub fn read(py: Python<'_>, object: &Obj, family: i64) -> PyResult<Option<Address>> {
    let Ok(tuple) = object.bind(py).cast_exact::<PyTuple>() else {
        return Ok(None);
    };
    let module = plain::module();
    let len = tuple.len();
    if len < 2 {
        return Ok(None);
    }
    let number = |index: usize| -> PyResult<Option<i64>> {
        Ok(call::small_int(&tuple.get_item(index)?.into()))
    };
    let host = tuple.get_item(0)?;
    let (Ok(host), Some(port)) = (host.cast_exact::<PyString>(), number(1)?) else {
        return Ok(None);
    };
    let (Ok(host), Ok(port)) = (host.to_str(), u16::try_from(port)) else {
        return Ok(None);
    };
    if family == module.inet && len == 2 {
        let host = host.parse::<Ipv4Addr>().ok();
        return Ok(host.map(|host| Address::V4(SocketAddrV4::new(host, port))));
    }
    if family != module.inet6 || !matches!(len, 2 | 4) {
        return Ok(None);
    }
    let (flow, scope) = if len == 4 {
        (number(2)?, number(3)?)
    } else {
        (Some(0), Some(0))
    };
    let small = |number: Option<i64>, most: i64| {
        number
            .filter(|number| (0..=most).contains(number))
            .and_then(|number| u32::try_from(number).ok())
    };
    let (Ok(host), Some(flow), Some(scope)) = (
        host.parse::<Ipv6Addr>(),
        small(flow, 0xf_ffff),
        small(scope, i64::from(u32::MAX)),
    ) else {
        return Ok(None);
    };
    Ok(Some(Address::V6(SocketAddrV6::new(
        host,
        port,
        flow.to_be(),
        scope,
    ))))
}
