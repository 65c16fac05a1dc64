"""The pages of what was used."""

from usage.admin.records import UsageDailyAdmin, UsageRecordAdmin

__all__ = ["UsageDailyAdmin", "UsageRecordAdmin"]
