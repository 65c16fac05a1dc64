"""The pages of what was used, and of what bounds it."""

from usage.admin.bounds import BudgetAdmin, RateLimitAdmin
from usage.admin.records import UsageDailyAdmin, UsageRecordAdmin

__all__ = ["BudgetAdmin", "RateLimitAdmin", "UsageDailyAdmin", "UsageRecordAdmin"]
