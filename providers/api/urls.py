from core.views import Router
from providers.api.views import FactoryViewSet, ModelViewSet

router = Router()
router.register("factories", FactoryViewSet, basename="factory")
router.register("models", ModelViewSet, basename="model")
urlpatterns = router.urls
