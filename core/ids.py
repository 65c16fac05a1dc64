"""Row ids: 32 hexadecimal characters that sort by the time they were made."""

import re
import secrets
import time
from datetime import UTC, datetime

ID_LENGTH = 32
_OURS = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")


def new_id() -> str:
    """A UUID version 7 (RFC 9562 §5.7) without its dashes."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


def time_of(text: str) -> datetime | None:
    """When an id was made; None for what is none of ours."""
    try:
        return datetime.fromtimestamp(int(text[:12], 16) / 1000, UTC) if _OURS.fullmatch(text) else None
    except (OverflowError, ValueError):  # beyond the year 9999
        return None
