"""The pages of tenants and what they own, and of the people who may see them."""

from tenants.admin.audit import AuditEventAdmin
from tenants.admin.credentials import CredentialAdmin
from tenants.admin.langfuse import LangfuseProjectAdmin
from tenants.admin.people import GroupAdmin, LoginFailureAdmin, UserAdmin
from tenants.admin.probes import ProbeAdmin
from tenants.admin.routes import RouteAdmin
from tenants.admin.service_audience import ServiceAudienceAdmin
from tenants.admin.tenant_llms import TenantLLMAdmin
from tenants.admin.tenants import TenantAdmin
from tenants.admin.tokens import ApiTokenAdmin

__all__ = [
    "ApiTokenAdmin",
    "AuditEventAdmin",
    "CredentialAdmin",
    "GroupAdmin",
    "LangfuseProjectAdmin",
    "LoginFailureAdmin",
    "ProbeAdmin",
    "RouteAdmin",
    "ServiceAudienceAdmin",
    "TenantAdmin",
    "TenantLLMAdmin",
    "UserAdmin",
]
