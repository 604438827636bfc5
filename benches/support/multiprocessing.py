"""The measures of the bench `processes` by CPython's own modules: MEASURE ITERS MEBIBYTES."""

import multiprocessing
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from statistics import median
from time import monotonic_ns as now

fork = multiprocessing.get_context("fork")


def metric(name, value, unit):
    print(name, "cpython", f"{value:.3f}", unit)


def echo(pipe):
    try:
        while True:
            pipe.send_bytes(pipe.recv_bytes())
    except EOFError:
        pass


def round_trips(message, count):
    """Nanoseconds of one."""
    ours, theirs = fork.Pipe()
    child = fork.Process(target=echo, args=(theirs,))
    child.start()
    theirs.close()
    for number in range(count + 1):
        if number == 1:  # the child is there then
            start = now()
        ours.send_bytes(message)
        ours.recv_bytes()
    each = (now() - start) / count
    child.kill()  # it has inherited our end too
    child.join()
    return each


def add_one(number):
    return number + 1


def jobs(count):
    with fork.Pool(1) as pool:
        pool.map(add_one, range(16))
        start = now()
        for number in range(count):
            pool.apply(add_one, (number,))
        metric("job", (now() - start) / count / 1e3, "us")
    with fork.Pool(2) as pool:
        pool.map(add_one, range(16), 1)
        start = now()
        pool.map(add_one, range(count), 1)
        metric("job_map", (now() - start) / count / 1e3, "us")


def put_all(queue, count):
    for number in range(count):
        queue.put(number)


def batches(count):
    count //= 20
    queue = fork.Queue()
    child = fork.Process(target=put_all, args=(queue, count))
    child.start()
    queue.get()  # the child is there then
    start = now()
    for _ in range(count - 1):
        queue.get()
    metric("batch", (now() - start) / count, "ns")
    child.join()


def nothing():
    pass


def starts(count, mebibytes):
    ballast = bytearray(b"\1") * (mebibytes << 20)
    started = 0
    begin = now()
    for _ in range(count):
        start = now()
        child = fork.Process(target=nothing)
        child.start()
        started += now() - start
        child.join()
    metric("start_join", (now() - begin) / count / 1e3, "us")
    metric("start", started / count / 1e3, "us")
    del ballast


died = fork.RawValue("Q")


def die():
    died.value = now()
    os.kill(os.getpid(), signal.SIGKILL)


def deaths(count):
    """It tells, and no other worker begins the job."""
    times = []
    for _ in range(count):
        with ProcessPoolExecutor(1, mp_context=fork) as executor:
            executor.submit(nothing).result()  # a worker is there then
            try:
                executor.submit(die).result()
            except BrokenProcessPool:
                times.append(now() - died.value)
    metric("death_told", median(times) / 1e3, "us")


measure, count, mebibytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if measure == "round_trip":
    metric("round_trip", round_trips(b"7" * 64, count) / 1e3, "us")
elif measure == "large":
    metric("large", round_trips(b"7" * (16 << 20), count) / 1e6, "ms")
elif measure == "job":
    jobs(count)
elif measure == "batch":
    batches(count)
elif measure == "start":
    starts(count, mebibytes)
elif measure == "death":
    deaths(count)
