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
    "throughput": Part(throughput_report.part, "publishes a second, beside others", 18, 300, 300),
    "door": Part(door.part, "HTTP requests a second, beside FastAPI and delay()", 15, 85, 170),
    "open-loop": Part(open_loop.part, "HTTP at fixed rates, to the event", 17, 105, 540),
    "lateness": Part(lateness.part, "timed publications, beside other schedulers", 8, 240, 450),
    "queueing": Part(queueing.part, "a model, and what it predicts", 14, 30, 30),
    "growth": Part(growth.part, "larger backlogs, more videos", 10, 225, 2_700),
    "latency": Part(latency.part, "one request at a time, to its event", 6, 22, 45),
    "punctuality": Part(punctuality.part, "timed commands beside many others", 8, 40, 230),
    "generation": Part(generation.part, "from the end of generation to the event", 5, 13, 20),
    "outage": Part(outage.part, "overdue commands after an outage", 4, 14, 20),
    "notify": Part(notify.part, "what NOTIFY costs the platform", 4, 24, 60),
    "memory": Part(memory.part, "each process after many publishes", 4, 26, 480),
    "distance": Part(distance.part, "engines two milliseconds away (as root)", 7, 28, 28),
}
