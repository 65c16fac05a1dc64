from core.views import Router
from jobs.api.views import JobViewSet

router = Router()
router.register("jobs", JobViewSet, basename="job")
urlpatterns = router.urls
