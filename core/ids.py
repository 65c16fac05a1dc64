"""Row ids: 32 hexadecimal characters that sort by the time they were made."""

import secrets
import time

ID_LENGTH = 32


def new_id() -> str:
    """A UUID version 7 (RFC 9562 §5.7) without its dashes."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"
