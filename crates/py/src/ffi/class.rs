//! Native classes: a Rust value that lives inside a Python object, behind whatever its base class keeps there.
//!
//! The base may be `object`, another native class, a C class such as `_asyncio.Future` or a Python class such as
//! `asyncio.Transport`: its size is asked of the running interpreter and the Rust value is placed after it, so
//! `isinstance` is honest and no layout of CPython's is assumed. The price is the base's own fields, unused.
//!
//! Owns: allocation, deallocation, the garbage collector's traverse and clear, finalizers. Leaves out: what the
//! classes do, and putting their tables together (`builder`).

use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::border;
use super::collector;
use super::freeing::{self, Kept};
use super::obj::{Marked, Obj, Slot};
use super::word::{Growing, Numbered, Tagged};

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
    /// Of how many dead instances of exactly this class the memory is kept. Not for a class that gives its instances a
    /// `__dict__` of its own.
    const KEPT: usize = 0;
    /// Whether it is a derived class's memory that is kept: see [`favour`].
    const FAVOURS: bool = false;
    /// Whether the memory is kept together with that of another class: see [`may_become`].
    const BECOMES: bool = false;

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
    /// Views an object as this type for a [`Builder::shared_method`](super::Builder::shared_method).
    fn find<'a>(py: Python<'a>, object: &'a Obj) -> Option<This<'a, Self>> {
        This::instance(py, object)
    }
}

/// A class object, made when the module is imported, or when it is first asked for (`families`): until then nothing is
/// an instance of it.
pub struct Class {
    pub(super) object: AtomicPtr<ffi::PyTypeObject>,
    pub(super) offset: AtomicUsize,
    /// The base whose traverse and clear are chained to: a C class's, which know their own fields.
    pub(super) chained: AtomicPtr<ffi::PyTypeObject>,
    pub(super) dict_offset: AtomicUsize,
    /// The class of which the memory of dead instances is kept: this one, or one that Python code has derived.
    pub(super) kept_of: AtomicPtr<ffi::PyTypeObject>,
    kept: Kept,
    /// The class that instances of this one may come to be of.
    successor: AtomicPtr<Class>,
}

impl Class {
    /// Not made yet.
    pub const fn new() -> Self {
        Self {
            object: AtomicPtr::new(ptr::null_mut()),
            offset: AtomicUsize::new(0),
            chained: AtomicPtr::new(ptr::null_mut()),
            dict_offset: AtomicUsize::new(0),
            kept_of: AtomicPtr::new(ptr::null_mut()),
            kept: Kept::new(),
            successor: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Where the memory of dead instances is kept.
    fn pool<T: Native>() -> &'static Kept {
        let class = T::class();
        if T::BECOMES {
            let successor = class.successor.load(Ordering::Relaxed).cast_const();
            // SAFETY: null, or the place of another class, which is a static.
            return unsafe { &successor.as_ref().unwrap_or(class).kept };
        }
        &class.kept
    }

    fn is_kept(&self, class: *mut ffi::PyTypeObject) -> bool {
        self.kept_of.load(Ordering::Relaxed) == class
    }

    /// The interpreter ends: gives back the memory of dead instances, and keeps no more.
    pub fn keep_no_more(&self, py: Python<'_>) {
        freeing::keep_no_more();
        freeing::give_back(py, &self.kept, self.offset.load(Ordering::Relaxed));
    }

    /// Gives back a sixteenth of the memory that is kept beyond that of `few` dead instances: to be called now and then.
    #[inline]
    pub fn keep_fewer(&self, py: Python<'_>, few: usize) {
        let surplus = self.kept.len().saturating_sub(few);
        if surplus > 0 {
            let offset = self.offset.load(Ordering::Relaxed);
            freeing::give_back_some(py, &self.kept, offset, surplus.div_ceil(16));
        }
    }

    pub(super) fn as_type(&self) -> *mut ffi::PyTypeObject {
        self.object.load(Ordering::Relaxed)
    }

    /// The class as an object.
    pub fn object(&self, _py: Python<'_>) -> Obj {
        let class = self.as_type();
        assert!(!class.is_null(), "a class that has not been made yet");
        // SAFETY: it has been made, and is never freed.
        unsafe { Obj::from_borrowed(class.cast()) }
    }

    /// Whether the object's type is this very class.
    pub fn is_exact(&self, object: &Obj) -> bool {
        // SAFETY: reads the type of a valid object.
        unsafe { ffi::Py_TYPE(object.as_ptr()) == self.as_type() }
    }

    /// Whether the object is an instance of this class or of one derived from it.
    pub fn is_instance(&self, object: &Obj) -> bool {
        // SAFETY: a valid object.
        unsafe { self.is_class_of(object.as_ptr()) }
    }

    /// The same of an object that is borrowed.
    ///
    /// # Safety
    /// A valid object.
    #[inline]
    pub(super) unsafe fn is_class_of(&self, object: *mut ffi::PyObject) -> bool {
        // SAFETY: all are valid objects.
        unsafe {
            let (own, class) = (self.as_type(), ffi::Py_TYPE(object));
            // What is asked about most is of this class or derived from it directly; the interpreter's own look walks
            // the whole order of bases.
            class == own
                || (!own.is_null()
                    && ((*class).tp_base == own || ffi::PyType_IsSubtype(class, own) != 0))
        }
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

impl<T: Native> This<'_, T> {
    /// Whether attributes were set on the instance, for a class with a `__dict__` of its own.
    pub fn has_own_attributes(&self) -> bool {
        if !T::WITH_DICT {
            return false;
        }
        // SAFETY: the dict's place in an instance holds null or a dict.
        unsafe {
            let place = T::class().dict_offset.load(Ordering::Relaxed);
            let dict = self
                .object
                .byte_add(place)
                .cast::<*mut ffi::PyObject>()
                .read();
            !dict.is_null() && ffi::PyDict_Size(dict) != 0
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

    /// Whether there are weak references to the object.
    pub fn has_weak_references(&self) -> bool {
        // SAFETY: a valid object.
        unsafe { has_weak_references(self.object) }
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

    /// Shows what a marked slot holds, if anything.
    pub fn marked(&mut self, slot: &Marked) {
        self.pointer(slot.as_ptr());
    }

    /// Shows the object that a growing field holds, if it does; what is in a box is for the caller.
    pub fn growing<T>(&mut self, field: &Growing<T>) {
        self.pointer(field.as_ptr());
    }

    /// Shows what a field holds, if it is an object.
    pub fn numbered(&mut self, field: &Numbered) {
        self.pointer(field.as_ptr());
    }

    /// Shows the object of a word that has one.
    pub fn tagged(&mut self, word: &Tagged) {
        self.pointer(word.as_ptr());
    }

    fn pointer(&mut self, pointer: *mut ffi::PyObject) {
        if self.result == 0 && !pointer.is_null() {
            // SAFETY: the collector's own function, on an object that the traversed one holds.
            self.result = unsafe { (self.visit)(pointer, self.arg) };
        }
    }
}

/// Makes an instance of exactly `T`'s class around a value.
pub fn create<T: Native>(py: Python<'_>, value: T) -> PyResult<Obj> {
    // SAFETY: the class was made when the module was imported.
    unsafe { allocate_or_reuse::<T, true>(py, T::class().as_type(), value) }
}

/// The same, and the garbage collector does not know it: for what something has that is no garbage. Whoever takes it from
/// there calls [`track`].
#[inline]
pub fn create_untracked<T: Native>(py: Python<'_>, value: T) -> PyResult<Obj> {
    // SAFETY: as above.
    unsafe { allocate_or_reuse::<T, false>(py, T::class().as_type(), value) }
}

/// Makes a native object known to the garbage collector, if it is not.
#[inline]
pub fn track<T: Native>(this: This<'_, T>) {
    // SAFETY: complete since it was made, and instances of native classes have the collector's words.
    unsafe {
        if !collector::is_tracked(this.object) {
            collector::track(this.object);
        }
    }
}

/// # Safety
/// `class` is `T`'s class or derived from it.
unsafe fn allocate_or_reuse<T: Native, const TRACKED: bool>(
    py: Python<'_>,
    class: *mut ffi::PyTypeObject,
    value: T,
) -> PyResult<Obj> {
    let own = T::class();
    // SAFETY: what is kept is the memory of instances of this class, whose weak references and attributes are gone; what
    // a base has there is made as tp_alloc makes it, and the value is written before anyone sees it.
    unsafe {
        if T::KEPT > 0 && own.is_kept(class) {
            let offset = own.offset.load(Ordering::Relaxed);
            let kept = Class::pool::<T>().take(offset);
            if !kept.is_null() {
                let head = size_of::<ffi::PyObject>();
                if offset > head {
                    kept.byte_add(head)
                        .cast::<u8>()
                        .write_bytes(0, offset - head);
                }
                // As after tp_alloc: one reference, the class counted, known to the collector.
                ffi::PyObject_Init(kept, class);
                kept.byte_add(offset).cast::<T>().write(value);
                if TRACKED {
                    collector::track(kept);
                }
                return Ok(Obj::from_owned(kept).unwrap_unchecked());
            }
        }
        let object = Obj::from_owned_or_err(py, allocate(class, value))?;
        if !TRACKED {
            ffi::PyObject_GC_UnTrack(object.as_ptr().cast());
        }
        Ok(object)
    }
}

/// Instances of `From`'s class may come to be of `To`'s, by [`create_from`].
pub fn may_become<From: Native, To: Native>(_py: Python<'_>) {
    const {
        assert!(
            size_of::<From>() == size_of::<To>() && align_of::<From>() == align_of::<To>(),
            "the same memory holds either value"
        );
        assert!(From::BECOMES && !From::WITH_DICT && !To::WITH_DICT && !From::FINALIZES);
        assert!(From::WITH_WEAKREFS == To::WITH_WEAKREFS && From::KEPT == To::KEPT);
    };
    let successor = ptr::from_ref(To::class()).cast_mut();
    From::class().successor.store(successor, Ordering::Relaxed);
}

/// An object that may become the next instance that [`create_from`] makes of its class's successor; null most of the
/// time. Used with the GIL.
static OFFERED: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());

/// Offers an object while `body` runs. Whether it was taken: then it is of another class, with another value.
///
/// # Safety
/// An instance of exactly `From`'s class, to which there is one reference and no weak one, and whose value has nothing
/// that would have to be dropped. The caller keeps it alive, and does not use its value while `body` runs.
pub(super) unsafe fn offer<From: Native, R>(
    object: *mut ffi::PyObject,
    body: impl FnOnce() -> R,
) -> (R, bool) {
    OFFERED.store(object, Ordering::Relaxed);
    let result = body();
    OFFERED.store(ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: the caller keeps the object alive.
    let taken = unsafe { ffi::Py_TYPE(object) } != From::class().as_type();
    (result, taken)
}

/// As [`create`], by making it of the object that is offered, if one is and may become one.
#[inline]
pub fn create_from<From: Native, To: Native>(py: Python<'_>, value: To) -> PyResult<Obj> {
    let offered = OFFERED.load(Ordering::Relaxed);
    if offered.is_null() {
        return create(py, value);
    }
    OFFERED.store(ptr::null_mut(), Ordering::Relaxed);
    let own = From::class();
    // SAFETY: what is offered is alive, and nobody but the caller of `offer` has it. Both classes are laid out alike, with
    // the value in the same place and of the same size; instances hold a reference to their class.
    unsafe {
        if ffi::Py_TYPE(offered) != own.as_type()
            || own.successor.load(Ordering::Relaxed).cast_const() != ptr::from_ref(To::class())
        {
            return create(py, value);
        }
        turn_into::<From, To>(offered, value);
        Ok(Obj::from_borrowed(offered))
    }
}

/// Makes an instance of exactly `From`'s class one of `To`'s, with another value.
///
/// # Safety
/// As for [`offer`]; and `From` [may become](may_become) `To`.
#[inline(always)]
pub(super) unsafe fn turn_into<From: Native, To: Native>(object: *mut ffi::PyObject, value: To) {
    // SAFETY: the caller's promise. Both classes are laid out alike, with the value in the same place and of the same size;
    // instances hold a reference to their class.
    unsafe {
        let class = To::class().as_type();
        ffi::Py_INCREF(class.cast());
        (*object).ob_type = class;
        ffi::Py_DECREF(From::class().as_type().cast());
        object
            .byte_add(To::class().offset.load(Ordering::Relaxed))
            .cast::<To>()
            .write(value);
    }
}

/// Whether there are weak references to the object.
///
/// # Safety
/// A valid object.
pub(super) unsafe fn has_weak_references(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the place in front of or in the object where its class says that they are listed.
    unsafe {
        let weak = (*ffi::Py_TYPE(object)).tp_weaklistoffset;
        weak != 0
            && !object
                .byte_offset(weak)
                .cast::<*mut c_void>()
                .read()
                .is_null()
    }
}

/// Makes an instance of a class that Python code has derived from `T`'s around a value. Neither its `__new__` nor its
/// `__init__` is called.
pub fn create_derived<T: Native>(py: Python<'_>, class: &Obj, value: T) -> PyResult<Obj> {
    if !T::class().is_kept(class.as_ptr().cast()) {
        expect_class(py, class)?;
    }
    let class = class.as_ptr().cast::<ffi::PyTypeObject>();
    // SAFETY: both are classes; `allocate` is only reached with one derived from the other, as the favoured one is.
    unsafe {
        if !T::class().is_kept(class) && ffi::PyType_IsSubtype(class, T::class().as_type()) == 0 {
            return Err(PyTypeError::new_err("not derived from the native class"));
        }
        allocate_or_reuse::<T, true>(py, class, value)
    }
}

/// Where an instance's attributes are, if the interpreter manages them: a word in front of the collector's two.
const ATTRIBUTES: isize = -3;
const INLINE_VALUES: c_ulong = 1 << 2;
const MANAGED_DICT: c_ulong = 1 << 4;
/// Whether that is so in the interpreter that this is compiled for, as far as it was tried.
const ATTRIBUTES_ARE_KNOWN: bool = cfg!(all(Py_3_12, not(Py_3_14)));

/// Whether an instance has no attributes of its own, as far as the interpreter manages them.
///
/// # Safety
/// `object` is an instance of `class`, which has the collector's words.
unsafe fn is_bare(object: *mut ffi::PyObject, class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: an instance of a class with the one flag and without the other has this word.
    unsafe {
        match (*class).tp_flags & (MANAGED_DICT | INLINE_VALUES) {
            0 => true,
            MANAGED_DICT if ATTRIBUTES_ARE_KNOWN => object
                .cast::<*mut c_void>()
                .offset(ATTRIBUTES)
                .read()
                .is_null(),
            _ => false,
        }
    }
}

unsafe extern "C" {
    /// Lets go of an instance's attributes. Part of the C API that pyo3 does not declare.
    #[cfg(Py_3_13)]
    fn PyObject_ClearManagedDict(object: *mut ffi::PyObject);
    #[cfg(all(Py_3_12, not(Py_3_13)))]
    #[link_name = "_PyObject_ClearManagedDict"]
    fn PyObject_ClearManagedDict(object: *mut ffi::PyObject);
}
#[cfg(not(Py_3_12))]
#[allow(non_snake_case, reason = "stands for a function of the C API")]
unsafe fn PyObject_ClearManagedDict(_object: *mut ffi::PyObject) {
    unreachable!("no class is favoured")
}

/// Of a class that Python code has derived from `T`'s, and of which there are no instances yet: those that die are freed
/// as `T`'s own are, with their memory kept, and not by way of what a class in Python may have added to a native one.
pub fn favour<T: Native>(py: Python<'_>, class: &Obj) -> PyResult<()> {
    const { assert!(T::KEPT > 0 && T::FAVOURS && !T::FINALIZES && !T::WITH_DICT) };
    expect_class(py, class)?;
    let class = class.as_ptr().cast::<ffi::PyTypeObject>();
    // SAFETY: a class; one that is derived from `T`'s has its layout. The interpreter reads tp_dealloc when an object dies.
    unsafe {
        if ffi::PyType_IsSubtype(class, T::class().as_type()) == 0 {
            return Err(PyTypeError::new_err("not derived from the native class"));
        }
        let adds_nothing = (*class).tp_basicsize == (*T::class().as_type()).tp_basicsize;
        if ATTRIBUTES_ARE_KNOWN && adds_nothing {
            super::builder::spare_inline_values(class);
            (*class).tp_dealloc = Some(dealloc::<T>);
            T::class().kept_of.store(class, Ordering::Relaxed);
        }
    }
    Ok(())
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

pub(super) unsafe extern "C" fn allocate_from_python<T: Native>(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls tp_new with the class or one derived from it. `fresh` does not panic: it only fills fields.
    unsafe { allocate(class, T::fresh()) }
}

pub(super) unsafe extern "C" fn dealloc<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls this once, with an object of `T`'s class that nothing refers to. The order is the
    // documented one: finalizer (which may bring the object back to life), untrack, weak references; then, perhaps
    // later, the rest. What waits for the rest cannot be found by anyone any more.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let value = object
            .byte_add(T::class().offset.load(Ordering::Relaxed))
            .cast::<T>();
        let finalizes = if T::FINALIZES {
            (*value).needs_finalizer()
        } else {
            // A `__del__` that was put into the class.
            T::FAVOURS && T::class().is_kept(class) && (*class).tp_finalize.is_some()
        };
        if finalizes && ffi::PyObject_CallFinalizerFromDealloc(object) < 0 {
            return;
        }
        ffi::PyObject_GC_UnTrack(object.cast());
        T::last(This::new(Python::assume_attached(), object));
        if has_weak_references(object) {
            ffi::PyObject_ClearWeakRefs(object);
        }
        freeing::free(object, |object| free_now::<T>(object), free::<T>);
    }
}

/// [`free_now`], for later.
///
/// # Safety
/// As for that.
unsafe fn free<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: the caller's promise.
    unsafe { free_now::<T>(object) }
}

/// The rest of [`dealloc`]: what may free other objects in turn.
///
/// # Safety
/// As for `dealloc`, which has done the first half.
#[inline(always)]
unsafe fn free_now<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: the value is dropped here and only here; then comes the memory, and last the class, which instances of
    // heap types hold a reference to.
    unsafe {
        let (class, offset) = (
            ffi::Py_TYPE(object),
            T::class().offset.load(Ordering::Relaxed),
        );
        ptr::drop_in_place(object.byte_add(offset).cast::<T>());
        clear_around::<T>(object);
        if T::FAVOURS && T::class().is_kept(class) && !is_bare(object, class) {
            PyObject_ClearManagedDict(object);
        }
        let kept = T::KEPT > 0
            && T::class().is_kept(class)
            && is_bare(object, class)
            // The next object in this memory would count as finalized.
            && if T::FINALIZES {
                !collector::is_finalized(object)
            } else {
                !T::FAVOURS || (*class).tp_finalize.is_none()
            }
            && Class::pool::<T>().put(object, offset, T::KEPT);
        if !kept && let Some(free) = (*class).tp_free {
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

pub(super) unsafe extern "C" fn traverse<T: Native>(
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

pub(super) unsafe extern "C" fn clear<T: Native>(object: *mut ffi::PyObject) -> c_int {
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

pub(super) unsafe extern "C" fn finalize<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls this attached, with an instance; the error indicator is put back as it was.
    unsafe {
        let py = Python::assume_attached();
        // The collector asks no `needs_finalizer` before it calls.
        if !This::<T>::new(py, object).needs_finalizer() {
            return;
        }
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

/// Whether the object's type is this very class.
pub fn is_exactly(object: &Obj, class: &Obj) -> bool {
    // SAFETY: reads the type of a valid object.
    unsafe { ffi::Py_TYPE(object.as_ptr()).cast() == class.as_ptr() }
}

/// Whether the object is an instance of a class that [`expect_class`] has seen, by inheritance and not by `__class__`.
pub fn is_instance(object: &Obj, class: &Obj) -> bool {
    // SAFETY: both are valid objects, and the second is a class.
    unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), class.as_ptr().cast()) != 0 }
}

/// The version of the object's class: another one after each change to it or to a base of it; 0 if it has none, which
/// looking up an attribute in it mends.
pub fn version(object: &Obj) -> u32 {
    // SAFETY: reads the type of a valid object; the interpreter sets the tag to 0 when it is no longer valid.
    unsafe { (*ffi::Py_TYPE(object.as_ptr())).tp_version_tag }
}

/// What `__class__` answers: asyncio's class for instances of exactly ours, so that `isinstance` says what a program
/// expects; for others their own.
pub fn asyncios<T: Native>(this: &This<'_, T>, stock: &Obj) -> Obj {
    // SAFETY: the type of a valid object is a valid object.
    unsafe {
        let class = ffi::Py_TYPE(this.as_ptr());
        if class == T::class().as_type() {
            stock.clone()
        } else {
            Obj::from_borrowed(class.cast())
        }
    }
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

/// Gives a class that was made with the metaclass `type` another one, which its later subclasses then have too.
///
/// `cls.__class__ = metaclass` is refused by the interpreter, and a metaclass at creation is new in 3.12.
pub fn set_metaclass(class: &Obj, metaclass: &Obj) -> Result<(), &'static str> {
    let plain = &raw mut ffi::PyType_Type;
    // SAFETY: both are checked to be types. The new metaclass adds no fields to those of `type`, so what the class was
    // allocated with is what an instance of it has; the class takes a reference to its heap-allocated metaclass, as
    // every instance does, and caches that know the old one are told.
    unsafe {
        let (class, metaclass): (*mut ffi::PyTypeObject, *mut ffi::PyTypeObject) =
            (class.as_ptr().cast(), metaclass.as_ptr().cast());
        if ffi::Py_TYPE(class.cast()) != plain
            || ffi::PyType_Check(metaclass.cast()) == 0
            || ffi::PyType_IsSubtype(metaclass, plain) == 0
        {
            return Err("a class of type and a metaclass are needed");
        }
        if (*metaclass).tp_basicsize != (*plain).tp_basicsize {
            return Err("the metaclass has fields of its own");
        }
        ffi::Py_INCREF(metaclass.cast());
        (*class.cast::<ffi::PyObject>()).ob_type = metaclass;
        ffi::PyType_Modified(class);
    }
    Ok(())
}
