"""Celery's settings, each with its reason; nothing else.

Read by `worker.app` in a worker and in beat. Postgres is the source of truth and Celery carries
wake-ups (docs/adr/0001): most choices below follow from that. What a producer needs too is in
`worker.runtime.producer`.
"""

from worker.runtime import producer
from worker.runtime.wake_ups import WAKE_UPS

# Our tasks; named, so that a worker loads them and a producer need not.
imports = ("worker.app.tasks",)

# JSON only: a message is data, and unpickling one would be running it.
task_serializer = producer.SERIALIZER
result_serializer = producer.SERIALIZER
event_serializer = producer.SERIALIZER
accept_content = [producer.SERIALIZER]

# Results are not used: outcomes are rows and events.
task_ignore_result = True
result_backend = None

# One queue of our own name, so that other Celery apps on the broker stay out of it.
task_default_queue = producer.QUEUE
# Only declared queues receive messages, and only declared tasks run.
task_create_missing_queues = False
task_queues = producer.QUEUES
task_routes = producer.ROUTES

# Where the broker is, and how to connect to it: `producer.BrokerApp`.
# A worker waits for its broker for ever, at the start and after every loss.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# The same for a broker that answers with an error: read-only, out of memory, a refused login.
broker_channel_error_retry = True
# Running tasks continue when the broker is lost: they are transactions in Postgres.
worker_cancel_long_running_tasks_on_connection_loss = False

# A wake-up that cannot be sent now is not worth a wait: one more try, then the sweep.
task_publish_retry = True
task_publish_retry_policy = producer.RETRY_POLICY

# Acknowledge as they arrive: a lost wake-up costs a second, a repeated one nothing.
task_acks_late = False
# A worker has two messages for each process: while a wake-up waits for a busy process, the messages
# after it are still read.
worker_prefetch_multiplier = 2
# The messages of `publish.enqueue` that wait for the next batch come on top, and are counted
# (worker/app/collecting.py): Celery's own count after a lost connection would overwrite that.
worker_enable_prefetch_count_reduction = False

# A killed pool process is replaced at once.
worker_pool = "worker.app.pool:TaskPool"
# A run takes five seconds and `publish.enqueue` at most about a minute: what takes longer hangs.
# Its process is replaced, and its messages of `publish.enqueue` go back to the queue.
task_time_limit = 120.0

# SIGTERM: finish the running tasks (a run takes at most its five seconds). SIGQUIT: ten seconds for
# that, then unacknowledged messages return to the queue.
worker_soft_shutdown_timeout = 10.0
worker_enable_soft_shutdown_on_idle = False

# Celery's own events have no consumer; health is the heartbeat in Redis, and each process's row in
# publisher.process. So Flower shows nothing: `publish-worker status` does (docs/monitoring.md).
worker_send_task_events = False
task_send_sent_event = False
# No gossip, no mingle, no heartbeats between workers, and no message that ends one.
worker_consumer = "worker.app.consumer:Consumer"
# Remote control would be a second way in, and costs a pub/sub channel per worker.
worker_enable_remote_control = False

# A process that has grown past this is replaced after its task; KiB.
worker_max_memory_per_child = 300_000
# Logs go through structlog: see worker.app.signals.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# Time zones are Postgres's business; Celery gets no schedule from us but the sweeps.
timezone = "UTC"
enable_utc = True

# The sweeps: look whether anything was missed. Beat sends none while one like it waits.
beat_schedule = {wake_up.task: wake_up.to_sweep() for wake_up in WAKE_UPS}
# Ours sleeps until the next command is due. It is kept in memory, and pauses briefly while the
# broker is unreachable.
beat_scheduler = "worker.app.beat:Scheduler"
# How long beat may sleep: it must notice a broker that comes back within a second.
beat_max_loop_interval = 1.0
