"""Where a call goes, and with whose key: faults of another product that calls the same vendors, which ours has not.

Every case is built from the rows that we ship, for each factory and each type of model that it can be called for.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

import pytest

from core.origins import origin_of
from providers import signers
from providers.llm_types import LLMType
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Operation, UpstreamRequest
from tests.providers.shipped import KEY, Cell, cell, cells, listing, request, rows, target

SERVER = "https://proxy.example:8443"
TYPED = ("", "/v1", "/team/llm", "/team/llm/v1")
C, E, R, V = LLMType.CHAT, LLMType.EMBEDDING, LLMType.RERANK, LLMType.IMAGE2TEXT
A, T = LLMType.SPEECH2TEXT, LLMType.TTS
CELLS = cells()
REMOTE = [one for one in CELLS if rows()[one.factory].base_url]
every_cell = pytest.mark.parametrize("of", CELLS, ids=str)
every_remote_cell = pytest.mark.parametrize("of", REMOTE, ids=str)


def body(built: UpstreamRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(built.body or b"")
    return loaded


def all_requests(of: Cell, base_url: str = "", **entered: str) -> list[UpstreamRequest]:
    """The call of a cell, and the list of the factory's models."""
    to = target(of, base_url, **entered)
    built = [request(of, to)]
    if listing(of):
        built.append(request(of, to, Operation.MODELS))
    return built


def home(of: Cell) -> str:
    """A base URL for a cell: the factory's own, or one that a tenant would enter."""
    return "" if rows()[of.factory].base_url else SERVER


# Base URLs


@every_cell
def test_a_tenants_base_url_is_where_every_call_goes(of: Cell) -> None:
    """Of 34 vendors of chats ten ignored it, rerankers and most embeddings too."""
    for path in TYPED:
        for built in all_requests(of, SERVER + path):
            scheme, _, rest = built.url.partition("://")
            url = f"{scheme.replace('ws', 'http', 1)}://{rest}"
            assert url.startswith(f"{SERVER}{path.removesuffix('/v1')}/"), built.url
            assert built.origin == origin_of(SERVER)


@every_cell
def test_no_part_of_a_path_is_doubled(of: Cell) -> None:
    """An embeddings' address that ended in /embeddings got it once more; speech got its /v1 twice."""
    for path in TYPED:
        for built in all_requests(of, SERVER + path):
            sent = urlsplit(built.url).path.replace("/text-rerank/text-rerank", "/text-rerank")  # so it is in DashScope
            assert not re.search(r"(/[\w.\-]+(?:/[\w.\-]+)?)\1(?:/|$)", sent), built.url


# The path of each call in the formats whose calls have one root.
PATHS = {
    Operation.CHAT: ("/chat/completions", "/messages"),
    Operation.EMBEDDINGS: ("/embeddings", "/embeddings/multimodal", "/multimodalembeddings"),
    Operation.RERANK: ("/rerank", "/ranking"),
    Operation.TRANSCRIPTION: ("/audio/transcriptions", "/listen"),
    Operation.SPEECH: ("/audio/speech",),
    Operation.MODELS: ("/models",),
}
ROOTED = {"openai", "anthropic", "ark", "voyage", "nvidia", "deepgram"}


def root(built: UpstreamRequest, operation: Operation) -> str:
    """What a URL has before the path of its call."""
    url = built.url.partition("?")[0]
    found = [url.removesuffix(path) for path in PATHS[operation] if url.endswith(path)]
    assert found, url
    return min(found, key=len)


def roots(factory: str, base_url: str) -> set[str]:
    found = set()
    for of in (one for one in CELLS if one.factory == factory):
        to = target(of, base_url)
        if of.dialect in ROOTED:
            found.add(root(request(of, to), of.operation))
        if listing(of) in ROOTED:
            found.add(root(request(of, to, Operation.MODELS), Operation.MODELS))
    return found


FACTORIES = sorted({one.factory for one in CELLS if one.dialect in ROOTED})


@pytest.mark.parametrize("factory", FACTORIES)
def test_all_calls_of_a_factory_begin_at_the_same_root(factory: str) -> None:
    """A server's chat needed a base URL with /v1, its embeddings one without."""
    for path in TYPED:
        assert len(roots(factory, SERVER + path)) == 1


@pytest.mark.parametrize("factory", [name for name in FACTORIES if rows()[name].base_url_required])
@pytest.mark.parametrize("path", ["", "/team/llm"])
def test_a_servers_base_url_means_the_same_with_and_without_its_version(factory: str, path: str) -> None:
    version = Quirks.from_data(rows()[factory].quirks).version_path
    assert version
    assert roots(factory, SERVER + path) == roots(factory, SERVER + path + version) == {SERVER + path + version}


@every_remote_cell
def test_a_vendors_server_alone_is_understood(of: Cell) -> None:
    """Who enters https://api.openai.com means what the catalogue means by https://api.openai.com/v1."""
    factory = rows()[of.factory]
    usual = target(of)
    parts = urlsplit(factory.base_url)
    if of.operation not in usual.quirks.base_urls and not usual.quirks.base_url:  # a vendor of several servers
        assert request(of, target(of, f"{parts.scheme}://{parts.netloc}")).url == request(of, usual).url


@pytest.mark.parametrize(
    "of", [one for one in CELLS if one.dialect in ("openai", "anthropic", "cohere", "tei")], ids=str
)
def test_a_pasted_address_of_a_call_is_understood(of: Cell) -> None:
    url = request(of, target(of, f"{SERVER}/v1")).url
    assert request(of, target(of, url.partition("?")[0])).url == url


@pytest.mark.parametrize(
    ("factory", "kind", "base_url", "url"),
    [
        # what urljoin makes of a path
        ("LocalAI", R, "https://h/apps/localai", "https://h/apps/localai/v1/rerank"),
        ("OpenAI-API-Compatible", R, "https://h/apps/x/v1", "https://h/apps/x/v1/rerank"),
        ("Xinference", C, "https://h/apps/x", "https://h/apps/x/v1/chat/completions"),
        # what a helper that appends /v1 makes of those who have none
        ("Azure-OpenAI", V, "https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1/chat/completions"),
        ("Azure-OpenAI", E, "https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1/embeddings"),
        ("Ollama", V, "http://h:11434", "http://h:11434/api/chat"),
        ("Ollama", V, "http://h:11434/v1", "http://h:11434/api/chat"),
        ("Ollama", E, "http://h:11434", "http://h:11434/api/embed"),
        ("Xinference", T, "http://h:9997", "http://h:9997/v1/audio/speech"),
        ("Xinference", T, "http://h:9997/v1", "http://h:9997/v1/audio/speech"),
        ("GPUStack", T, "http://h/v1", "http://h/v1/audio/speech"),
        # what a second http:// makes of an address
        ("HuggingFace", R, "http://h:8080", "http://h:8080/rerank"),
        ("HuggingFace", E, "https://h/tei", "https://h/tei/embed"),
        # what was a whole address, to which the path was appended once more, or which nobody could change
        ("Jiekou.AI", E, "", "https://api.jiekou.ai/openai/v1/embeddings"),
        ("Jina", E, "https://jina.proxy/v1", "https://jina.proxy/v1/embeddings"),
        ("SILICONFLOW", E, "https://sf.proxy/v1", "https://sf.proxy/v1/embeddings"),
        ("NVIDIA", C, "http://nim:8000", "http://nim:8000/v1/chat/completions"),
        ("NVIDIA", R, "http://nim:8000", "http://nim:8000/v1/ranking"),
        ("TogetherAI", C, "https://t.proxy/v1", "https://t.proxy/v1/chat/completions"),
    ],
)
def test_an_address_keeps_its_path_and_gets_the_calls_once(
    factory: str, kind: LLMType, base_url: str, url: str
) -> None:
    of = cell(factory, kind)
    assert request(of, target(of, base_url)).url == url


# Keys


def own_hosts(of: Cell) -> set[str]:
    """The hosts that the row itself names."""
    factory = rows()[of.factory]
    quirks = Quirks.from_data(factory.quirks)
    region = factory.base_url_for({"bedrock_region": "eu-west-1", "google_region": "us-central1"})
    urls = [factory.base_url, region, *quirks.base_urls.values(), *quirks.region_base_urls.values()]
    for model in Quirks.from_data(factory.quirks).families.values():
        urls += [str(url) for url in dict(model.get("base_urls") or {}).values()]
    return {urlsplit(url).hostname or "" for url in urls if url}


@every_remote_cell
def test_a_key_goes_to_its_own_vendor_only(of: Cell) -> None:
    """Mistral's key went to api.openai.com; the rerankers of Novita, Gitee and Jiekou sent theirs to Jina."""
    for built in all_requests(of):
        host = urlsplit(built.url).hostname or ""
        assert host in own_hosts(of) or host.endswith((".amazonaws.com", ".googleapis.com")), host
        assert of.factory == "OpenAI" or host != "api.openai.com"
        assert of.factory == "Jina" or host != "api.jina.ai"


@pytest.mark.parametrize(
    ("factory", "kind", "host"),
    [
        ("Mistral", C, "api.mistral.ai"),
        ("NovitaAI", E, "api.novita.ai"),
        ("NovitaAI", R, "api.novita.ai"),
        ("GiteeAI", R, "ai.gitee.com"),
        ("Jiekou.AI", R, "api.jiekou.ai"),
        ("302.AI", R, "api.302.ai"),
    ],
)
def test_the_vendors_whose_keys_went_astray_get_them_themselves(factory: str, kind: LLMType, host: str) -> None:
    of = cell(factory, kind)
    to = target(of)
    signed = signers.get(to.signer).sign(request(of, to), to.credential)
    assert urlsplit(signed.url).hostname == host
    assert signed.headers["Authorization"] == f"Bearer {KEY}"


SIMPLE = [one for one in CELLS if rows()[one.factory].signer.partition(":")[0] in ("bearer", "header", "none")]


def signed(of: Cell, to: Target) -> UpstreamRequest:
    return signers.get(to.signer).sign(request(of, to), to.credential)


@pytest.mark.parametrize("of", SIMPLE, ids=str)
def test_a_key_is_in_a_header_and_in_no_address(of: Cell) -> None:
    to = target(of, home(of))
    sent = signed(of, to)
    assert KEY not in sent.url
    assert KEY.encode() not in (sent.body or b"")
    unsigned = request(of, to).headers
    assert any(KEY in value for value in sent.headers.values()) or sent.headers == unsigned


@pytest.mark.parametrize("of", [one for one in SIMPLE if rows()[one.factory].keyless], ids=str)
def test_a_server_without_a_key_gets_no_made_up_one(of: Cell) -> None:
    """“x”, “empty” and “lm-studio” were sent as keys."""
    to = target(of, SERVER, key="")
    assert signed(of, to).headers == request(of, to).headers


@pytest.mark.parametrize(
    "of", [one for one in SIMPLE if rows()[one.factory].keyless and rows()[one.factory].signer == "bearer"], ids=str
)
def test_a_local_server_that_has_a_key_gets_it_for_every_call(of: Cell) -> None:
    """Embeddings of Hugging Face's server and Xinference's speech went without."""
    assert signed(of, target(of, SERVER)).headers["Authorization"] == f"Bearer {KEY}"


# What could not be called at all


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        ("302.AI", E),
        ("302.AI", R),
        ("TogetherAI", R),
        ("GPUStack", A),
        ("Mistral", C),
        ("Mistral", V),
        ("Replicate", C),
        ("Google Cloud", C),
        ("BaiduYiyan", C),
        ("Tencent Hunyuan", C),
        ("Tencent Cloud", A),
        ("GiteeAI", V),
        ("302.AI", V),
        ("CometAPI", V),
        ("DeerAPI", V),
        ("Jiekou.AI", V),
        ("Jiekou.AI", R),
        ("GiteeAI", R),
    ],
)
def test_what_was_registered_but_could_not_work_is_called(factory: str, kind: LLMType) -> None:
    of = cell(factory, kind)
    assert request(of, target(of, home(of))).url


def test_lm_studio_is_called_for_what_it_may_learn() -> None:
    """A reranker of it was a NotImplementedError; what it does not know, it says itself."""
    of = Cell("LM-Studio", R, rows()["LM-Studio"].dialect, Operation.RERANK, "model")
    assert request(of, target(of, SERVER)).url == f"{SERVER}/v1/rerank"


CHATS = [one for one in CELLS if one.operation is Operation.CHAT]


@pytest.mark.parametrize("of", [one for one in CHATS if one.dialect != "replicate"], ids=str)
def test_every_chat_but_replicates_streams(of: Cell) -> None:
    """Chats whose vendors' libraries were only overridden for calls without streams went elsewhere, or nowhere."""
    to = target(of, home(of))
    assert request(of, to, stream=True).url


# What the rows say of credentials


@pytest.mark.parametrize("kind", [C, V, E])
def test_the_order_of_providers_is_sent_to_openrouter(kind: LLMType) -> None:
    """The branch that did so was never reached."""
    of = cell("OpenRouter", kind)
    assert "provider" not in body(request(of, target(of)))
    sent = body(request(of, target(of, provider_order="anthropic, google-vertex")))
    assert sent["provider"] == {"order": ["anthropic", "google-vertex"], "allow_fallbacks": False}


def test_a_plain_key_of_openrouter_or_azure_is_a_key() -> None:
    """It had to be a JSON object."""
    for factory, header, value in (("OpenRouter", "Authorization", f"Bearer {KEY}"), ("Azure-OpenAI", "api-key", KEY)):
        of = cell(factory, C)
        assert signed(of, target(of, home(of))).headers[header] == value


def test_no_version_is_sent_to_azure_where_none_was_entered() -> None:
    """A blank one was stored, and so the default never applied."""
    of = cell("Azure-OpenAI", C)
    assert "api-version" not in request(of, target(of, SERVER)).url


@pytest.mark.parametrize(
    ("factory", "kind", "model", "upstream"),
    [
        ("VLLM", C, "qwen___VLLM", "qwen"),
        ("VLLM", R, "bge___VLLM", "bge"),
        ("LocalAI", E, "bert___LocalAI", "bert"),
        ("OpenAI-API-Compatible", E, "m___OpenAI-API", "m"),
        ("ModelScope", C, "Qwen/Qwen3___x", "Qwen/Qwen3"),
        ("XunFei Spark", C, "Spark-Lite", "lite"),
        ("XunFei Spark", C, "Spark-4.0-Ultra", "4.0Ultra"),
        ("XunFei Spark", C, "x1", "x1"),
        ("VolcEngine", C, "a label", "ep-20260101"),
    ],
)
def test_a_models_name_is_the_upstreams(factory: str, kind: LLMType, model: str, upstream: str) -> None:
    """Names of Spark's that were not in a table failed an assertion."""
    of = cell(factory, kind)
    assert body(request(of, target(of, home(of), model=model)))["model"] == upstream


# What becomes of a request


@pytest.mark.parametrize(
    ("factory", "name", "document", "query"),
    [
        ("NVIDIA", "input_type", "passage", "query"),
        ("Voyage AI", "input_type", "document", "query"),
        ("Cohere", "input_type", "search_document", "search_query"),
        ("Jina", "task", "retrieval.passage", "retrieval.query"),
        ("Gemini", "taskType", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
    ],
)
def test_documents_and_queries_are_told_apart(factory: str, name: str, document: str, query: str) -> None:
    """All were queries."""
    models = {"Jina": "jina-embeddings-v3", "Gemini": "gemini-embedding-001", "Voyage AI": "voyage-3.5"}
    of = cell(factory, E)
    to = target(of, model=models.get(factory, ""))
    assert body(request(of, to, input="x"))[name] == document
    assert body(request(of, to, input="x", input_type="document"))[name] == document
    assert body(request(of, to, input="x", input_type="query"))[name] == query


@pytest.mark.parametrize("of", [one for one in CELLS if one.model_type in (E, R)], ids=str)
def test_no_text_is_cut(of: Cell) -> None:
    """Texts were cut at fixed numbers of characters or tokens, to nothing where the catalogue had no number."""
    long = "word " * 20_000
    to = target(of, home(of))
    payload = {"input": [long]} if of.model_type is E else {"query": "q", "documents": [long]}
    assert long.encode() in (request(of, to, **payload).body or b"")


LIMITS = {"max_tokens", "max_completion_tokens", "maxOutputTokens", "maxTokens", "num_predict"}


def limits(value: Any) -> list[Any]:
    """The values of what limits an answer, wherever it stands."""
    if not isinstance(value, dict):
        return []
    found = [inner for name, inner in value.items() if name in LIMITS and inner is not None]
    return found + [limit for inner in value.values() for limit in limits(inner)]


@pytest.mark.parametrize("of", CHATS, ids=str)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_the_answer_is_sent(of: Cell, name: str) -> None:
    """max_tokens was always removed, also from the calls that test a key."""
    payload = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": None, name: 77}
    assert limits(body(request(of, target(of, home(of)), **payload))) == [77]


@pytest.mark.parametrize("factory", ["OpenAI", "302.AI", "CometAPI", "Jiekou.AI"])
def test_gpt_5_loses_only_what_it_refuses(factory: str) -> None:
    """All parameters were cleared."""
    of = cell(factory, C)
    asked = {"temperature": 0.2, "seed": 7, "stop": ["x"], "user": "u", "max_tokens": 9, "reasoning_effort": "low"}
    sent = body(request(of, target(of, model="gpt-5"), **asked))
    assert "temperature" not in sent
    assert {name: sent.get(name) for name in ("seed", "user", "reasoning_effort")} == {
        "seed": 7,
        "user": "u",
        "reasoning_effort": "low",
    }
    assert sent["max_completion_tokens"] == 9


def test_every_type_that_the_catalogue_has_can_be_called_or_says_why() -> None:
    """Pictures of six factories, and models of a type that was misspelt, met an assertion."""
    found = defaultdict(set)
    for one in CELLS:
        found[one.factory].add(one.model_type)
    assert found["Jiekou.AI"] >= {C, E, R, V}
    assert found["GiteeAI"] >= {C, E, R, V, A}
