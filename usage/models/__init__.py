"""What is metered, and what bounds it; one concept a file."""

from usage.models.budgets import Budget, BudgetAlert, BudgetPeriod
from usage.models.limits import RateLimit
from usage.models.records import UsageDaily, UsageRecord

__all__ = ["Budget", "BudgetAlert", "BudgetPeriod", "RateLimit", "UsageDaily", "UsageRecord"]
