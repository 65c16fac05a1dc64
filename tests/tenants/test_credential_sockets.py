"""A credential for chats and for speech over a WebSocket at another host of the vendor: XunFei Spark, as shipped."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.core.management import call_command

from core.audit import Actor
from core.secrets import SecretMisdirected
from providers import dialects, signers
from providers.llm_types import LLMType
from providers.models import LLMFactory
from providers.wire import Operation, SocketRequest, UpstreamRequest
from tenants.models import Credential
from tenants.services import credentials
from tests.people import make_tenant, make_user

pytestmark = pytest.mark.django_db
ACTOR = Actor(label="test")
VALUES = {
    "spark_api_password": "canary-password",
    "spark_app_id": "12345678",
    "spark_api_key": "canary-key",
    "spark_api_secret": "canary-secret",
}


@pytest.fixture
def factory() -> LLMFactory:
    call_command("loaddata", str(settings.CATALOG_DIR / "xunfei-spark.json"), verbosity=0)
    return LLMFactory.objects.get(name="XunFei Spark")


def create(factory: LLMFactory, base_url: str = "") -> Credential:
    tenant = make_tenant(owner=make_user())
    return credentials.create(tenant=tenant, factory=factory, base_url=base_url, values=VALUES, actor=ACTOR)


def signed(credential: Credential, kind: LLMType) -> UpstreamRequest:
    target = credentials.target_for(credential, llm_name="Spark-Lite", model_type=kind)
    dialect, operation = dialects.for_type(kind, target.dialect)
    payload = {"input": "Hi"} if operation is Operation.SPEECH else {"messages": [{"role": "user", "content": "Hi"}]}
    return signers.get(target.signer).sign(dialect.build(operation, payload, target), target.credential)


def test_each_key_goes_to_its_own_host_in_its_own_way(factory: LLMFactory) -> None:
    credential = create(factory)
    chat, speech = signed(credential, LLMType.CHAT), signed(credential, LLMType.TTS)
    assert chat.url == "https://spark-api-open.xf-yun.com/v1/chat/completions"
    assert {name.lower(): value for name, value in chat.headers.items()}["authorization"] == "Bearer canary-password"
    assert isinstance(speech, SocketRequest)
    assert speech.url.startswith("wss://tts-api.xfyun.cn/v2/tts?authorization=")
    assert set(parse_qs(urlsplit(speech.url).query)) == {"authorization", "date", "host"}
    for secret in ("canary-password", "canary-secret"):
        assert secret not in speech.url + str(speech.headers) + str(speech.body)


def test_a_tenants_own_address_takes_the_place_of_both(factory: LLMFactory) -> None:
    credential = create(factory, "https://proxy.example/v1")
    assert signed(credential, LLMType.CHAT).url.startswith("https://proxy.example/")
    assert signed(credential, LLMType.TTS).url.startswith("wss://proxy.example/v1/tts?")


def test_a_host_that_staff_change_later_does_not_get_the_saved_key(factory: LLMFactory) -> None:
    credential = create(factory)
    factory.quirks["base_urls"]["speech"] = "https://evil.example/v2"
    factory.save()
    with pytest.raises(SecretMisdirected):
        signed(Credential.objects.select_related("factory").get(pk=credential.pk), LLMType.TTS)
