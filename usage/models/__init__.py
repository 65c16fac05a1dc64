"""What is metered, and what bounds it; one concept a file."""

from usage.models.records import UsageDaily, UsageRecord

__all__ = ["UsageDaily", "UsageRecord"]
