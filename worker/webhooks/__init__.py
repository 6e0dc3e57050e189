"""Webhooks: send events to registered endpoints over HTTP, as Standard Webhooks specifies.

`fan_out` makes a delivery of each event for each endpoint. `courier` claims deliveries, `attempt`
sends one over `connections`, and `results` writes what happened. `retry_policy`, `signing`, `urls`
and `addresses` are the rules, and `look_ups` finds the addresses of names. `endpoints` registers
receivers, `deliveries` lists and replays what was sent to them, and `test_event` sends a test.
"""
