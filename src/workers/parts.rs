//! A vector that is made in parts, by whoever has them, each where it is to be in the end.
#![expect(unsafe_code, reason = "a place of the memory belongs to one part")]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::sys::memory::ask_for_huge_pages;

/// The memory of all parts. What is in it is theirs.
#[derive(Debug)]
struct Memory<T> {
    first: NonNull<T>,
    capacity: usize,
    /// Where the last part ends.
    end: usize,
}

// SAFETY: it gives nobody an element: a part does, which is `Send` only if elements are.
unsafe impl<T> Send for Memory<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Memory<T> {}

impl<T> Memory<T> {
    /// That of a vector, whose elements are somebody else's from now on.
    fn of(vector: Vec<T>, end: usize) -> Memory<T> {
        let mut vector = ManuallyDrop::new(vector);
        let first = NonNull::new(vector.as_mut_ptr()).expect("a vector's pointer is never null");
        Memory { first, capacity: vector.capacity(), end }
    }

    /// Makes its first `length` elements a vector.
    ///
    /// # Safety
    ///
    /// They are there, and belong to nobody.
    unsafe fn into_vec(self, length: usize) -> Vec<T> {
        let memory = ManuallyDrop::new(self);
        // SAFETY: a vector has allocated it, with this capacity; the caller's contract.
        unsafe { Vec::from_raw_parts(memory.first.as_ptr(), length, memory.capacity) }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: a vector has allocated it, with this capacity. All parts are gone, and what was in them.
        drop(unsafe { Vec::from_raw_parts(self.first.as_ptr(), 0, self.capacity) });
    }
}

/// Places beside each other that are nobody else's, filled from the first one on.
#[derive(Debug)]
pub(super) struct Part<T> {
    memory: Arc<Memory<T>>,
    /// The first that is filled.
    start: usize,
    /// The first that is not.
    next: usize,
    end: usize,
    elements: PhantomData<T>,
}

/// Makes a vector of `count` elements in parts of `size` places, which are empty.
pub(super) fn parts<T>(count: usize, size: usize) -> Vec<Part<T>> {
    let mut vector = Vec::with_capacity(count);
    // A fault for each small page takes longer than to write what is in it.
    ask_for_huge_pages(&vector.spare_capacity_mut()[..count]);
    let memory = Arc::new(Memory::of(vector, count));
    let part = |start: usize| Part {
        memory: memory.clone(),
        start,
        next: start,
        end: count.min(start.saturating_add(size)),
        elements: PhantomData,
    };
    (0..count).step_by(size).map(part).collect()
}

/// Makes one vector of them, where they are, if they are all, in order, and full; else returns them.
pub(super) fn join<T>(mut parts: Vec<Part<T>>) -> Result<Vec<T>, Vec<Part<T>>> {
    let Some(memory) = parts.first().map(|part| part.memory.clone()) else { return Ok(Vec::new()) };
    let follows = |at: usize, part: &Part<T>| {
        let is_next = Arc::ptr_eq(&part.memory, &memory) && part.start == at && part.next == part.end;
        is_next.then_some(part.end)
    };
    if parts.iter().try_fold(0, follows) != Some(memory.end) {
        return Err(parts);
    }
    // They have nothing any more.
    parts.iter_mut().for_each(|part| part.start = part.end);
    drop(parts);
    let end = memory.end;
    let memory = Arc::into_inner(memory).expect("all parts were here");
    // SAFETY: each place is one of the parts', which were full, and have given them up.
    Ok(unsafe { memory.into_vec(end) })
}

impl<T> Part<T> {
    fn place(&self, number: usize) -> *mut T {
        // In the memory, or just behind it: so it does not wrap.
        self.memory.first.as_ptr().wrapping_add(number)
    }

    /// How many places are not filled.
    pub(super) fn room(&self) -> usize {
        self.end - self.next
    }

    /// Fills the next place.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(super) fn push(&mut self, element: T) {
        assert!(self.next < self.end, "the part is full");
        // SAFETY: the place is in the memory, and this part's alone, and nothing is there.
        unsafe { self.place(self.next).write(element) };
        self.next += 1;
    }
}

/// One that is all of a vector, and full.
impl<T> FromIterator<T> for Part<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Part<T> {
        let vector: Vec<T> = elements.into_iter().collect();
        let end = vector.len();
        let memory = Arc::new(Memory::of(vector, end));
        Part { memory, start: 0, next: end, end, elements: PhantomData }
    }
}

/// Takes its elements out.
impl<T> Iterator for Part<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let place = (self.start < self.next).then(|| self.place(self.start))?;
        self.start += 1;
        // SAFETY: the place was filled, is this part's alone, and counts as one no more.
        Some(unsafe { place.read() })
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts what is dropped of it.
    struct Counted<'a>(usize, &'a AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fill<'a>(part: &mut Part<Counted<'a>>, count: usize, drops: &'a AtomicUsize) {
        (0..count).for_each(|number| part.push(Counted(number, drops)));
    }

    #[test]
    fn full_parts_become_one_vector_in_their_place() {
        let drops = AtomicUsize::new(0);
        let mut all = parts(7, 3);
        assert_eq!(all.len(), 3);
        let first = all[0].place(0);
        std::thread::scope(|scope| {
            for (part, count) in all.iter_mut().zip([3, 3, 1]) {
                let drops = &drops;
                scope.spawn(move || fill(part, count, drops));
            }
        });
        let vector = join(all).ok().unwrap();
        assert_eq!(vector.as_ptr(), first.cast_const());
        assert!(vector.iter().map(|counted| counted.0).eq([0, 1, 2, 0, 1, 2, 0]));
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        drop(vector);
        assert_eq!(drops.load(Ordering::Relaxed), 7);
    }

    fn returned<'a>(all: Vec<Part<Counted<'a>>>) -> impl Iterator<Item = usize> + use<'a> {
        join(all).err().unwrap().into_iter().flatten().map(|counted| counted.0)
    }

    #[test]
    fn parts_that_are_not_all_full_and_in_order_stay_parts() {
        let drops = AtomicUsize::new(0);
        let filled = |counts: [usize; 2]| {
            let mut all = parts(4, 2);
            all.iter_mut().zip(counts).for_each(|(part, count)| fill(part, count, &drops));
            all
        };
        assert!(returned(filled([1, 2])).eq([0, 0, 1]));
        assert!(returned(filled([2, 1])).eq([0, 1, 0]));
        assert!(returned(filled([2, 2]).into_iter().rev().collect()).eq([0, 1, 0, 1]));
        assert!(returned(filled([2, 2]).into_iter().take(1).collect()).eq([0, 1]));
        assert!(returned(filled([2, 2]).into_iter().skip(1).collect()).eq([0, 1]));
        assert!(returned(vec![Part::from_iter([Counted(5, &drops)]), parts(4, 2).pop().unwrap()]).eq([5]));
        let mixed = filled([2, 2]).into_iter().take(1).chain(filled([2, 2]).into_iter().skip(1));
        assert!(returned(mixed.collect()).eq([0, 1, 0, 1]));
        assert_eq!(drops.load(Ordering::Relaxed), 27);
    }

    #[test]
    fn a_part_that_is_dropped_drops_what_is_in_it_once() {
        let drops = AtomicUsize::new(0);
        let mut part = parts(4, 4).pop().unwrap();
        fill(&mut part, 3, &drops);
        drop(part.next());
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        drop(part);
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    }

    #[test]
    #[should_panic = "the part is full"]
    fn a_full_part_takes_no_more() {
        let mut all = parts(4, 2);
        (0..3).for_each(|number| all[0].push(number));
    }

    #[test]
    fn nothing_is_no_part() {
        assert_eq!(join(parts::<u8>(0, 1)).unwrap(), []);
    }

    #[test]
    fn what_has_no_size_is_counted() {
        let mut all = parts(5, 2);
        all.iter_mut().zip([2, 2, 1]).for_each(|(part, count)| (0..count).for_each(|_| part.push(())));
        assert_eq!(join(all).unwrap().len(), 5);
    }
}
