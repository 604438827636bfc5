"""The jobs, as Celery and RQ do them: each counts in Redis that it ran."""

import os
import time

from celery import Celery
from redis import Redis

PORT = os.environ.get("COMPARISON_PORT", "6379")
URL = f"redis://127.0.0.1:{PORT}/0"

app = Celery("jobs", broker=URL)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("COMPARISON_LATE"):
    # What its documentation says for jobs that must not be lost, with a lease as short as fleet's.
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.worker_prefetch_multiplier = 1
    app.conf.broker_transport_options = {"visibility_timeout": 5}

_redis = None


def run(number, seconds):
    global _redis
    if _redis is None:
        _redis = Redis(port=int(PORT))
    if seconds:
        time.sleep(seconds)
    _redis.hincrby("runs", number, 1)


@app.task(name="run")
def celery_run(number, seconds):
    run(number, seconds)
