"""What a tenant owns, one concept a file."""

from tenants.models.audit import AuditEvent
from tenants.models.credential import Credential, CredentialState, TenantLLM
from tenants.models.langfuse import LangfuseProject
from tenants.models.listing import ModelListing
from tenants.models.probe import Probe
from tenants.models.routes import OnError, Route, RouteTarget, Strategy
from tenants.models.routing import RoutingChange
from tenants.models.tenant import DEFAULT_MODEL_COLUMNS, MANAGERS, Membership, Role, Tenant
from tenants.models.token import SCOPES, ApiToken

__all__ = [
    "DEFAULT_MODEL_COLUMNS",
    "MANAGERS",
    "SCOPES",
    "ApiToken",
    "AuditEvent",
    "Credential",
    "CredentialState",
    "LangfuseProject",
    "Membership",
    "ModelListing",
    "OnError",
    "Probe",
    "Role",
    "Route",
    "RouteTarget",
    "RoutingChange",
    "Strategy",
    "Tenant",
    "TenantLLM",
]
