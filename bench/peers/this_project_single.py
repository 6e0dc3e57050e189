"""This project with one Python call for each video: `enqueue()` from one thread."""

from functools import partial

from bench.peers import this_project

WORKERS = this_project.WORKERS
prepare = this_project.prepare
open_sender = partial(this_project.open_sender, per_call=1)
