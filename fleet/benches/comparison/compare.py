"""Celery with the gevent pool, RQ and fleet on one Redis: jobs a second, and what becomes of jobs while workers are killed.

    pip install -r requirements.txt
    cargo build --release -p fleet --example fleet_jobs
    python compare.py ../../../target/release/examples/fleet_jobs

It starts a redis-server of its own, with an append-only file, on a free port.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import celery
import gevent
import redis
import rq

HERE = os.path.dirname(os.path.abspath(__file__))
FLEET = os.path.abspath(sys.argv[1])

# How many empty jobs one process does.
EMPTY = {"celery": 3_000, "celery late": 3_000, "rq": 100, "fleet": 30_000}
# At a time.
EMPTY_AT_A_TIME = 500
# How many jobs four processes do of which one is killed every so many seconds, how long each takes, and how many a process does at a time.
KILLED = {"celery": 6_000, "celery late": 6_000, "rq": 400, "fleet": 6_000}
SECONDS = 0.2
# On a machine with much other work those of Python take longer to begin than the four seconds that they would live otherwise.
KILL = float(os.environ.get("COMPARISON_KILL", "1"))
AT_A_TIME = 20
PROCESSES = 4
# How long after the last run of a job it is waited for others.
PATIENCE = 30


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(system):
    return os.environ | {
        "COMPARISON_PORT": str(PORT),
        "COMPARISON_LATE": "1" if system == "celery late" else "",
        "PYTHONPATH": HERE,
    }


def worker(system, at_a_time=AT_A_TIME):
    python = sys.executable
    commands = {
        "rq": [python, "-m", "rq.cli", "worker", "-u", URL, "--quiet"],
        "fleet": [FLEET, "work", URL, str(at_a_time)],
    }
    celery = [python, "-m", "celery", "-A", "jobs", "worker", "-P", "gevent", "-c", str(at_a_time)]
    celery += ["--without-gossip", "--without-mingle", "-l", "ERROR", "-n", f"{time.monotonic_ns()}@here"]
    log = open(os.path.join(FOLDER, "log"), "ab")
    return subprocess.Popen(
        commands.get(system, celery), env=environment(system), cwd=HERE, stdout=log, stderr=log
    )


def push(system, jobs, seconds):
    if system == "fleet":
        subprocess.run([FLEET, "push", URL, str(jobs), str(seconds)], check=True)
    elif system == "rq":
        import jobs as module

        queue = rq.Queue(connection=SERVER)
        queue.enqueue_many(
            [rq.Queue.prepare_data(module.run, args=(number, seconds), result_ttl=0) for number in range(jobs)]
        )
    else:
        code = f"import jobs\nfor n in range({jobs}): jobs.celery_run.delay(n, {seconds})"
        subprocess.run([sys.executable, "-c", code], env=environment(system), check=True)


def runs():
    return SERVER.hlen("runs")


def rate(system):
    """From the first job to the last, so without the time in which the process begins."""
    SERVER.flushall()
    jobs = EMPTY[system]
    push(system, jobs, 0)
    process = worker(system, EMPTY_AT_A_TIME)
    try:
        while (first := runs()) == 0:
            time.sleep(0.005)
        start = time.monotonic()
        while (done := runs()) < jobs:
            time.sleep(0.005)
        return (done - first) / (time.monotonic() - start)
    finally:
        process.kill()
        process.wait()


def kills(system):
    SERVER.flushall()
    jobs = KILLED[system]
    push(system, jobs, SECONDS)
    start = last = time.monotonic()
    next_kill, killed, before = start + 4 * KILL, 0, -1
    processes = [worker(system) for _ in range(PROCESSES)]
    try:
        while time.monotonic() - last < PATIENCE:
            total = sum(map(int, SERVER.hvals("runs"))) if before >= 0 else 0
            if total != before:
                last, before = time.monotonic(), total
            if runs() == jobs and SERVER.exists("unacked") == 0 and time.monotonic() - last > 7:
                break
            if time.monotonic() >= next_kill and runs() < jobs:
                place = killed % PROCESSES
                processes[place].send_signal(signal.SIGKILL)
                processes[place].wait()
                processes[place] = worker(system)
                next_kill, killed = time.monotonic() + KILL, killed + 1
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    counts = [int(count) for count in SERVER.hvals("runs")]
    text = f"{jobs} jobs, {killed} kills, {last - start:.0f} s: {jobs - len(counts)} never ran, "
    text += f"{sum(count > 1 for count in counts)} ran more than once"
    if system == "fleet":
        output = subprocess.run([FLEET, "records", URL], check=True, capture_output=True, text=True).stdout
        distinct, records = output.split()
        text += f", {distinct} are recorded by {records} records"
    return text


with tempfile.TemporaryDirectory() as FOLDER:
    PORT = free_port()
    os.environ["COMPARISON_PORT"] = str(PORT)
    URL = f"redis://127.0.0.1:{PORT}/0"
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(PORT), "--save", "", "--appendonly", "yes"]
    server = subprocess.Popen(command + ["--dir", FOLDER], stdout=subprocess.DEVNULL)
    try:
        SERVER = redis.Redis(port=PORT)
        while True:
            try:
                version = SERVER.info()["redis_version"]
                break
            except redis.exceptions.ConnectionError:
                time.sleep(0.05)
        print(f"Celery {celery.__version__}, gevent {gevent.__version__}, RQ {rq.__version__}, Redis {version}")
        for system in sys.argv[2:] or EMPTY:
            print(f"{system}: {rate(system):.0f} empty jobs a second, one process", flush=True)
            print(f"{system}: {kills(system)}", flush=True)
    finally:
        server.kill()
        server.wait()
