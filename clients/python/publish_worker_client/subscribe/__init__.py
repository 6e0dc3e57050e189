"""Subscribe: a consumer group that gets every event at least once.

Start with subscriber.py; reader.py, gaps.py and retries.py are the core of both subscribers, and
lua/ has the steps on Redis.
"""
