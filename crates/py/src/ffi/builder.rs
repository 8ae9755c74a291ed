//! Putting a native class together: its methods, attributes and slots, as safe functions, and its layout.
//!
//! Owns: the tables that the interpreter reads, the offset of the Rust value behind the base. Leaves out: what happens
//! to instances (`class`) and what happens in a call (`border`).

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_uint, c_ulong, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::Ordering;

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::args::Args;
use super::border;
use super::bound::definition_without_args;
use super::class::{Class, Native, This, allocate_from_python, clear, dealloc, finalize, traverse};
use super::coroutine::Resumed;
use super::function::CoroutineFunction;
use super::obj::{Obj, Slot};
use crate::wait::Kind;

/// What a setter was given; `AttributeError` for `del`.
pub fn given(value: Option<Obj>) -> PyResult<Obj> {
    value.ok_or_else(|| PyAttributeError::new_err("cannot delete attribute"))
}

/// What a class is laid out behind.
pub enum Base {
    /// Nothing but the object header.
    Object,
    /// A native class of ours, whose Rust value is the first field of this one's (`#[repr(C)]`).
    Native(&'static Class),
    /// A class written in C, which has its own traverse and clear.
    C(Obj),
    /// A class written in Python, whose slots stay unused.
    Python(Obj),
}

/// Makes a class.
pub struct Builder<T> {
    slots: Vec<ffi::PyType_Slot>,
    methods: Vec<ffi::PyMethodDef>,
    attributes: Vec<ffi::PyGetSetDef>,
    shared: Vec<(&'static CStr, ffi::PyMethodDef)>,
    coroutines: Vec<CoroutineFunction>,
    /// The class whose coroutine methods say what the arguments of these are.
    stock: Option<Obj>,
    /// Where in the Rust value the function is that a call of an instance runs.
    vectorcall: Option<usize>,
    /// Put into the class behind its attributes' back.
    iter_unseen: Option<ffi::getiterfunc>,
    flags: c_ulong,
    _class: PhantomData<T>,
}

impl<T: Native> Builder<T> {
    /// A class with nothing but allocation and garbage collection.
    pub fn new() -> Self {
        let mut builder = Self {
            slots: Vec::new(),
            methods: Vec::new(),
            attributes: Vec::new(),
            shared: Vec::new(),
            coroutines: Vec::new(),
            stock: None,
            vectorcall: None,
            iter_unseen: None,
            flags: ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC,
            _class: PhantomData,
        };
        builder.slot(ffi::Py_tp_doc, T::DOC.as_ptr().cast_mut().cast());
        builder.slot(ffi::Py_tp_new, allocate_from_python::<T> as *mut c_void);
        builder.slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void);
        builder.slot(ffi::Py_tp_traverse, traverse::<T> as *mut c_void);
        builder.slot(ffi::Py_tp_clear, clear::<T> as *mut c_void);
        if T::FINALIZES {
            builder.slot(ffi::Py_tp_finalize, finalize::<T> as *mut c_void);
        }
        builder
    }

    fn slot(&mut self, id: c_int, function: *mut c_void) {
        self.slots.push(ffi::PyType_Slot {
            slot: id,
            pfunc: function,
        });
    }

    /// Adds a method. The function captures nothing; so do all the ones below.
    pub fn method<F>(mut self, name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
    {
        self.methods
            .push(super::bound::definition::<T, F>(name, doc));
        self
    }

    /// Adds a method without arguments.
    pub fn no_args<F>(mut self, name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Obj> + Copy,
    {
        let definition = definition_without_args(name, border::no_args::<T, F>, doc);
        self.methods.push(definition);
        self
    }

    /// As [`Builder::no_args`] and [`Builder::shared_method`].
    pub fn shared_no_args<F>(
        mut self,
        name: &'static CStr,
        _function: F,
        doc: &'static CStr,
    ) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Obj> + Copy,
    {
        let definition = definition_without_args(name, border::shared_no_args::<T, F>, doc);
        self.shared.push((name, definition));
        self
    }

    /// Adds a method that can be called on instances of classes beside this one, when called through the class:
    /// `Future.result(task)`. The C base class, which both derive from, is what the interpreter checks; then
    /// [`Native::find`] says whether the object has what the method needs.
    pub fn shared_method<F>(mut self, name: &'static CStr, _function: F, doc: &'static CStr) -> Self
    where
        F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
    {
        let mut definition = super::bound::definition::<T, F>(name, doc);
        definition.ml_meth = ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: border::shared_method::<T, F>,
        };
        self.shared.push((name, definition));
        self
    }

    /// Adds a coroutine method: one that returns what is to be awaited. `qualname` is `Class.method`.
    pub fn coroutine<F>(mut self, qualname: &'static str, function: F, doc: &'static str) -> Self
    where
        F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
    {
        let function = CoroutineFunction::of_class::<T, F>(qualname, function, doc);
        self.coroutines.push(function);
        self
    }

    /// Adds `__aenter__` or `__aexit__`: a coroutine method of which it can be said, of an instance, what kind of wait
    /// `async with` is given by it. That is asked instead of calling it where nobody else has bound it, and, for
    /// `__aexit__`, where no exception leaves the block; `None` if it has to be called all the same.
    pub fn block_end<F, K>(
        mut self,
        qualname: &'static str,
        function: F,
        kind: K,
        doc: &'static str,
    ) -> Self
    where
        F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<Obj> + Copy,
        K: for<'a> Fn(This<'a, T>) -> Option<&'static Kind> + Copy,
    {
        let function = CoroutineFunction::of_class::<T, F>(qualname, function, doc);
        self.coroutines.push(function.with_kind::<T, K>(kind));
        self
    }

    /// Names the class of asyncio whose coroutine methods these take the place of, where it is not the base.
    pub fn in_place_of(mut self, stock: &Obj) -> Self {
        self.stock = Some(stock.clone());
        self
    }

    /// Lets instances be called: the Rust value holds the function at this offset, for an instance its own. They bind
    /// to instances of a class that they are an attribute of, as functions do.
    pub(super) fn function(mut self, vectorcall: usize) -> Self {
        self.slot(ffi::Py_tp_descr_get, border::bind_method as *mut c_void);
        self.flags |= ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
        self.callable(vectorcall)
    }

    /// The same without binding.
    pub(super) fn callable(mut self, vectorcall: usize) -> Self {
        self.vectorcall = Some(vectorcall);
        self.flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL;
        self.slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void);
        self
    }

    /// Adds a read-only attribute.
    pub fn getter<F>(mut self, name: &'static CStr, _get: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Obj> + Copy,
    {
        self.attributes
            .push(attribute(name, border::getter::<T, F>, None));
        self
    }

    /// Adds an attribute that can be set, and deleted if the setter lets it (it is given `None`).
    pub fn property<F, G>(mut self, name: &'static CStr, _get: F, _set: G) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Obj> + Copy,
        G: for<'a> Fn(This<'a, T>, Option<Obj>) -> PyResult<()> + Copy,
    {
        self.attributes.push(attribute(
            name,
            border::getter::<T, F>,
            Some(border::setter::<T, G>),
        ));
        self
    }

    /// Adds an attribute that is an object, kept in a slot of the instance; `None` empties the slot. It cannot be deleted.
    pub fn object<F>(self, name: &'static CStr, field: F) -> Self
    where
        F: for<'a> Fn(&'a T) -> &'a Slot + Copy,
    {
        self.property(
            name,
            move |this| Ok(field(&this).get_or_none(this.py())),
            move |this, value| {
                field(&this).set(given(value)?.some());
                Ok(())
            },
        )
    }

    /// Adds an attribute that is true or false, and is set by whatever is one of them. It cannot be deleted.
    pub fn flag<F>(self, name: &'static CStr, field: F) -> Self
    where
        F: for<'a> Fn(&'a T) -> &'a Cell<bool> + Copy,
    {
        self.property(
            name,
            move |this| Ok(Obj::bool(this.py(), field(&this).get())),
            move |this, value| {
                let value = given(value)?.bind(this.py()).is_truthy()?;
                field(&this).set(value);
                Ok(())
            },
        )
    }

    /// `__init__`.
    pub fn init<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>, Args<'a>) -> PyResult<()> + Copy,
    {
        self.slot(ffi::Py_tp_init, border::init::<T, F> as *mut c_void);
        self
    }

    /// `__repr__`.
    pub fn repr<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
    {
        self.slot(ffi::Py_tp_repr, border::unary::<T, F> as *mut c_void);
        self
    }

    /// `__iter__`.
    pub fn iter<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
    {
        self.slot(ffi::Py_tp_iter, border::unary::<T, F> as *mut c_void);
        self
    }

    /// What `yield from` calls, with no `__iter__` to be seen: by that a coroutine would be taken for a generator.
    pub fn iter_unseen<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
    {
        self.iter_unseen = Some(border::unary::<T, F>);
        self
    }

    /// `__next__`; `None` ends the iteration.
    pub fn iternext<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
    {
        self.slot(ffi::Py_tp_iternext, border::unary::<T, F> as *mut c_void);
        self
    }

    /// `__await__`.
    pub fn awaits<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
    {
        self.slot(ffi::Py_am_await, border::unary::<T, F> as *mut c_void);
        self
    }

    /// `__aiter__`, in a class whose `__anext__` is a coroutine function.
    pub fn aiter<F>(mut self, _iter: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
    {
        self.slot(ffi::Py_am_aiter, border::unary::<T, F> as *mut c_void);
        self
    }

    /// `__aiter__` and `__anext__`.
    pub fn async_iter<F, G>(mut self, _iter: F, _next: G) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
        G: for<'a> Fn(This<'a, T>) -> PyResult<Option<Obj>> + Copy,
    {
        self.slot(ffi::Py_am_aiter, border::unary::<T, F> as *mut c_void);
        self.slot(ffi::Py_am_anext, border::unary::<T, G> as *mut c_void);
        self
    }

    /// What each resume runs, by `next()` and by `PyIter_Send`; a value sent is ignored.
    pub fn resumes<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Resumed> + Copy,
    {
        self.slot(ffi::Py_tp_iternext, border::resume::<T, F> as *mut c_void);
        self.slot(ffi::Py_am_send, border::send::<T, F> as *mut c_void);
        self
    }

    /// `len()` and indexing, and by them iteration and `in`; the index is `None` if it is in front of the first.
    pub fn sequence<F, G>(mut self, _length: F, _item: G) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<usize> + Copy,
        G: for<'a> Fn(This<'a, T>, Option<usize>) -> PyResult<Obj> + Copy,
    {
        self.slot(ffi::Py_sq_length, border::length::<T, F> as *mut c_void);
        self.slot(ffi::Py_sq_item, border::item::<T, G> as *mut c_void);
        self
    }

    /// `<`, `==` and so on; `None` is `NotImplemented`.
    pub fn compare<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>, &Obj, CompareOp) -> PyResult<Option<bool>> + Copy,
    {
        self.slot(
            ffi::Py_tp_richcompare,
            border::compare::<T, F> as *mut c_void,
        );
        self
    }

    /// `__hash__`.
    pub fn hash<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<isize> + Copy,
    {
        self.slot(ffi::Py_tp_hash, border::hash::<T, F> as *mut c_void);
        self
    }

    /// Is told the name of every attribute that is set or deleted, before it is.
    pub fn setattr<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>, &Obj) + Copy,
    {
        self.slot(ffi::Py_tp_setattro, border::setattr::<T, F> as *mut c_void);
        self
    }

    /// Makes the class and adds it to the module under its short name.
    pub fn build(mut self, module: &Bound<'_, PyModule>, base: Base) -> PyResult<Obj> {
        let py = module.py();
        let class = T::class();
        assert!(
            class.as_type().is_null(),
            "two native types share one class"
        );
        let pointer = size_of::<*mut c_void>();
        let (bases, offset) = match &base {
            Base::Object => (
                None,
                size_of::<ffi::PyObject>().next_multiple_of(align_of::<T>()),
            ),
            Base::Native(parent) => (
                Some(parent.object(py)),
                parent.offset.load(Ordering::Relaxed),
            ),
            Base::C(parent) | Base::Python(parent) => {
                // SAFETY: both variants hold type objects: `stdlib` checked that when it looked them up.
                let size = unsafe { (*parent.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize };
                (
                    Some(parent.clone()),
                    (size as usize).next_multiple_of(align_of::<T>()),
                )
            }
        };
        assert!(
            align_of::<T>() <= 16 && offset.is_multiple_of(align_of::<T>()),
            "objects are aligned to 16 bytes, and values to what they need"
        );
        let mut size = (offset + size_of::<T>()).next_multiple_of(pointer);
        let mut members = Vec::new();
        for (wanted, name) in [
            (T::WITH_DICT, c"__dictoffset__"),
            (T::WITH_WEAKREFS, c"__weaklistoffset__"),
        ] {
            if wanted {
                if T::WITH_DICT && members.is_empty() {
                    class.dict_offset.store(size, Ordering::Relaxed);
                }
                members.push(ffi::PyMemberDef {
                    name: name.as_ptr(),
                    type_code: ffi::Py_T_PYSSIZET,
                    offset: size as ffi::Py_ssize_t,
                    flags: ffi::Py_READONLY,
                    doc: ptr::null(),
                });
                size += pointer;
            }
        }
        if let Some(place) = self.vectorcall {
            members.push(ffi::PyMemberDef {
                name: c"__vectorcalloffset__".as_ptr(),
                type_code: ffi::Py_T_PYSSIZET,
                offset: (offset + place) as ffi::Py_ssize_t,
                flags: ffi::Py_READONLY,
                doc: ptr::null(),
            });
        }
        // The tables live as long as the class, which is as long as the process.
        if !members.is_empty() {
            // SAFETY: an all-zero definition ends the table.
            members.push(unsafe { std::mem::zeroed() });
            self.slot(ffi::Py_tp_members, members.leak().as_mut_ptr().cast());
        }
        if !self.methods.is_empty() {
            // SAFETY: as above.
            self.methods.push(unsafe { std::mem::zeroed() });
            let methods = std::mem::take(&mut self.methods).leak().as_mut_ptr();
            self.slot(ffi::Py_tp_methods, methods.cast());
        }
        if T::WITH_DICT {
            let (get, set) = (ffi::PyObject_GenericGetDict, ffi::PyObject_GenericSetDict);
            self.attributes.push(attribute(c"__dict__", get, Some(set)));
        }
        // Instances that have a text of their own: the class's would lie over the attribute.
        let has_doc = |attribute: &ffi::PyGetSetDef| {
            // SAFETY: the name of each attribute is a string that lives as long as the process.
            let name = unsafe { CStr::from_ptr(attribute.name) };
            name == c"__doc__"
        };
        if self.attributes.iter().any(has_doc) {
            self.slots.retain(|slot| slot.slot != ffi::Py_tp_doc);
        }
        if !self.attributes.is_empty() {
            // SAFETY: as above.
            self.attributes.push(unsafe { std::mem::zeroed() });
            let attributes = std::mem::take(&mut self.attributes).leak().as_mut_ptr();
            self.slot(ffi::Py_tp_getset, attributes.cast());
        }
        self.slot(0, ptr::null_mut());
        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: size as c_int,
            itemsize: 0,
            flags: self.flags as c_uint,
            slots: self.slots.as_mut_ptr(),
        };
        // SAFETY: the spec and its tables are valid, `bases` is null or a type; the result is a new type or an error.
        let object = unsafe {
            let bases = bases.as_ref().map_or(ptr::null_mut(), Obj::as_ptr);
            Obj::from_owned_or_err(
                py,
                ffi::PyType_FromModuleAndSpec(module.as_ptr(), &raw mut spec, bases),
            )?
        };
        if self.iter_unseen.is_some() {
            // SAFETY: a class that was just made, which nothing is derived from yet.
            unsafe { (*object.as_ptr().cast::<ffi::PyTypeObject>()).tp_iter = self.iter_unseen };
        }
        // SAFETY: a class that was just made.
        unsafe { spare_inline_values(object.as_ptr().cast()) };
        class.offset.store(offset, Ordering::Relaxed);
        match &base {
            Base::C(parent) => class
                .chained
                .store(parent.as_ptr().cast(), Ordering::Relaxed),
            // Whatever the parent is laid out behind, this class is laid out behind too.
            Base::Native(parent) => class
                .chained
                .store(parent.chained.load(Ordering::Relaxed), Ordering::Relaxed),
            Base::Object | Base::Python(_) => {}
        }
        for (name, definition) in self.shared {
            let Base::C(parent) = &base else {
                unreachable!("only a class with a C base shares its methods")
            };
            // SAFETY: the definition is kept for the life of the process; the result is a new descriptor or an error.
            let descriptor = unsafe {
                let definition = Box::leak(Box::new(definition));
                Obj::from_owned_or_err(
                    py,
                    ffi::PyDescr_NewMethod(parent.as_ptr().cast(), definition),
                )?
            };
            object
                .bind(py)
                .setattr(&*name.to_string_lossy(), descriptor.bind(py))?;
        }
        for function in self.coroutines {
            let name = function.name();
            let stock = match (&self.stock, &base) {
                (Some(stock), _) | (None, Base::Python(stock) | Base::C(stock)) => {
                    stock.bind(py).getattr_opt(name)?
                }
                (None, Base::Object | Base::Native(_)) => function.of_asyncio(py)?,
            };
            let function = function.replacing(py, stock.map(Obj::from))?;
            object.bind(py).setattr(name, function.bind(py))?;
        }
        // The class is kept for the life of the process: Rust code refers to it.
        class
            .object
            .store(object.clone().into_ptr().cast(), Ordering::Relaxed);
        class
            .kept_of
            .store(object.as_ptr().cast(), Ordering::Relaxed);
        let name = T::NAME
            .to_str()
            .unwrap_or_default()
            .rsplit('.')
            .next()
            .unwrap_or_default();
        module.add(name, object.bind(py))?;
        Ok(object)
    }
}

/// From Python 3.14 on an instance that can have attributes of its own has room for thirty of them from the start, which
/// takes a task from the allocator for small objects to `malloc`. Without the flag the room is made when it is needed,
/// as in the versions before.
///
/// # Safety
/// A class of which there is no instance and no derived class.
pub(super) unsafe fn spare_inline_values(class: *mut ffi::PyTypeObject) {
    const INLINE_VALUES: c_ulong = 1 << 2;
    if cfg!(Py_3_14) {
        // SAFETY: the caller's promise.
        unsafe { (*class).tp_flags &= !INLINE_VALUES };
    }
}

fn attribute(name: &'static CStr, get: ffi::getter, set: Option<ffi::setter>) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    }
}
