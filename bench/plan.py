"""The parts of the benchmark in order, with the seconds that each takes on two idle cores."""

from bench import (
    distance,
    door,
    generation,
    growth,
    latency,
    lateness,
    memory,
    notify,
    open_loop,
    outage,
    punctuality,
    queueing,
    throughput_report,
)
from bench.part import Part

PARTS = {
    "throughput": Part(
        throughput_report.part,
        "publishes a second, beside other queues",
        quick=20,
        whole=330,
        long=330,
    ),
    "door": Part(door.part, "HTTP requests a second, beside FastAPI and delay()", 12, 110, 200),
    "open-loop": Part(open_loop.part, "HTTP at fixed rates, to the event", 15, 120, 540),
    "lateness": Part(lateness.part, "timed publications, beside other schedulers", 15, 230, 450),
    "queueing": Part(queueing.part, "a model, and what it predicts", 10, 25, 25),
    "growth": Part(growth.part, "larger backlogs, more videos", 12, 180, 1500),
    "latency": Part(latency.part, "one request at a time, to its event", 6, 25, 45),
    "punctuality": Part(punctuality.part, "timed commands beside many others", 10, 50, 260),
    "generation": Part(generation.part, "from the end of generation to the event", 5, 15, 20),
    "outage": Part(outage.part, "overdue commands after an outage", 5, 18, 25),
    "notify": Part(notify.part, "what NOTIFY costs the platform", 6, 30, 60),
    "memory": Part(memory.part, "each process after many publishes", 6, 40, 600),
    "distance": Part(distance.part, "engines two milliseconds away (as root)", 10, 30, 30),
}
