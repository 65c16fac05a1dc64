"""`/llm/services` and `/llm/models` (`urlpatterns`), and what staff do with services below `/api/` (`registry`).

Names of models hold slashes, colons and blanks: what follows is all theirs.
"""

from django.urls import re_path

from core.views import Router
from runtimes.api.registry import RegisteredServiceViewSet
from runtimes.api.views import ModelsOfServiceViewSet, ServedModelViewSet, ServiceViewSet

router = Router()
router.register("services", RegisteredServiceViewSet, basename="service")
registry = router.urls

_SERVICE = r"^services/(?P<name>[^/]+)"

urlpatterns = [
    re_path(r"^services/?$", ServiceViewSet.as_view({"get": "list"}), name="llm-services"),
    re_path(rf"{_SERVICE}/?$", ServiceViewSet.as_view({"get": "show"}), name="llm-service"),
    re_path(rf"{_SERVICE}/ping/?$", ServiceViewSet.as_view({"get": "ping"}), name="llm-service-ping"),
    re_path(
        rf"{_SERVICE}/capabilities/?$",
        ServiceViewSet.as_view({"get": "capabilities"}),
        name="llm-service-capabilities",
    ),
    re_path(rf"{_SERVICE}/models/?$", ModelsOfServiceViewSet.as_view({"get": "list"}), name="llm-service-models"),
    re_path(
        rf"{_SERVICE}/models/(?P<model>[\s\S]+?)/?$",
        ModelsOfServiceViewSet.as_view({"get": "show"}),
        name="llm-service-model",
    ),
    re_path(r"^models/?$", ServedModelViewSet.as_view({"get": "list"}), name="llm-models"),
    re_path(r"^models/(?P<name>[\s\S]+?)/?$", ServedModelViewSet.as_view({"get": "show"}), name="llm-model"),
]
