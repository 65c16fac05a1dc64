"""The catalogue's pages in the admin."""

from providers.admin.factories import LLMFactoryAdmin
from providers.admin.llms import LLMAdmin

__all__ = ["LLMAdmin", "LLMFactoryAdmin"]
