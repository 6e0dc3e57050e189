"""The console: pages for the people who run this, rendered here and served with the API.

A page is a whole document at its own address. htmx fetches it again when something has changed,
and replaces the part that it names. No script or style comes from another host.
"""
