from django.apps import AppConfig


class RuntimesConfig(AppConfig):
    name = "runtimes"

    def ready(self) -> None:
        from providers import inprocess
        from runtimes import mock

        inprocess.register(mock.HOST, mock.handle)
