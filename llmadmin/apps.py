from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class LLMAdminConfig(AppConfig):
    name = "llmadmin"

    def ready(self) -> None:
        from llmadmin import checks  # noqa: F401


class AdminSiteConfig(AdminConfig):
    default_site = "llmadmin.site.LLMAdminSite"
