"""Celery's settings, each with its reason; nothing else.

Read by `worker.app` when a process first needs the app. Postgres is the truth and Celery carries
wake-ups (docs/adr/0001): most choices below follow from that.
"""

from worker.runtime.settings import resolve
from worker.runtime.startup import one_clear_line

# Where messages go. One Redis serves unless a broker is named.
with one_clear_line():
    broker_url = resolve().broker()

# Our tasks; named, so that a worker loads them and a producer need not.
imports = ("worker.app.tasks",)

# JSON only: a message is data, and unpickling one would be running it.
task_serializer = "json"
result_serializer = "json"
event_serializer = "json"
accept_content = ["json"]

# Nobody asks for results: outcomes are rows and events.
task_ignore_result = True
result_backend = None

# One queue of our own name, so that other Celery apps on the broker stay out of it.
task_default_queue = "publish"
# Nothing is sent to a queue, or run under a task name, that we did not declare.
task_create_missing_queues = False
task_queues = {
    "publish": {"exchange": "publish", "routing_key": "publish"},
    # Webhooks in a queue of their own, so that they can be given workers of their own: one started
    # with `-Q webhooks`, the others with `-Q publish`. Without -Q a worker serves both.
    "webhooks": {"exchange": "webhooks", "routing_key": "webhooks"},
}
task_routes = {"webhooks.*": {"queue": "webhooks"}}

broker_transport_options = {
    # Every key that Kombu makes on Redis, so that they are told from ours and from others'.
    "global_keyprefix": "publish-worker:celery:",
    # Redelivery of unacknowledged messages. Ours are acknowledged as they arrive, all but
    # `publish.enqueue`, which takes seconds: so ten minutes is ample.
    "visibility_timeout": 600,
    # A dead Redis must not hang an enqueue, nor a worker's reconnect.
    "socket_timeout": 5.0,
    "socket_connect_timeout": 0.5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # How long a producer tries to get a connection: the sweep is there for what gets lost.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}
broker_connection_timeout = 1.0
# A worker waits for its broker for ever, at the start and after every loss.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# Tasks in hand go on when the broker is lost: they are transactions in Postgres.
worker_cancel_long_running_tasks_on_connection_loss = False

# A wake-up that cannot be sent now is not worth a wait: one more try, then the sweep.
task_publish_retry = True
task_publish_retry_policy = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}

# Acknowledge as they arrive: a lost wake-up costs a second, a repeated one nothing.
task_acks_late = False
# A worker takes one message more than it works on: wake-ups are not worth hoarding.
worker_prefetch_multiplier = 1

# SIGTERM: finish the tasks in hand, a run at most its five seconds; SIGQUIT: ten seconds for that,
# then re-queue what is unacknowledged.
worker_soft_shutdown_timeout = 10.0
worker_enable_soft_shutdown_on_idle = False

# Nobody listens to Celery's own events; health is the heartbeat in Redis (worker.operations.health).
worker_send_task_events = False
task_send_sent_event = False
# No gossip, no mingle, no heartbeats between workers, and no message that ends one.
worker_consumer = "worker.app.consumer:Consumer"
# Remote control would be a second way in, and costs a pub/sub channel per worker.
worker_enable_remote_control = False

# A process that has grown past this is replaced after its task; KiB.
worker_max_memory_per_child = 300_000
# Logs go through structlog: see worker.app.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# Time zones are Postgres's business; Celery gets no schedule from us but the sweeps.
timezone = "UTC"
enable_utc = True

# The sweeps: look whether anything was missed. Each expires, so none pile up while no worker runs.
beat_schedule = {
    "publish": {"task": "publish.run_due", "schedule": 1.0, "options": {"expires": 2.0}},
    "relay": {"task": "events.relay", "schedule": 1.0, "options": {"expires": 2.0}},
    "reports": {"task": "generation.take", "schedule": 1.0, "options": {"expires": 2.0}},
    "fan_out": {"task": "webhooks.fan_out", "schedule": 1.0, "options": {"expires": 2.0}},
    "deliver": {"task": "webhooks.deliver", "schedule": 1.0, "options": {"expires": 2.0}},
    "prune": {"task": "maintenance.prune", "schedule": 3600.0, "options": {"expires": 600.0}},
    # Time-zone data is updated a few times a year, at short notice.
    "zones": {"task": "maintenance.recompute", "schedule": 3600.0, "options": {"expires": 600.0}},
    "canary": {"task": "maintenance.canary", "schedule": 60.0, "options": {"expires": 20.0}},
}
# Ours sleeps until the next command falls due; kept in memory, with short pauses while the broker
# is away.
beat_scheduler = "worker.app.beat:Scheduler"
# How long beat may sleep: it must notice a broker that comes back within a second.
beat_max_loop_interval = 1.0
