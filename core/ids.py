"""Row ids: 32 hexadecimal characters that sort by the time they were made."""

import os
import re
import time
from datetime import UTC, datetime

ID_LENGTH = 32
_OURS = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")


def new_id() -> str:
    """A UUID version 7 (RFC 9562 §5.7) without its dashes."""
    random = os.urandom(10).hex()
    variant = "89ab"[int(random[4], 16) & 3]
    return f"{time.time_ns() // 1_000_000:012x}7{random[1:4]}{variant}{random[5:]}"


def time_of(text: str) -> datetime | None:
    """When an id was made; None for what is none of ours."""
    try:
        return datetime.fromtimestamp(int(text[:12], 16) / 1000, UTC) if _OURS.fullmatch(text) else None
    except (OverflowError, ValueError):  # beyond the year 9999
        return None
