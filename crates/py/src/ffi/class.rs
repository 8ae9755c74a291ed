//! Native classes: a Rust value that lives inside a Python object, behind whatever its base class keeps there.
//!
//! The base may be `object`, another native class, a C class such as `_asyncio.Future` or a Python class such as
//! `asyncio.Transport`: its size is asked of the running interpreter and the Rust value is placed after it, so
//! `isinstance` is honest and no layout of CPython's is assumed. The price is the base's own fields, unused.
//!
//! Owns: allocation, deallocation, the garbage collector's traverse and clear, finalizers. Leaves out: what the
//! classes do.

use std::ffi::{CStr, c_int, c_uint, c_ulong, c_void};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, align_of, size_of};
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::args::Args;
use super::border;
use super::bound::definition_without_args;
use super::coroutine::Resumed;
use super::obj::{Obj, Slot};

/// A Rust type whose values live in Python objects.
pub trait Native: Sized + 'static {
    /// Qualified name: what `repr(type)` shows.
    const NAME: &'static CStr;
    /// The docstring.
    const DOC: &'static CStr;
    /// Whether instances have a `__dict__` of their own (a base class may give them one anyway).
    const WITH_DICT: bool = false;
    /// Whether instances can be weakly referenced (a base class may allow it anyway).
    const WITH_WEAKREFS: bool = false;
    /// Whether [`Native::finalize`] is to be called.
    const FINALIZES: bool = false;

    /// The class object's place: a static of this type's own.
    fn class() -> &'static Class;
    /// An instance before `__init__`.
    fn fresh() -> Self;
    /// Shows the garbage collector every object that this one holds. Runs no Python code.
    fn traverse(&self, visitor: &mut Visitor<'_>);
    /// Lets go of every object that could be part of a cycle.
    fn clear(&self);
    /// Whether [`Native::finalize`] has anything to do now; asked before an object is freed.
    fn needs_finalizer(&self) -> bool {
        Self::FINALIZES
    }
    /// `__del__`.
    fn finalize(_this: This<'_, Self>) {}
    /// The last thing before the fields are dropped, whatever `__del__` a derived class has. Runs no Python code and
    /// counts no reference to the object, which has none left.
    fn last(_this: This<'_, Self>) {}
    /// Views an object as this type for a [`Builder::shared_method`].
    fn find<'a>(py: Python<'a>, object: &'a Obj) -> Option<This<'a, Self>> {
        This::instance(py, object)
    }
}

/// A class object, made when the module is imported.
pub struct Class {
    object: AtomicPtr<ffi::PyTypeObject>,
    offset: AtomicUsize,
    /// The base whose traverse and clear are chained to: a C class's, which know their own fields.
    chained: AtomicPtr<ffi::PyTypeObject>,
    dict_offset: AtomicUsize,
}

impl Class {
    /// Not made yet.
    pub const fn new() -> Self {
        Self {
            object: AtomicPtr::new(ptr::null_mut()),
            offset: AtomicUsize::new(0),
            chained: AtomicPtr::new(ptr::null_mut()),
            dict_offset: AtomicUsize::new(0),
        }
    }

    fn as_type(&self) -> *mut ffi::PyTypeObject {
        self.object.load(Ordering::Relaxed)
    }

    /// The class as an object.
    pub fn object(&self, _py: Python<'_>) -> Obj {
        // SAFETY: made when the module was imported, and never freed.
        unsafe { Obj::from_borrowed(self.as_type().cast()) }
    }

    /// Whether the object's type is this very class.
    pub fn is_exact(&self, object: &Obj) -> bool {
        // SAFETY: reads the type of a valid object.
        unsafe { ffi::Py_TYPE(object.as_ptr()) == self.as_type() }
    }

    /// Whether the object is an instance of this class or of one derived from it.
    pub fn is_instance(&self, object: &Obj) -> bool {
        // SAFETY: both are valid objects.
        unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), self.as_type()) != 0 }
    }
}

/// A native object, borrowed for the length of a call. Derefs to its Rust value.
pub struct This<'a, T> {
    py: Python<'a>,
    object: *mut ffi::PyObject,
    value: &'a T,
}

impl<T> Clone for This<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for This<'_, T> {}

impl<T> Deref for This<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value
    }
}

impl<'a, T: Native> This<'a, T> {
    /// # Safety
    /// `object` is an instance of `T`'s class and stays alive for `'a`.
    pub(super) unsafe fn new(py: Python<'a>, object: *mut ffi::PyObject) -> Self {
        let offset = T::class().offset.load(Ordering::Relaxed);
        // SAFETY: instances of the class hold an initialised T at its offset, from `allocate` until `dealloc`.
        let value = unsafe { &*object.byte_add(offset).cast::<T>() };
        Self { py, object, value }
    }

    /// Views the object as a `T` if its type is exactly `T`'s class.
    pub fn exact(py: Python<'a>, object: &'a Obj) -> Option<Self> {
        // SAFETY: the class is checked, and the borrow keeps the object alive.
        T::class()
            .is_exact(object)
            .then(|| unsafe { Self::new(py, object.as_ptr()) })
    }

    /// Views the object as a `T` if it is an instance of `T`'s class.
    pub fn instance(py: Python<'a>, object: &'a Obj) -> Option<Self> {
        // SAFETY: the class is checked, and the borrow keeps the object alive.
        T::class()
            .is_instance(object)
            .then(|| unsafe { Self::new(py, object.as_ptr()) })
    }

    /// The same object seen as its first field, which is what the layout of a class that extends another starts with.
    pub fn project<U>(self, field: impl FnOnce(&'a T) -> &'a U) -> This<'a, U> {
        This {
            py: self.py,
            object: self.object,
            value: field(self.value),
        }
    }
}

impl<'a, T> This<'a, T> {
    /// The interpreter's token.
    pub fn py(&self) -> Python<'a> {
        self.py
    }

    /// A new reference to the object.
    pub fn object(&self) -> Obj {
        // SAFETY: `self` is only made of objects that outlive it.
        unsafe { Obj::from_borrowed(self.object) }
    }

    /// The object as a reference that is not counted.
    pub fn lend(&self) -> ManuallyDrop<Obj> {
        // SAFETY: never dropped, so the reference that `from_owned` takes over is not needed; not null.
        ManuallyDrop::new(unsafe { Obj::from_owned(self.object).unwrap_unchecked() })
    }

    /// The address, for identity comparisons.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.object
    }

    /// The object lent to pyo3.
    pub fn bind(&self) -> Bound<'a, PyAny> {
        self.object().into_bound(self.py)
    }
}

/// What the garbage collector passes to `traverse`.
pub struct Visitor<'a> {
    visit: ffi::visitproc,
    arg: *mut c_void,
    result: c_int,
    _borrow: PhantomData<&'a ()>,
}

impl Visitor<'_> {
    /// Shows one object.
    pub fn object(&mut self, object: &Obj) {
        self.pointer(object.as_ptr());
    }

    /// Shows what a slot holds, if anything.
    pub fn slot(&mut self, slot: &Slot) {
        self.pointer(slot.as_ptr());
    }

    fn pointer(&mut self, pointer: *mut ffi::PyObject) {
        if self.result == 0 && !pointer.is_null() {
            // SAFETY: the collector's own function, on an object that the traversed one holds.
            self.result = unsafe { (self.visit)(pointer, self.arg) };
        }
    }
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

    /// What `PyIter_Send` calls; the value sent is ignored.
    pub fn send<F>(mut self, _function: F) -> Self
    where
        F: for<'a> Fn(This<'a, T>) -> PyResult<Resumed> + Copy,
    {
        self.slot(ffi::Py_am_send, border::send::<T, F> as *mut c_void);
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
            Base::Object => (None, size_of::<ffi::PyObject>().next_multiple_of(16)),
            Base::Native(parent) => (
                Some(parent.object(py)),
                parent.offset.load(Ordering::Relaxed),
            ),
            Base::C(parent) | Base::Python(parent) => {
                // SAFETY: both variants hold type objects: `stdlib` checked that when it looked them up.
                let size = unsafe { (*parent.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize };
                (Some(parent.clone()), (size as usize).next_multiple_of(16))
            }
        };
        assert!(align_of::<T>() <= 16, "objects are aligned to 16 bytes");
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
            flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC)
                as c_uint,
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
        spare_inline_values(&object);
        class.offset.store(offset, Ordering::Relaxed);
        if let Base::C(parent) = &base {
            class
                .chained
                .store(parent.as_ptr().cast(), Ordering::Relaxed);
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
        // The class is kept for the life of the process: Rust code refers to it.
        class
            .object
            .store(object.clone().into_ptr().cast(), Ordering::Relaxed);
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
fn spare_inline_values(class: &Obj) {
    const INLINE_VALUES: c_ulong = 1 << 2;
    if cfg!(Py_3_14) {
        // SAFETY: a class that was just made, of which there is no instance and no derived class.
        unsafe { (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_flags &= !INLINE_VALUES };
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

/// Makes an instance of exactly `T`'s class around a value.
pub fn create<T: Native>(py: Python<'_>, value: T) -> PyResult<Obj> {
    // SAFETY: the class was made when the module was imported.
    unsafe { Obj::from_owned_or_err(py, allocate(T::class().as_type(), value)) }
}

/// # Safety
/// `class` is `T`'s class or derived from it.
unsafe fn allocate<T: Native>(class: *mut ffi::PyTypeObject, value: T) -> *mut ffi::PyObject {
    // SAFETY: tp_alloc is set on every type; the place of the value is inside what it allocated, aligned, and nothing
    // has looked at it: a collection runs only when something else is allocated.
    unsafe {
        let alloc = (*class).tp_alloc.unwrap_or(ffi::PyType_GenericAlloc);
        let object = alloc(class, 0);
        if !object.is_null() {
            object
                .byte_add(T::class().offset.load(Ordering::Relaxed))
                .cast::<T>()
                .write(value);
        }
        object
    }
}

unsafe extern "C" fn allocate_from_python<T: Native>(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls tp_new with the class or one derived from it. `fresh` does not panic: it only fills fields.
    unsafe { allocate(class, T::fresh()) }
}

unsafe extern "C" fn dealloc<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls this once, with an object of `T`'s class that nothing refers to. The order is the
    // documented one: finalizer (which may bring the object back to life), untrack, weak references, fields, memory,
    // and last the class, which instances of heap types hold a reference to.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let value = object
            .byte_add(T::class().offset.load(Ordering::Relaxed))
            .cast::<T>();
        if T::FINALIZES
            && (*value).needs_finalizer()
            && ffi::PyObject_CallFinalizerFromDealloc(object) < 0
        {
            return;
        }
        ffi::PyObject_GC_UnTrack(object.cast());
        T::last(This::new(Python::assume_attached(), object));
        if (*class).tp_weaklistoffset != 0 {
            ffi::PyObject_ClearWeakRefs(object);
        }
        ptr::drop_in_place(value);
        clear_around::<T>(object);
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

/// Clears the instance's dict and the base class's fields.
///
/// # Safety
/// `object` is an instance of `T`'s class.
unsafe fn clear_around<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: the dict's place holds null or an owned dict; a chained base's clear is made for its instances.
    unsafe {
        if T::WITH_DICT {
            let place = object
                .byte_add(T::class().dict_offset.load(Ordering::Relaxed))
                .cast::<*mut ffi::PyObject>();
            let dict = place.replace(ptr::null_mut());
            drop(Obj::from_owned(dict));
        }
        let chained = T::class().chained.load(Ordering::Relaxed);
        if let Some(clear) = chained.as_ref().and_then(|base| base.tp_clear) {
            clear(object);
        }
    }
}

unsafe extern "C" fn traverse<T: Native>(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: the collector calls this with an instance. `T::traverse` runs no Python code and does not panic.
    unsafe {
        let class = T::class();
        let mut visitor = Visitor {
            visit,
            arg,
            result: 0,
            _borrow: PhantomData,
        };
        let chained = class.chained.load(Ordering::Relaxed).as_ref();
        // An instance of a heap type shows its class once: a heap base's traverse does it, a static one's does not.
        if chained.is_none_or(|base| base.tp_flags & ffi::Py_TPFLAGS_HEAPTYPE == 0) {
            visitor.pointer(ffi::Py_TYPE(object).cast());
        }
        if T::WITH_DICT {
            visitor.pointer(
                object
                    .byte_add(class.dict_offset.load(Ordering::Relaxed))
                    .cast::<*mut ffi::PyObject>()
                    .read(),
            );
        }
        (*object
            .byte_add(class.offset.load(Ordering::Relaxed))
            .cast::<T>())
        .traverse(&mut visitor);
        if visitor.result == 0
            && let Some(traverse) = chained.and_then(|base| base.tp_traverse)
        {
            return traverse(object, visit, arg);
        }
        visitor.result
    }
}

unsafe extern "C" fn clear<T: Native>(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: the collector calls this with an instance.
    unsafe {
        (*object
            .byte_add(T::class().offset.load(Ordering::Relaxed))
            .cast::<T>())
        .clear();
        clear_around::<T>(object);
    }
    0
}

unsafe extern "C" fn finalize<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls this attached, with an instance; the error indicator is put back as it was.
    unsafe {
        let py = Python::assume_attached();
        let pending = PyErr::take(py);
        let outcome = border::catch(|| {
            T::finalize(This::new(py, object));
            Ok(())
        });
        if let Err(error) = outcome {
            error.write_unraisable(py, None);
        }
        if let Some(error) = pending {
            error.restore(py);
        }
    }
}

/// Whether the object is an instance of a class that [`expect_class`] has seen, by inheritance and not by `__class__`.
pub fn is_instance(object: &Obj, class: &Obj) -> bool {
    // SAFETY: both are valid objects, and the second is a class.
    unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), class.as_ptr().cast()) != 0 }
}

/// `TypeError` unless `object` is a class.
pub fn expect_class(py: Python<'_>, object: &Obj) -> PyResult<()> {
    // SAFETY: reads the type of a valid object.
    if unsafe { ffi::PyType_Check(object.as_ptr()) } == 0 {
        return Err(PyTypeError::new_err(format!(
            "{} is not a class",
            object.bind(py)
        )));
    }
    Ok(())
}
