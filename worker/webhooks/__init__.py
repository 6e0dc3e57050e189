"""Webhooks: tell endpoints of events over HTTP, by the Standard Webhooks specification.

`fan_out` makes deliveries from positions, `delivery` sends them, `settling` writes down what came
of it. `retry`, `signing` and `addresses` are the rules, `sending` and `connecting` the HTTP.
`endpoints` registers whom to tell, `trial` sends a test event.
"""
