//! The contents that thread-local variables begin with: each module of the program has an image of its own, and zeros after that.

use std::ffi::{c_int, c_void};
use std::slice;

use super::thread_local::run_with;

/// As many modules with thread-local variables are remembered. With more they are looked at each time.
const MOST: usize = 128;

/// A module's variables.
#[derive(Clone, Copy, Debug)]
struct Module {
    /// From the base of the thread-control block, in wrapping arithmetic.
    offset: usize,
    /// Its image.
    image: *const u8,
    /// The bytes of that.
    filled: usize,
    /// The bytes of all its variables.
    whole: usize,
}

/// What one OS thread knows of the modules, to give variables their first contents again.
#[derive(Default, Debug)]
pub(crate) struct FirstContents {
    /// Of which modules this is: the loader counts what is loaded and unloaded.
    changes: u64,
    /// `None` where a module's variables are elsewhere in each block, or not made until they are used.
    modules: Option<Vec<Module>>,
}

impl FirstContents {
    /// Gives the variables at `base` their first contents. Those of the C library stay: they are for its own use.
    ///
    /// # Safety
    ///
    /// As for [`run_with`]; and none of the variables is in use, nor has anything that a destructor should free.
    pub(crate) unsafe fn restore(&mut self, base: usize, own: usize) {
        // Under the loader's lock, so that no image goes meanwhile.
        let restored = each_module(|module| {
            if Some(changes(module)) != self.modules.as_ref().map(|_| self.changes) {
                return Some(false);
            }
            for module in self.modules.iter().flatten() {
                // SAFETY: the modules are the same, and each block has their variables there; the caller's contract.
                unsafe { module.restore(base) };
            }
            Some(true)
        });
        if restored != Some(true) {
            // SAFETY: the caller's contract.
            unsafe { self.look_and_restore(base, own) };
        }
    }

    /// # Safety
    ///
    /// As for [`restore`](FirstContents::restore).
    #[cold]
    unsafe fn look_and_restore(&mut self, base: usize, own: usize) {
        let mut there = Vec::with_capacity(MOST);
        let mut seen = 0;
        let mut all = true;
        let mut look = || {
            each_module(|module| {
                seen = changes(module);
                match variables_of(module, base) {
                    // SAFETY: these are the module's variables in this block; the caller's contract.
                    Some(Ok(variables)) => unsafe {
                        variables.restore(base);
                        all &= there.len() < MOST;
                        if all {
                            there.push(variables);
                        }
                    },
                    Some(Err(NotMade)) => all = false,
                    None => {}
                }
                None::<()>
            });
        };
        // SAFETY: the caller's contract. To look neither switches nor unwinds: there is room for what is pushed.
        unsafe { run_with(base, own, &mut look) };
        // Those that are at the same place in another block are so in each.
        let mut here = there.iter();
        each_module(|module| {
            all &= changes(module) == seen;
            if let Some(Ok(variables)) = variables_of(module, own) {
                all &= here.next().is_some_and(|there| there.offset == variables.offset);
            }
            None::<()>
        });
        all &= here.next().is_none();
        *self = FirstContents { changes: seen, modules: all.then_some(there) };
    }
}

impl Module {
    /// # Safety
    ///
    /// The module is loaded, and the block at `base` has its variables there, which are not in use.
    unsafe fn restore(&self, base: usize) {
        let variables = std::ptr::with_exposed_provenance_mut::<u8>(base.wrapping_add(self.offset));
        // SAFETY: the image is as long, by the module's own header, and the caller vouches for the place.
        unsafe { self.image.copy_to_nonoverlapping(variables, self.filled) };
        // SAFETY: as above.
        unsafe { variables.wrapping_add(self.filled).write_bytes(0, self.whole - self.filled) };
    }
}

/// A module's variables are made when they are first used.
struct NotMade;

fn changes(module: &libc::dl_phdr_info) -> u64 {
    module.dlpi_adds + module.dlpi_subs
}

/// The variables of a module that is not the C library; `None` if it has none. `base` is what the caller runs with.
fn variables_of(module: &libc::dl_phdr_info, base: usize) -> Option<Result<Module, NotMade>> {
    // SAFETY: a module has as many program headers as it says.
    let headers = unsafe { slice::from_raw_parts(module.dlpi_phdr, module.dlpi_phnum.into()) };
    let header = headers.iter().find(|header| header.p_type == libc::PT_TLS)?;
    let (start, whole) = (module.dlpi_tls_data.expose_provenance(), header.p_memsz as usize);
    if start == 0 {
        return Some(Err(NotMade));
    }
    // SAFETY: takes nothing.
    let errno = unsafe { libc::__errno_location() }.addr();
    // SAFETY: takes no pointers.
    let loader = unsafe { libc::getauxval(libc::AT_BASE) };
    if (start..start + whole).contains(&errno) || (loader != 0 && module.dlpi_addr == loader) {
        return None;
    }
    let image = std::ptr::with_exposed_provenance((module.dlpi_addr + header.p_vaddr) as usize);
    Some(Ok(Module { offset: start.wrapping_sub(base), image, filled: header.p_filesz as usize, whole }))
}

/// Calls `look` with each module, until it returns something. The loader's lock is held meanwhile: nothing is loaded or unloaded.
fn each_module<R, F: FnMut(&libc::dl_phdr_info) -> Option<R>>(look: F) -> Option<R> {
    struct Search<R, F> {
        look: F,
        found: Option<R>,
    }
    unsafe extern "C" fn call<R, F: FnMut(&libc::dl_phdr_info) -> Option<R>>(
        module: *mut libc::dl_phdr_info,
        _: libc::size_t,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: `dl_iterate_phdr` passes a valid record of a module.
        let module = unsafe { &*module };
        // SAFETY: it passes on the pointer that it was given below, which nothing else uses meanwhile.
        let search = unsafe { &mut *search.cast::<Search<R, F>>() };
        search.found = (search.look)(module);
        search.found.is_some().into()
    }
    let mut search = Search { look, found: None };
    // SAFETY: `call` keeps to its types, and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(call::<R, F>), (&raw mut search).cast()) };
    search.found
}
