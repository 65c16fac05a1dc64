"""The admin of services: what runs, what it has, and the orders given to it."""

from runtimes.admin.service_models import ServiceEventAdmin, ServiceModelAdmin
from runtimes.admin.services import LLMServiceAdmin

__all__ = ["LLMServiceAdmin", "ServiceEventAdmin", "ServiceModelAdmin"]
