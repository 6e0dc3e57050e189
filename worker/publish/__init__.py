"""Carry commands out: run what is due, and plan what a publish would do."""
