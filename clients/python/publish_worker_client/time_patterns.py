"""Times as text: the regular expressions of RFC 3339 dates, and of wall-clock times."""

FIRST_YEAR, LAST_YEAR = 1900, 9000

_YEAR = "(?:19[0-9]{2}|[2-8][0-9]{3}|9000)"
_LEAP_YEAR = "(?:(?:19|[2-8][0-9])(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[357][26])00)"
_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
DATE = f"(?:{_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29)"
MINUTE = f"{DATE}[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]"
SECOND = ":[0-5][0-9](?:[.][0-9]+)?"
LOCAL = f"^{MINUTE}(?:{SECOND})?$"
"""A wall-clock time without an offset."""
