"""Enqueue: accept commands into the inbox, and change them until they are carried out."""

from worker.enqueue.accept import Accepted, Origin, enqueue

__all__ = ["Accepted", "Origin", "enqueue"]
