"""Commands for gdb that show green threads, in a process that runs and in a core file, the first one also for lldb.

    greenloop ps            who is there: number, state, what it waits on, place of spawn, name
    greenloop bt NUMBER     in which calls one of them waits
    greenloop bt all        the same of all

A program with debugging information has this script in it, and gdb loads it where it is told that it may:

    gdb -iex 'add-auto-load-safe-path PATH/OF/THE/PROGRAM' PATH/OF/THE/PROGRAM CORE

Else `source debugger/greenloop.py` does so, and in lldb `command script import debugger/greenloop.py`. It reads the memory of the program and calls nothing in it. The backtraces are for x86_64.
"""

import re
import struct

try:
    import gdb
    import gdb.unwinder
except ImportError:
    gdb = None
    import lldb

WORD = 8
LONGEST_TEXT = 4096
MOST_FRAMES = 200
FIELDS = (
    "version most_threads os_thread fiber_list fiber_count current main swap swap_size state idle running parked ready "
    "words number description extent extent_shifts"
).split()


class Trouble(gdb.GdbError if gdb else Exception):
    """What is told to who has given the command."""


class Process:
    """What is looked at: by gdb, and below by lldb."""

    def read(self, address, size):
        return bytes(gdb.selected_inferior().read_memory(address, size))

    def symbol(self, name):
        try:
            found = re.search(r"0x[0-9a-f]+", gdb.execute("info address " + name, to_string=True))
        except gdb.error:
            found = None
        return int(found.group(), 16) if found else None

    def is_there(self):
        return bool(gdb.selected_inferior().pid or gdb.selected_inferior().threads())

    def architecture(self):
        return gdb.selected_inferior().architecture().name()

    def frames(self, stack_pointer, is_within):
        """The frames of a stack that was left there, the innermost first, as far as they are within it."""
        SUSPENDED.stack_pointer = stack_pointer
        found = []
        gdb.invalidate_cached_frames()
        try:
            frame = gdb.newest_frame().older()
            while frame is not None and len(found) < MOST_FRAMES:
                if not is_within(int(frame.read_register("rsp"))):
                    break
                place = frame.find_sal()
                where = " at %s:%d" % (place.symtab.filename, place.line) if place.symtab else ""
                found.append("%s%s" % (frame.name() or "0x%x" % frame.pc(), where))
                frame = frame.older()
        except gdb.error as error:
            found.append("(no further: %s)" % error)
        finally:
            SUSPENDED.stack_pointer = None
            gdb.invalidate_cached_frames()
        return found


class LldbProcess:
    """The same by lldb, which has the selected target."""

    def target(self):
        return lldb.debugger.GetSelectedTarget()

    def read(self, address, size):
        error = lldb.SBError()
        found = self.target().process.ReadMemory(address, size, error)
        if error.Fail():
            raise Trouble(str(error))
        return found

    def symbol(self, name):
        for found in self.target().FindSymbols(name):
            return found.symbol.GetStartAddress().GetLoadAddress(self.target())
        return None

    def is_there(self):
        return self.target().process.GetNumThreads() > 0

    def architecture(self):
        return self.target().triple.replace("x86_64", "x86-64")

    def frames(self, stack_pointer, is_within):
        raise Trouble("lldb is not told how to unwind a stack that was left: gdb shows the calls, by the same command")


PROCESS = Process() if gdb else LldbProcess()


def read(address, size):
    return PROCESS.read(address, size)


def words(address, count):
    return struct.unpack("<%dQ" % count, read(address, WORD * count))


def word(address):
    return words(address, 1)[0]


def text(address, length):
    if length > LONGEST_TEXT:
        raise Trouble("no text")
    return read(address, length).decode("utf-8", "replace")


def symbol(name):
    found = PROCESS.symbol(name)
    if not found:
        raise Trouble("this program has no symbol %s: it is stripped, or has no greenloop in it" % name)
    return found


class Map:
    """Where the library keeps what: see `src/fiber/debugger.rs`."""

    def __init__(self):
        address = symbol("GREENLOOP_MAP")
        for name, value in zip(FIELDS, words(address, len(FIELDS))):
            setattr(self, name, value)
        if self.version != 1:
            raise Trouble("this script is of another version of greenloop than the program")
        threads = words(address + WORD * len(FIELDS), self.most_threads)
        self.threads = [Thread(self, thread) for thread in threads if thread]
        names = "record_size record_id record_place record_rarities rarities_name".split()
        for name, value in zip(names, words(symbol("GREENLOOP_RECORDS"), len(names))):
            setattr(self, name, value)


class Thread:
    """An OS thread that has green threads."""

    def __init__(self, map, address):
        self.map = map
        self.number = struct.unpack("<I", read(address + map.os_thread, 4))[0]
        self.current = word(address + map.current)
        self.main = word(address + map.main)
        fibers = words(word(address + map.fiber_list), word(address + map.fiber_count))
        self.fibers = [Fiber(self, fiber) for fiber in fibers]

    def residents(self):
        return [fiber for fiber in self.fibers if fiber.is_occupied()]


class Fiber:
    """A stack, and who runs on it."""

    def __init__(self, thread, address):
        self.thread = thread
        self.map = thread.map
        self.address = address
        self.is_main = address == thread.main

    def is_occupied(self):
        return self.is_main or self.state() != self.map.idle

    def state(self):
        return read(self.address + self.map.state, 1)[0]

    def standing(self):
        state = self.state()
        if state == self.map.running:
            return "running" if self.address == self.thread.current else "switched out"
        return "ready" if state == self.map.ready else "parked"

    def waits_on(self):
        if self.standing() != "parked":
            return ""
        address, length = words(self.address + self.map.words, 2)
        return text(address, length).replace("{}", str(word(self.address + self.map.number)))

    def record(self):
        """The record of a green thread; of a greenlet there is another one, of another size."""
        address, table = words(self.address + self.map.description, 2)
        if not address or word(table + WORD) != self.map.record_size:
            return None
        return address

    def number(self):
        record = self.record()
        return word(record + self.map.record_id) if record else None

    def name(self):
        if self.is_main:
            return "main"
        record = self.record()
        rarities = word(record + self.map.record_rarities) if record else 0
        if not rarities:
            return "<unnamed>"
        shared, length = words(rarities + self.map.rarities_name, 2)
        # Behind two counts.
        return text(shared + 2 * WORD, length) if shared else "<unnamed>"

    def spawned_at(self):
        record = self.record()
        if not record:
            return ""
        # As std's `Location` is laid out.
        file, length, position = words(word(record + self.map.record_place), 3)
        return "%s:%d:%d" % (text(file, length), position & 0xFFFFFFFF, position >> 32)

    def line(self):
        number = self.number()
        facts = [self.standing(), self.waits_on(), self.spawned_at(), self.name()]
        return "  %-8s %-12s %-28s %s  '%s'" % ("" if number is None else number, *facts)

    def bounds(self):
        packed = word(self.address + self.map.extent)
        if not packed:
            return None
        shifts = self.map.extent_shifts
        base = packed // shifts * shifts
        return base - (1 << packed % shifts), base

    def stack_pointer(self):
        """Where it has left its stack: the lower of the two places there that its coroutine keeps."""
        bounds = self.bounds()
        if self.is_main or not bounds or self.address == self.thread.current:
            return None
        low, base = bounds
        kept = words(self.address + self.map.swap, self.map.swap_size // WORD)
        within = [place for place in kept if low < place < base - WORD]
        return min(within, default=None)


if gdb:

    class Suspended(gdb.unwinder.Unwinder):
        """Has the frames of a stack that nobody runs on follow the innermost one of the selected thread."""

        def __init__(self):
            super().__init__("greenloop")
            self.stack_pointer = None

        def __call__(self, frame):
            if self.stack_pointer is None or frame.level() != 0:
                return None
            # As corosensei leaves it: where to go on, and two registers.
            counter, rbx, rbp = words(self.stack_pointer, 3)
            values = {"rip": counter, "rsp": self.stack_pointer + 3 * WORD, "rbp": rbp, "rbx": rbx}
            unwound = frame.create_unwind_info(Identity(self.stack_pointer, counter))
            for name, value in values.items():
                unwound.add_saved_register(name, register(value))
            return unwound

    class Identity:
        """Tells a frame from others."""

        def __init__(self, stack_pointer, counter):
            self.sp = register(stack_pointer)
            self.pc = register(counter)

    def register(value):
        return gdb.Value(struct.pack("<Q", value), gdb.selected_inferior().architecture().integer_type(64, False))

    SUSPENDED = Suspended()
    gdb.unwinder.register_unwinder(None, SUSPENDED, replace=True)


def frames(fiber):
    """The frames of who has left its stack, the innermost first."""
    stack_pointer = fiber.stack_pointer()
    if stack_pointer is None:
        return []
    low, base = fiber.bounds()
    return PROCESS.frames(stack_pointer, lambda place: low <= place <= base)


def print_calls(fiber):
    print(fiber.line())
    if fiber.is_main or fiber.address == fiber.thread.current:
        print("      on the OS thread's own stack, or running: `thread apply all bt` shows it")
        return
    for number, frame in enumerate(frames(fiber)):
        print("      #%-2d %s" % (number, frame))


def ps():
    for thread in Map().threads:
        residents = thread.residents()
        print("OS thread %d: %d greenlets" % (thread.number, len(residents)))
        for fiber in residents:
            print(fiber.line())


def bt(which):
    architecture = PROCESS.architecture()
    if "x86-64" not in architecture:
        raise Trouble("backtraces are for x86_64, and this is %s" % architecture)
    residents = [fiber for thread in Map().threads for fiber in thread.residents()]
    if which != "all":
        residents = [fiber for fiber in residents if str(fiber.number()) == which]
        if not residents:
            raise Trouble("there is no green thread %s: `greenloop ps` has the numbers" % which)
    for fiber in residents:
        print_calls(fiber)


USE = "Show green threads: `greenloop ps`, `greenloop bt NUMBER`, `greenloop bt all`."


def command(arguments):
    if not PROCESS.is_there():
        raise Trouble("there is no process, and no core file")
    if arguments == ["ps"]:
        ps()
    elif len(arguments) == 2 and arguments[0] == "bt":
        bt(arguments[1])
    else:
        raise Trouble(USE)


if gdb:

    class Greenloop(gdb.Command):
        __doc__ = USE

        def __init__(self):
            super().__init__("greenloop", gdb.COMMAND_STACK)

        def invoke(self, argument, from_tty):
            command(gdb.string_to_argv(argument))

    Greenloop()


def invoke(debugger, argument, result, session):
    """The command, as lldb calls it."""
    try:
        command(argument.split())
    except Trouble as trouble:
        result.SetError(str(trouble))


def __lldb_init_module(debugger, session):
    debugger.HandleCommand("command script add --function %s.invoke greenloop" % __name__)
