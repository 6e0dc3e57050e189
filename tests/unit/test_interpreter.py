"""The interpreter's settings: what is loaded is left alone, and what was set before comes back."""

import gc
import sys

from worker.runtime.interpreter import tuned_for_loop


def test_what_is_loaded_is_not_looked_at_again_while_the_loop_runs() -> None:
    before = gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()
    with tuned_for_loop():
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() > before[0]
        assert sys.getswitchinterval() < before[1]
    assert (gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()) == before
