use std::collections::HashSet;
use std::fs;
use std::hint;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::Ordering;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::extent::*;
use super::pool::*;
use super::size::*;
use super::*;
use crate::sys::memory;
use crate::sys::memory::tests::pretend_to_take_every_advice;
use crate::sys::signal::tests::{Ended, in_child, in_child_after};
use crate::sys::surplus::PERIOD;

const SIGABRT: i32 = 6;
const KIB: usize = 1024;

fn class_of(bytes: usize) -> SizeClass {
    SizeClass { shift: bytes.trailing_zeros() as u8 }
}

/// How many memory mappings begin in the range.
fn mappings(range: Range<usize>) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let start = |line: &str| usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    maps.lines().filter(|line| range.contains(&start(line))).count()
}

/// A stack from the middle of the colours, so that each run of a test sees the same.
fn allocate_middle_colour(pool: &'static Pool, class: SizeClass) -> Stack {
    let mut others = Vec::new();
    loop {
        let stack = Stack::from_pool(pool, class).unwrap();
        if lowered(&stack) == COLOURS / 2 * COLOUR_STEP {
            return stack;
        }
        others.push(stack);
    }
}

/// By how much the colour has lowered its base.
fn lowered(stack: &Stack) -> usize {
    stack.extent.end() - HEADER - stack.extent.base()
}

/// Makes so many calls inside each other.
#[inline(never)]
fn nest(calls: usize) {
    if calls > 0 {
        nest(calls - 1);
        hint::black_box(());
    }
}

/// A coroutine that nests as many calls as it is told, and rests near its base. It ends when told 0.
fn diver(stack: Stack) -> Coroutine<usize, (), (), Stack> {
    Coroutine::with_stack(stack, |yielder: &Yielder<usize, ()>, mut calls| {
        let mark = hint::black_box(0xdeed_u64);
        while calls > 0 {
            nest(calls);
            calls = yielder.suspend(());
        }
        assert_eq!(hint::black_box(mark), 0xdeed);
    })
}

/// More than the resting `diver` uses, also where a sanitizer makes its frames larger.
const RESTING: usize = if cfg!(debug_assertions) { 5000 } else { 1000 };

/// Lets it go down until `bytes` bytes of its stack have been in use.
fn dive(diver: &mut Coroutine<usize, (), (), Stack>, extent: Extent, bytes: usize) {
    let mut calls = 16;
    while extent.high_water() < bytes {
        assert!(matches!(diver.resume(calls), CoroutineResult::Yield(())));
        calls += calls / 8;
    }
}

#[test]
fn a_class_has_at_least_the_bytes_asked_for() {
    assert_eq!(SizeClass::fitting(0).unwrap(), class_of(16 * KIB));
    for shift in SMALLEST_SHIFT..=LARGEST_SHIFT {
        let class = SizeClass { shift };
        assert_eq!(SizeClass::fitting(class.usable()).unwrap(), class);
        match SizeClass::fitting(class.usable() + 1) {
            Ok(next) => assert_eq!(next.shift, shift + 1),
            Err(error) => assert_eq!(shift, LARGEST_SHIFT, "{error}"),
        }
    }
}

#[test]
fn a_guard_is_half_as_large_as_its_stack_within_bounds() {
    for (stack, guard) in [(16, 128), (128, 128), (256, 128), (512, 256), (2048, 1024), (1 << 20, 1024)] {
        assert_eq!(class_of(stack * KIB).guard(), guard * KIB);
    }
}

#[test]
fn too_large_a_stack_is_refused_with_the_limit() {
    let limit = class_of(1 << 30).usable();
    for requested in [limit + 1, 1 << 40, usize::MAX] {
        let error = SizeClass::fitting(requested).unwrap_err();
        assert!(
            matches!(error, StackError::TooLarge { requested: r, limit: l } if r == requested && l == limit)
        );
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn the_default_can_be_changed() {
    in_child(|| {
        let expected = if cfg!(debug_assertions) { 512 * KIB } else { 128 * KIB };
        assert_eq!(SizeClass::default_now(), class_of(expected));
        set_default_stack_size(1000 * KIB).unwrap();
        assert_eq!(SizeClass::default_now(), class_of(1024 * KIB));
        assert!(set_default_stack_size(usize::MAX).is_err());
        assert_eq!(SizeClass::default_now(), class_of(1024 * KIB));
    })
    .assert_success();
}

#[test]
fn the_stack_returned_last_is_taken_first() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let allocate = || Stack::from_pool(&POOL, class_of(64 * KIB)).unwrap();
    let (first, second, third) = (allocate(), allocate(), allocate());
    let [first_extent, second_extent] = [&first, &second].map(Stack::extent);
    drop(first);
    drop(second);
    let (fourth, fifth, sixth) = (allocate(), allocate(), allocate());
    assert_eq!(fourth.extent(), second_extent);
    assert_eq!(fifth.extent(), first_extent);
    assert_eq!(sixth.extent().low(), third.extent().low() + class_of(64 * KIB).slot());
}

#[test]
fn classes_do_not_share_stacks() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let small = Stack::from_pool(&POOL, class_of(16 * KIB)).unwrap().extent();
    let large = Stack::from_pool(&POOL, class_of(1024 * KIB)).unwrap().extent();
    assert_ne!(small.low(), large.low());
    assert_eq!(Stack::from_pool(&POOL, class_of(16 * KIB)).unwrap().extent(), small);
}

#[test]
fn bases_are_coloured_and_aligned() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let class = class_of(32 * KIB);
    let stacks: Vec<_> = (0..2 * COLOURS).map(|_| Stack::from_pool(&POOL, class).unwrap()).collect();
    let second = lowered(&stacks[1]) / COLOUR_STEP;
    for (index, stack) in stacks.iter().enumerate() {
        if index > 0 {
            assert_eq!(lowered(stack), (second + index - 1) % COLOURS * COLOUR_STEP);
        }
        assert_eq!(stack.extent.base() % 64, 0);
        let usable = stack.extent.base() - stack.extent.low();
        assert!(usable >= class.usable());
        let top_page = stack.extent.end() - memory::page_size();
        let canaries = [0, CANARIES[7]].map(|offset| stack.extent.canary(top_page, offset).addr());
        assert!(canaries[0] >= top_page && canaries[1] < stack.extent.base());
    }
}

#[test]
fn forty_thousand_guarded_stacks_are_one_mapping() {
    in_child(|| {
        static POOL: Pool = Pool::new(Guards::Installed);
        let allocate = |_| Stack::from_pool(&POOL, class_of(64 * KIB)).unwrap();
        let stacks: Vec<_> = (0..2000).map(allocate).collect();
        if POOL.closed_guards.load(Ordering::SeqCst) {
            return; // A kernel before 6.13.
        }
        let stacks: Vec<_> = stacks.into_iter().chain((2000..40_000).map(allocate)).collect();
        let (low, class) = (stacks[1].extent.low(), class_of(64 * KIB));
        assert_eq!(mappings(low - class.guard()..low + 39_998 * class.slot()), 1);
        let distinct: HashSet<_> = stacks.iter().map(|stack| stack.extent.low()).collect();
        assert_eq!(distinct.len(), 40_000);
    })
    .assert_success();
}

#[test]
fn closed_guards_take_two_mappings_each() {
    static POOL: Pool = Pool::new(Guards::Closed);
    let class = class_of(64 * KIB);
    let _first = Stack::from_pool(&POOL, class).unwrap();
    let stack = Stack::from_pool(&POOL, class).unwrap();
    let low = stack.extent().low();
    assert_eq!(mappings(low + 1..low + FIRST_SLAB * class.slot()), 2 * FIRST_SLAB - 1);
    drop(stack);
    assert_eq!(Stack::from_pool(&POOL, class).unwrap().extent().low(), low);
}

#[test]
fn the_first_stack_of_a_size_takes_no_more_room_than_it_has() {
    let pages = || {
        fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse::<usize>().unwrap()
    };
    in_child(move || {
        static POOL: Pool = Pool::new(Guards::Installed);
        for class in [class_of(32 * KIB), class_of(1024 * KIB)] {
            let (before, first) = (pages(), Stack::from_pool(&POOL, class).unwrap().extent());
            // What reading and a sanitizer's book-keeping take is a few pages, and a region is 64 GiB.
            let taken = (pages() - before) * memory::page_size();
            assert!((class.slot()..class.slot() + 4096 * KIB).contains(&taken), "{taken} bytes");
            assert_eq!(mappings(first.low() - class.guard()..first.end()), 2);
            // It is the next one too.
            assert_eq!(Stack::from_pool(&POOL, class).unwrap().extent(), first);
        }
    })
    .assert_success();
}

#[test]
fn the_limit_of_mappings_is_an_error_that_leaves_room_for_others() {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse::<usize>().unwrap();
    if limit > 300_000 {
        return; // To reach it takes more memory than a test should.
    }
    in_child(|| {
        static POOL: Pool = Pool::new(Guards::Closed);
        let mut stacks = Vec::with_capacity(limit);
        let error = loop {
            match Stack::from_pool(&POOL, class_of(64 * KIB)) {
                Ok(stack) => stacks.push(stack),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StackError::MapLimit(_)), "{error:?}");
        assert!(error.to_string().contains("raise vm.max_map_count"));
        assert!((limit / 2 - 200..=limit / 2).contains(&stacks.len()), "{} stacks", stacks.len());
        std::thread::spawn(|| ()).join().unwrap();
        stacks.pop();
        stacks.push(Stack::from_pool(&POOL, class_of(64 * KIB)).unwrap());
    })
    .assert_success();
}

#[test]
fn little_address_space_is_enough_for_a_few_stacks() {
    let four_gib = "ulimit -v 4194304";
    let ended = in_child_after(four_gib, || {
        let stacks: Vec<_> = (0..1000).map(|_| Stack::allocate(class_of(64 * KIB)).unwrap()).collect();
        assert_eq!(stacks.len(), 1000);
        let large: Vec<_> = (0..4).map(|_| Stack::allocate(class_of(1 << 30))).collect();
        assert!(large[0].is_ok());
        assert!(matches!(large[3], Err(StackError::OutOfMemory(_))));
    });
    if !ended.by_sanitizer() {
        ended.assert_success();
    }
}

#[test]
fn an_installed_guard_faults() {
    static POOL: Pool = Pool::new(Guards::Installed);
    assert_guard_reported(|prelude| in_child_after(prelude, || touch_guard_of_second(&POOL)));
}

#[test]
fn the_guard_of_the_first_stack_faults() {
    static POOL: Pool = Pool::new(Guards::Installed);
    assert_guard_reported(|prelude| in_child_after(prelude, || touch_guard(&POOL)));
}

#[test]
fn a_closed_guard_faults() {
    static POOL: Pool = Pool::new(Guards::Closed);
    assert_guard_reported(|prelude| in_child_after(prelude, || touch_guard_of_second(&POOL)));
}

#[test]
fn where_guards_are_only_said_to_be_installed_they_are_closed() {
    static POOL: Pool = Pool::new(Guards::Installed);
    assert_guard_reported(|prelude| {
        in_child_after(prelude, || {
            pretend_to_take_every_advice();
            let first_and_second = [(); 2].map(|()| Stack::from_pool(&POOL, class_of(32 * KIB)).unwrap());
            drop(first_and_second);
            assert!(POOL.closed_guards.load(Ordering::SeqCst));
            touch_guard_of_second(&POOL);
        })
    });
}

/// In a child: how many bytes below its stack it touches the guard.
const DEPTH: &str = "GREENLOOP_TEST_DEPTH";

/// Of a stack that is cut from a region.
fn touch_guard_of_second(pool: &'static Pool) {
    let _first = Stack::from_pool(pool, class_of(32 * KIB)).unwrap();
    touch_guard(pool);
}

/// The lowest word of the stack can be written, also after the stack has been trimmed and reused; what lies below cannot.
fn touch_guard(pool: &'static Pool) {
    let class = class_of(32 * KIB);
    for _ in 0..2 {
        let stack = Stack::from_pool(pool, class).unwrap();
        let lowest = ptr::with_exposed_provenance_mut::<usize>(stack.extent.low());
        // SAFETY: the stack belongs to this test, and nobody runs on it.
        unsafe { lowest.write_volatile(1) };
    }
    let stack = Stack::from_pool(pool, class).unwrap();
    eprintln!("so far so good");
    let depth: usize = std::env::var(DEPTH).unwrap().parse().unwrap();
    let guard = ptr::with_exposed_provenance_mut::<u8>(stack.extent.low() - depth);
    // SAFETY: none; the fault is the purpose.
    unsafe { guard.write_volatile(1) };
}

#[track_caller]
fn assert_guard_reported(touch: impl Fn(&str) -> Ended) {
    for depth in [1, SMALLEST_GUARD] {
        let ended = touch(&format!("ulimit -c 0; export {DEPTH}={depth}"));
        ended.assert_signal(SIGABRT);
        let expected = "so far so good\n\ngreen thread '<unnamed>' has overflowed its stack (32 KiB)\n";
        assert!(ended.stderr.starts_with(expected), "{depth}: {}", ended.stderr);
    }
}

#[test]
fn a_deep_stack_is_given_back_while_its_coroutine_rests() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let stack = allocate_middle_colour(&POOL, class_of(256 * KIB));
    let extent = stack.extent();
    let mut diver = diver(stack);
    for _ in 0..3 {
        dive(&mut diver, extent, 100 * KIB);
        assert!(extent.high_water() >= 100 * KIB);
        // SAFETY: the coroutine rests less than `RESTING` below its base.
        unsafe { extent.trim(RESTING) };
        assert!(extent.high_water() <= WARM_PAGES * memory::page_size());
        assert!(matches!(diver.resume(1), CoroutineResult::Yield(())));
        // SAFETY: as above.
        unsafe { extent.trim(RESTING) };
    }
    assert!(matches!(diver.resume(0), CoroutineResult::Return(())));
}

#[test]
fn a_shallow_stack_keeps_its_pages() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let stack = allocate_middle_colour(&POOL, class_of(256 * KIB));
    let extent = stack.extent();
    let mut diver = diver(stack);
    dive(&mut diver, extent, 6 * KIB);
    let touched = extent.high_water();
    assert!((6 * KIB..WARM_PAGES * memory::page_size()).contains(&touched));
    // SAFETY: the coroutine rests less than `RESTING` below its base.
    unsafe { extent.trim(RESTING) };
    assert_eq!(extent.high_water(), touched);
    // SAFETY: the header is in the stack's memory, and nobody runs there.
    let mark = unsafe { (*extent.header()).mark };
    assert_eq!(mark, extent.base() - touched, "the next trim looks below what was used");
    assert!(matches!(diver.resume(0), CoroutineResult::Return(())));
}

#[test]
fn trimming_spares_the_frames_of_a_coroutine_that_rests_deep() {
    static POOL: Pool = Pool::new(Guards::Installed);
    #[inline(never)]
    fn rest_deep(yielder: &Yielder<(), usize>, extent: Extent, calls: usize) -> usize {
        if calls == 0 {
            let in_use = extent.high_water() + memory::page_size();
            nest(5000);
            yielder.suspend(in_use);
            return 0;
        }
        1 + hint::black_box(rest_deep(yielder, extent, calls - 1))
    }
    let stack = allocate_middle_colour(&POOL, class_of(1024 * KIB));
    let extent = stack.extent();
    let calls = 1000;
    let run = move |yielder: &Yielder<(), usize>, ()| assert_eq!(rest_deep(yielder, extent, calls), calls);
    let mut deep = Coroutine::with_stack(stack, run);
    let CoroutineResult::Yield(in_use) = deep.resume(()) else { panic!("it does not rest") };
    assert!(in_use > 16 * calls && extent.high_water() > in_use + 16 * 4000);
    for _ in 0..2 {
        // SAFETY: the nested calls have ended, and all else is above.
        unsafe { extent.trim(in_use) };
        let left = extent.high_water();
        assert!((in_use..in_use + 8 * KIB).contains(&left), "{left} bytes left, {in_use} in use");
    }
    assert!(matches!(deep.resume(()), CoroutineResult::Return(())));
}

#[test]
fn a_returned_stack_is_trimmed() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let allocate = || allocate_middle_colour(&POOL, class_of(256 * KIB));
    let stack = allocate();
    let extent = stack.extent();
    let mut diver = diver(stack);
    dive(&mut diver, extent, 200 * KIB);
    assert!(matches!(diver.resume(0), CoroutineResult::Return(())));
    drop(diver.into_stack());
    let again = allocate();
    assert_eq!(again.extent(), extent);
    assert!(extent.high_water() <= WARM_PAGES * memory::page_size());
}

#[test]
fn a_stack_without_pages_to_spare_can_be_used_to_its_end() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let class = class_of(16 * KIB);
    for _ in 0..3 {
        let stack = Stack::from_pool(&POOL, class).unwrap();
        let extent = stack.extent();
        let mut diver = diver(stack);
        dive(&mut diver, extent, 7 * KIB);
        assert!(matches!(diver.resume(0), CoroutineResult::Return(())));
    }
}

#[test]
fn threads_never_get_the_same_stack() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let class = class_of(16 * KIB);
    let taken: Vec<Stack> = std::thread::scope(|scope| {
        let take = || {
            for _ in 0..1000 {
                drop((Stack::from_pool(&POOL, class).unwrap(), Stack::from_pool(&POOL, class).unwrap()));
            }
            (0..500).map(|_| Stack::from_pool(&POOL, class).unwrap()).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: HashSet<_> = taken.iter().map(|stack| stack.extent().low()).collect();
    assert_eq!(distinct.len(), 2000);
}

/// Takes so many stacks and returns them.
fn use_at_once(pool: &'static Pool, class: SizeClass, count: usize) -> Vec<Extent> {
    let stacks: Vec<_> = (0..count).map(|_| Stack::from_pool(pool, class).unwrap()).collect();
    stacks.iter().map(|stack| stack.extent()).collect()
}

fn is_warm(extent: &Extent) -> bool {
    extent.high_water() > 0
}

#[test]
fn more_stacks_than_are_kept_warm_lose_their_memory_when_they_are_of_no_use() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let class = class_of(16 * KIB);
    let count = WARM_STACKS + 2 * memory::RANGES_AT_ONCE;
    let start = Time::now();
    assert!(!POOL.is_crowded());
    let extents = use_at_once(&POOL, class, count);
    assert!(POOL.is_crowded());
    assert_eq!(POOL.cool(start), Some(PERIOD));
    assert_eq!(POOL.cool(start.plus(PERIOD / 4)), Some(PERIOD * 3 / 4));
    assert!(extents.iter().all(is_warm));
    let end = start.plus(PERIOD);
    assert_eq!([(); 3].map(|()| POOL.cool(end)), [Some(Duration::ZERO), Some(Duration::ZERO), None]);
    assert!(!POOL.is_crowded());
    let (warm, cold) = extents.split_at(WARM_STACKS);
    assert!(warm.iter().all(is_warm));
    assert!(!cold.iter().any(is_warm), "those that came back last");
    // They are used again once the warm ones are.
    let again = use_at_once(&POOL, class, count);
    let lows: HashSet<_> = again.iter().map(|extent| extent.low()).collect();
    assert_eq!(lows.len(), count);
    assert!(extents.iter().all(|extent| lows.contains(&extent.low()) && is_warm(extent)));
}

#[test]
fn stacks_of_use_within_a_period_keep_their_memory() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let class = class_of(16 * KIB);
    let count = WARM_STACKS + 2 * memory::RANGES_AT_ONCE;
    let ends: [Time; 4] = std::array::from_fn(|periods| Time::now().plus(PERIOD * periods as u32));
    let extents = use_at_once(&POOL, class, count);
    assert_eq!(POOL.cool(ends[0]), Some(PERIOD));
    use_at_once(&POOL, class, count);
    assert_eq!(POOL.cool(ends[1]), Some(PERIOD));
    // As many as these are in reserve all the time.
    use_at_once(&POOL, class, WARM_STACKS + memory::RANGES_AT_ONCE);
    assert_eq!(POOL.cool(ends[2]), Some(PERIOD));
    assert!(extents.iter().all(is_warm));
    use_at_once(&POOL, class, memory::RANGES_AT_ONCE);
    assert_eq!([(); 2].map(|()| POOL.cool(ends[3])), [Some(Duration::ZERO), Some(PERIOD)]);
    assert_eq!(extents.iter().filter(|extent| is_warm(extent)).count(), count - memory::RANGES_AT_ONCE);
}

#[test]
fn a_thread_that_ends_leaves_no_more_warm_stacks_than_are_kept() {
    static POOL: Pool = Pool::new(Guards::Installed);
    let extents = use_at_once(&POOL, class_of(16 * KIB), WARM_STACKS + 3 * memory::RANGES_AT_ONCE);
    POOL.cool_all();
    assert!(!POOL.is_crowded());
    assert_eq!(extents.iter().filter(|extent| is_warm(extent)).count(), WARM_STACKS);
}
