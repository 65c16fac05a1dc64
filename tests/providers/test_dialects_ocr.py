"""Documents that are read: every OCR dialect against its documentation, and over real sockets."""

from __future__ import annotations

import base64
import json
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.origins import origin_of
from core.secrets import OpenSecret
from providers import signers
from providers.calls import call
from providers.dialects import for_type, get
from providers.errors import AuthenticationFailed, BadReply, BadRequest, Unsupported, UpstreamError, WrongURL
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload, tiny_png
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Document, Operation, UpstreamRequest
from tests.fakes.upstream import KEY, FakeUpstream
from tests.providers import exchanges
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import JSON, factory_of, golden

OCR = Operation.OCR
JSON_NAMES, FORM_NAMES = ["mistral_ocr", "paddleocr"], ["mineru", "somark", "opendataloader"]
NAMES = [*JSON_NAMES, *FORM_NAMES]
PATHS = {
    "mistral-ocr": "/ocr",
    "paddleocr": "/layout-parsing",
    "mineru": "/file_parse",
    "somark": "/parse/sync",
    "opendataloader": "/file_parse",
}
WIRES = [(name, case) for name in JSON_NAMES for case in ("ocr", "picture")]
PICTURE, PDF = {"file": tiny_png()}, {"file": b"%PDF-1.7\n"}


def case_of(dialect: str, name: str) -> dict[str, Any]:
    case = golden(dialect, name)
    case["payload"] = {"file": base64.b64decode(case["file_base64"]), **case["payload"]}
    return case


def form_of(request: UpstreamRequest) -> tuple[list[list[Any]], Any]:
    """The fields and the file of a multipart request."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    *fields, file = list(BytesParser(policy=HTTP).parsebytes(head + (request.body or b"")).iter_parts())
    named = [[part.get_param("name", header="content-disposition"), part.get_content().strip()] for part in fields]
    return named, file


def settings_at(url: str, **members: str) -> CredentialFields:
    return CredentialFields({}, OpenSecret(json.dumps(members), origin_of(url)))


@pytest.mark.parametrize(("dialect", "name"), WIRES)
def test_a_request_is_built_as_documented(dialect: str, name: str) -> None:
    exchanges.check_request(get(dialect), OCR, case_of(dialect, name))


@pytest.mark.parametrize("name", FORM_NAMES)
def test_those_that_take_uploads_are_sent_a_form(name: str) -> None:
    case = case_of(name, "ocr")
    request = get(name).build(OCR, case["payload"], exchanges.target(case))
    assert (request.method, request.url) == (case["request"]["method"], case["request"]["url"])
    fields, file = form_of(request)
    assert fields == case["fields"]
    assert file.get_param("name", header="content-disposition") == case["file_field"]
    assert (file.get_filename(), file.get_content_type()) == (case["payload"]["filename"], "application/pdf")
    assert file.get_content() == case["payload"]["file"]


@pytest.mark.parametrize(("dialect", "name"), [*WIRES, *((name, "ocr") for name in FORM_NAMES)])
def test_an_answer_is_the_markdown_of_each_page(dialect: str, name: str) -> None:
    case = case_of(dialect, name)
    reply: Document = exchanges.parsed(get(dialect), OCR, case)
    assert reply == Document(case["parsed"], case["usage"], case["answered_by"])
    assert (list(reply), len(reply)) == (case["parsed"], len(case["parsed"]))
    assert reply.text == "\n\n".join(page for page in case["parsed"] if page)
    check_reply("ocr", reply)


@pytest.mark.parametrize(
    ("dialect", "case"),
    [(name, case) for name in NAMES for case in golden(name, "errors")["cases"]],
    ids=lambda value: value if isinstance(value, str) else str(value["status"]),
)
def test_an_error_is_a_member_of_the_tree(dialect: str, case: dict[str, Any]) -> None:
    exchanges.check_error(get(dialect), OCR, case)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({}, BadRequest),
        ({"file": b""}, BadRequest),
        ({"file": "text"}, BadRequest),
        ({"file": b"MZ"}, BadRequest),
        ({"file": b"x", "media_type": "text/html"}, BadRequest),
        ({"file": b"x", "media_type": 5}, BadRequest),
        ({"file": tiny_png(), "filename": 5}, BadRequest),
        ({**PDF, "output_dir": "/etc"}, Unsupported),
    ],
)
def test_what_cannot_be_sent_is_told(name: str, payload: dict[str, Any], kind: type[UpstreamError]) -> None:
    with pytest.raises(kind) as caught:
        get(name).build(OCR, payload, Target("F", "m", "http://h"))
    assert caught.value.step == "build"


@pytest.mark.parametrize("name", NAMES)
def test_what_they_cannot_do_is_unsupported(name: str) -> None:
    for attempt in (
        lambda: get(name).build(Operation.CHAT, {}, Target("F", "m", "http://h")),
        lambda: get(name).parse(Operation.CHAT, 200, JSON, b"{}"),
        lambda: get(name).decoder(OCR),
    ):
        with pytest.raises(Unsupported):
            attempt()


@pytest.mark.parametrize("end", ["", "/", "/layout-parsing", "/layout-parsing/"])
def test_a_pasted_address_of_the_call_leads_to_the_same_place(end: str) -> None:
    assert get("paddleocr").build(OCR, PICTURE, Target("F", "m", f"http://gpu:80{end}")).url == (
        "http://gpu:80/layout-parsing"
    )


def test_mineru_runs_the_backend_of_the_credential_and_only_a_client_is_told_of_a_server() -> None:
    def sent(**members: str) -> list[list[Any]]:
        to = Target("F", "m", "http://gpu:8000", credential=settings_at("http://gpu:8000", **members))
        return form_of(get("mineru").build(OCR, PICTURE, to))[0][1:]

    server = {"mineru_server_url": "http://vlm:30000"}
    assert sent(mineru_backend="pipeline", mineru_output_dir="/x", **server) == [["backend", "pipeline"]]
    assert sent(mineru_backend="vlm-http-client", **server) == [
        ["backend", "vlm-http-client"],
        ["server_url", "http://vlm:30000"],
    ]
    assert sent(**server) == sent() == []


def test_a_request_cannot_send_mineru_to_another_server() -> None:
    asked = {**PICTURE, "backend": "vlm-http-client", "server_url": "http://169.254.169.254"}
    with pytest.raises(Unsupported, match="server_url"):
        get("mineru").build(OCR, asked, Target("F", "m", "http://gpu:8000"))


@pytest.mark.parametrize("secret", ["plain", "[1]", '{"mineru_backend": 5}', "{" * 5000])
def test_a_secret_that_is_no_object_of_texts_is_no_settings(secret: str) -> None:
    credential = CredentialFields({}, OpenSecret(secret, origin_of("http://gpu")))
    fields, _ = form_of(get("mineru").build(OCR, PICTURE, Target("F", "m", "http://gpu", credential=credential)))
    assert fields == [["return_md", "true"]]


def test_settings_for_another_server_are_not_opened() -> None:
    to = Target("F", "m", "http://gpu", credential=settings_at("http://other", mineru_backend="pipeline"))
    with pytest.raises(WrongURL):
        get("mineru").build(OCR, PICTURE, to)


def test_a_token_is_taken_out_of_the_settings_and_they_are_never_sent_as_a_whole() -> None:
    signer = signers.get("header:authorization:token:paddleocr_access_token")
    request = UpstreamRequest("POST", "http://gpu/layout-parsing")
    signed = signer.sign(request, settings_at("http://gpu", paddleocr_access_token="t-1", paddleocr_api_url="u"))
    assert signed.headers == {"authorization": "token t-1"}
    for credential in (settings_at("http://gpu", paddleocr_api_url="u"), CredentialFields()):
        assert signer.sign(request, credential) == request
    assert signer.sign(request, settings_at("http://gpu", paddleocr_access_token="")) == request
    plain = CredentialFields({}, OpenSecret("t-2", origin_of("http://gpu")))
    assert signer.sign(request, plain).headers == {"authorization": "token t-2"}
    with pytest.raises(Unsupported):
        signers.get("header:authorization:token:a b")


@pytest.mark.parametrize(
    ("name", "payload", "kind"),
    [
        ("somark", {"feature_config": "none"}, BadRequest),
        ("somark", {"element_formats": ["url"]}, BadRequest),
        ("mineru", {"backend": ["a"]}, BadRequest),
        ("opendataloader", {"hybrid": {"a": 1}}, BadRequest),
        ("opendataloader", PICTURE, Unsupported),
    ],
)
def test_a_form_takes_only_what_the_server_understands(
    name: str, payload: dict[str, Any], kind: type[UpstreamError]
) -> None:
    with pytest.raises(kind) as caught:
        get(name).build(OCR, {**PDF, **payload}, Target("F", "m", "http://h"))
    assert caught.value.step == "build"


def test_a_document_in_which_nothing_was_found_is_an_empty_page() -> None:
    reply = get("opendataloader").parse(OCR, 200, JSON, b'{"json_doc": {"kids": []}, "md_text": null}')
    assert reply == Document([""])


OTHER_SHAPES: dict[str, list[Any]] = {
    "mistral_ocr": [[], {}, {"pages": {}}, {"pages": [{"index": 0}]}, {"pages": [5]}],
    "paddleocr": [
        *([], {}, {"result": []}, {"result": {"layoutParsingResults": [{}]}}),
        {"result": {"layoutParsingResults": [{"markdown": {"text": None}}]}},
    ],
    "mineru": [
        *([], {}, {"results": {}}, {"results": {"a": {}}}, {"results": {"a": 5}}),
        {"results": {"a": {"md_content": None}}},
    ],
    "somark": [
        *([], {}, {"code": 0}, {"code": 0, "data": []}, {"code": 0, "data": {"result": {"outputs": {}}}}),
        {"code": 0, "data": {"result": {"outputs": {"markdown": 5}}}},
    ],
    "opendataloader": [[], {}, {"json_doc": {}}, {"md_text": 5}, {"md_text": ["x"]}],
}


@pytest.mark.parametrize(("dialect", "data"), [(name, data) for name in NAMES for data in OTHER_SHAPES[name]])
def test_a_reply_of_another_shape_is_a_bad_reply(dialect: str, data: Any) -> None:
    with pytest.raises(BadReply) as caught:
        get(dialect).parse(OCR, 200, JSON, json.dumps(data).encode())
    assert caught.value.step == "parse"


KEYS = [
    *("pages", "markdown", "error", "errorCode", "result", "layoutParsingResults", "text", "results", "md_content"),
    *("code", "data", "outputs", "md_text"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "usage_info"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from(NAMES), st.sampled_from([200, 400, 401, 404, 422, 429, 500]))
def test_no_answer_makes_them_raise_anything_but_upstream_errors(data: Any, name: str, status: int) -> None:
    try:
        reply = get(name).parse(OCR, status, JSON, json.dumps(data).encode())
    except UpstreamError as error:
        assert error.step
    else:
        assert isinstance(reply, Document)
        assert all(isinstance(page, str) for page in reply)


@given(
    st.dictionaries(
        st.sampled_from(["file", "filename", "media_type", "pages", "backend", "topP", "hybrid"]), json_values
    )
)
def test_no_payload_makes_them_raise_anything_but_upstream_errors(payload: dict[str, Any]) -> None:
    for name in NAMES:
        for asked in (payload, {**PDF, **payload}):
            try:
                get(name).build(OCR, asked, Target("F", "m", "http://h"))
            except UpstreamError as error:
                assert error.step == "build"


# Over sockets


@pytest.mark.parametrize("row", sorted(PATHS))
def test_a_probe_of_the_catalogues_row_says_ok(row: str) -> None:
    factory = factory_of(row)
    quirks = Quirks.from_data(factory.get("quirks"))
    dialect, operation = for_type(LLMType.OCR, factory["dialect"])
    answer = golden(dialect.name, "ocr")["reply"]["json"]
    with FakeUpstream(key=None) as server:
        base = server.url if row == "mistral-ocr" else server.root
        named = [member["name"] for member in factory["credential_fields"][0].get("fields", ())]
        key = json.dumps({name: KEY if "token" in name or "key" in name else "" for name in named}) if named else KEY
        credential = CredentialFields({}, OpenSecret(key, origin_of(base)))
        to = Target(row, "m", base, dialect.name, factory["signer"], quirks, credential)
        server.status(PATHS[row], 200, answer)
        check_reply(LLMType.OCR, call(to, operation, probe_payload(LLMType.OCR, quirks), policy=POLICY))
        signed = {"paddleocr": f"token {KEY}", "mineru": None, "somark": None}.get(row, f"Bearer {KEY}")
        assert server.requests[-1].headers.get("authorization") == signed
        assert (KEY.encode() in server.requests[-1].body) == (row == "somark")
        server.status(PATHS[row], 401, {"message": f"Invalid key {KEY}"})
        with pytest.raises(AuthenticationFailed) as caught:
            call(to, operation, probe_payload(LLMType.OCR, quirks), policy=POLICY)
        assert KEY not in str(caught.value)


def test_mistrals_models_are_listed_for_nothing() -> None:
    with FakeUpstream(models=["mistral-ocr-latest"]) as server:
        credential = CredentialFields({}, OpenSecret(KEY, origin_of(server.url)))
        to = Target("F", "", server.url, "mistral_ocr", "bearer", credential=credential)
        models = call(to, Operation.MODELS, {}, policy=POLICY)
        assert isinstance(models, list)
        assert [model.id for model in models] == ["mistral-ocr-latest"]
