"""What crosses a boundary: requests, resources, events. The leaf: imports nothing of ours."""
