"""The one way to ask for the time."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, as the classic wire writes `create_time`."""
    return int(moment.timestamp() * 1000)
