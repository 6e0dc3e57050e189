"""The rules: pure functions from values to values, without a database or a clock."""
