//! Owns: what few tasks have: a name of their own, scopes that catch cancel requests, task-local
//! values. Leaves out: what these mean. One pointer in a task that has none of it.

use std::rc::Rc;

use super::{local::Context, raw::TaskRef, scope::Scope};
use crate::current::Core;

#[derive(Default)]
pub(crate) struct Extras {
    pub(super) name: Option<String>,
    /// The innermost one last.
    pub(super) scopes: Vec<Rc<Scope>>,
    pub(super) context: Context,
}

/// Shows the extras to `f`, which must not run anybody's code; they are made if there are none.
pub(super) fn with<R>(task: &TaskRef, f: impl FnOnce(&mut Extras) -> R) -> R {
    f(task.extras().borrow_mut().get_or_insert_default())
}

/// Gives a new task the task-local values of the one that makes it; that has none, mostly.
#[inline(always)]
pub(crate) fn inherit(core: &Core, task: &TaskRef) {
    let plain = |maker: &TaskRef| maker.extras().borrow().is_none();
    if !core.running().with(|maker| maker.is_some_and(plain)) {
        inherit_context(core, task);
    }
}

#[inline(never)]
fn inherit_context(core: &Core, task: &TaskRef) {
    let context = Context::current(core);
    if !context.is_empty() {
        with(task, |extras| extras.context = context);
    }
}

/// Drops all but the name: the task has ended.
#[inline]
pub(super) fn clear(task: &TaskRef) {
    let gone = match &mut *task.extras().borrow_mut() {
        None => None,
        Some(extras) => Some((
            std::mem::take(&mut extras.scopes),
            std::mem::take(&mut extras.context),
        )),
    };
    // Task-local values are the user's: they are dropped when nothing is borrowed.
    drop(gone);
}
