"""What is reachable and watched: services, the models they have, and when they came and went."""

from runtimes.models.defaults import CallDefaults
from runtimes.models.events import ServiceEvent
from runtimes.models.service import Audience, Health, LLMService, ServiceTenant
from runtimes.models.service_model import ModelState, ModelType, ServiceModel

__all__ = [
    "Audience",
    "CallDefaults",
    "Health",
    "LLMService",
    "ModelState",
    "ModelType",
    "ServiceEvent",
    "ServiceModel",
    "ServiceTenant",
]
