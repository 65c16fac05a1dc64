from django.urls import re_path

from core.views import Router
from tenants.api.rest import schema  # noqa: F401  (registers how the callers are described)
from tenants.api.rest.credentials import CredentialViewSet, TenantModelViewSet
from tenants.api.rest.history import AuditEventViewSet, ProbeViewSet
from tenants.api.rest.langfuse import LANGFUSE_METHODS, LangfuseViewSet
from tenants.api.rest.people import MemberViewSet, MeViewSet, TenantViewSet, TokenViewSet
from tenants.api.rest.routes import RouteViewSet

router = Router()
router.register("tenants", TenantViewSet, basename="tenant")
router.register("members", MemberViewSet, basename="member")
router.register("tokens", TokenViewSet, basename="token")
router.register("credentials", CredentialViewSet, basename="credential")
router.register("tenant-models", TenantModelViewSet, basename="tenant-model")
router.register("routes", RouteViewSet, basename="route")
router.register("probes", ProbeViewSet, basename="probe")
router.register("audit-events", AuditEventViewSet, basename="audit-event")
urlpatterns = [
    re_path(r"^me/?$", MeViewSet.as_view({"get": "show"}), name="me"),
    re_path(r"^langfuse/?$", LangfuseViewSet.as_view(LANGFUSE_METHODS), name="langfuse"),
    *router.urls,
]
