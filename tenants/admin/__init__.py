"""The pages of tenants and what they own, and of the people who may see them."""

from tenants.admin.audit import AuditEventAdmin
from tenants.admin.credentials import CredentialAdmin
from tenants.admin.people import GroupAdmin, LoginFailureAdmin, UserAdmin
from tenants.admin.probes import ProbeAdmin
from tenants.admin.routes import RouteAdmin
from tenants.admin.tenant_llms import TenantLLMAdmin
from tenants.admin.tenants import TenantAdmin
from tenants.admin.tokens import ApiTokenAdmin

__all__ = [
    "ApiTokenAdmin",
    "AuditEventAdmin",
    "CredentialAdmin",
    "GroupAdmin",
    "LoginFailureAdmin",
    "ProbeAdmin",
    "RouteAdmin",
    "TenantAdmin",
    "TenantLLMAdmin",
    "UserAdmin",
]
