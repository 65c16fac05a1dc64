from core.views import Router
from usage.api.bounds import BudgetViewSet, RateLimitViewSet
from usage.api.reports import UsageRecordViewSet, UsageSummaryViewSet

router = Router()
router.register("rate-limits", RateLimitViewSet, basename="rate-limit")
router.register("budgets", BudgetViewSet, basename="budget")
router.register("usage/records", UsageRecordViewSet, basename="usage-record")
router.register("usage/summary", UsageSummaryViewSet, basename="usage-summary")
urlpatterns = router.urls
