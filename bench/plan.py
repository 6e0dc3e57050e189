"""The parts of the benchmark in order, with the seconds that each takes on two idle cores."""

from bench import (
    console,
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
    "throughput": Part(throughput_report.part, "publishes a second, beside others", 22, 300, 300),
    "door": Part(door.part, "HTTP requests a second, beside FastAPI and delay()", 16, 105, 210),
    "open-loop": Part(open_loop.part, "HTTP at fixed rates, to the event", 32, 105, 780),
    "lateness": Part(lateness.part, "timed publications, beside other schedulers", 9, 220, 500),
    "queueing": Part(queueing.part, "a model, and what it predicts", 15, 35, 35),
    "growth": Part(growth.part, "larger backlogs, more videos", 13, 335, 3_300),
    "latency": Part(latency.part, "one request at a time, to its event", 12, 22, 45),
    "punctuality": Part(punctuality.part, "timed commands beside many others", 0, 45, 250),
    "generation": Part(generation.part, "from the end of generation to the event", 7, 15, 20),
    "outage": Part(outage.part, "overdue commands after an outage", 4, 16, 25),
    "notify": Part(notify.part, "what NOTIFY costs the platform", 4, 26, 60),
    "memory": Part(memory.part, "each process after many publishes", 7, 36, 600),
    "console": Part(
        console.part, "pages at scale, in Chromium while a backlog drains", 0, 0, 1_500
    ),
    "distance": Part(distance.part, "engines two milliseconds away (as root)", 0, 0, 40),
}
