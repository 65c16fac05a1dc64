from core.views import Router
from usage.api.reports import UsageRecordViewSet, UsageSummaryViewSet

router = Router()
router.register("usage/records", UsageRecordViewSet, basename="usage-record")
router.register("usage/summary", UsageSummaryViewSet, basename="usage-summary")
urlpatterns = router.urls
