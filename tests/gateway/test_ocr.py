"""Documents read through the gateway, in the shape of Mistral's API: https://docs.mistral.ai/api/endpoint/ocr"""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from providers.models import LLM
from providers.probe_payloads import tiny_png
from tenants.services import tenant_llms
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import ACTOR, Office, Reply
from usage.records import CallRecord, Outcome

pytestmark = pytest.mark.once

PATH = "/v1/ocr"
PDF = b"%PDF-1.7\n\xff\xfe a page"
IN_BASE64 = base64.b64encode(PDF).decode()
DOCUMENT = {
    "type": "document_url",
    "document_url": f"data:application/pdf;base64,{IN_BASE64}",
    "document_name": "a.pdf",
}
PICTURE = {"type": "image_url", "image_url": f"data:image/png;base64,{base64.b64encode(tiny_png()).decode()}"}
ADDRESS = {"type": "document_url", "document_url": "https://example.org/a.pdf"}
ANSWER = b"""{ "pages": [{"index":0, "markdown":"# One", "images":[{"id":"i","image_base64":"eA=="}], "zeta": 1.50},
 {"index":1,"markdown":"Two","images":[],"dimensions":{"dpi":200,"height":1,"width":1}}], "model":"m-ocr",
 "usage_info":{"pages_processed":2,"doc_size_bytes":12} }"""


def reads(office: Office, dialect: str, *, price: Any = "0.002") -> None:
    """The office has a model that reads documents, in this wire format; a page costs this much."""
    detail = {} if price is None else {"ocr_cost_per_page": price}
    row = LLM.objects.create(
        factory=office.factory,
        llm_name="fake-ocr",
        model_types=["ocr"],
        quirks={"dialects": {"ocr": dialect}},
        price_detail=detail,
        price_source="operator" if detail else "",
    )
    tenant_llms.add(credential=office.credential, llm_name=row.llm_name, model_types=["ocr"], actor=ACTOR)


def read(office: Office, document: Any = DOCUMENT, **more: Any) -> Reply:
    return office.ask(PATH, {"model": "fake-ocr", "document": document, **more})


def only(office: Office) -> CallRecord:
    (record,) = office.records()
    return record


@pytest.mark.parametrize("document", [DOCUMENT, PICTURE, ADDRESS, {**PICTURE, "image_url": {"url": "https://x/y.png"}}])
def test_mistrals_own_request_and_answer_pass_as_they_are(
    office: Office, upstream: FakeUpstream, document: dict[str, Any]
) -> None:
    reads(office, "mistral_ocr")
    upstream.raw("/ocr", ANSWER, content_type="application/json")
    asked = {"id": "x", "document": document, "pages": [0, 3], "include_image_base64": True, "new": {"b": 1, "a": 2}}
    reply = office.ask(PATH, {"zeta": 1, "model": "fake-ocr@Fake", **asked})
    assert (reply.status, reply.body) == (200, ANSWER)
    sent = upstream.requests[-1].json
    assert sent == {"zeta": 1, "model": "fake-ocr", **asked}
    assert list(sent) == ["zeta", "model", *asked]
    assert reply.headers["x-llmadmin-cost-usd"] == "0.0040000000"
    record = only(office)
    assert (record.operation, record.outcome, record.stream) == ("ocr", Outcome.COMPLETE, False)
    assert (record.usage.pages, record.usage.estimated, record.cost) == (2, False, Decimal("0.004"))


def test_another_format_reads_what_was_sent_and_answers_in_mistrals_shape(
    office: Office, upstream: FakeUpstream
) -> None:
    reads(office, "paddleocr")
    found = [{"markdown": {"text": text}} for text in ("# One", "Two")]
    upstream.status("/layout-parsing", 200, {"errorCode": 0, "result": {"layoutParsingResults": found}})
    reply = read(office, include_image_base64=False)
    assert reply.status == 200, reply.body
    assert base64.b64decode(upstream.requests[-1].json["file"]) == PDF
    assert reply.data == {
        "pages": [
            {"index": 0, "markdown": "# One", "images": [], "dimensions": None},
            {"index": 1, "markdown": "Two", "images": [], "dimensions": None},
        ],
        "model": "fake-ocr",
        "document_annotation": None,
        "usage_info": {"pages_processed": 2, "doc_size_bytes": None},
    }
    record = only(office)
    assert (record.usage.pages, record.usage.estimated, record.cost) == (2, True, Decimal("0.004"))


def test_a_file_reaches_an_upload_with_its_name(office: Office, upstream: FakeUpstream) -> None:
    reads(office, "mineru", price=None)
    upstream.status("/file_parse", 200, {"results": {"a": {"md_content": "# One"}}, "backend": "pipeline"})
    reply = read(office)
    assert reply.data["pages"][0]["markdown"] == "# One"
    assert PDF in upstream.requests[-1].body
    assert b'filename="a.pdf"' in upstream.requests[-1].body
    assert only(office).cost is None


def test_base64_of_either_alphabet_is_read(office: Office, upstream: FakeUpstream) -> None:
    reads(office, "paddleocr")
    upstream.status("/layout-parsing", 200, {"result": {"layoutParsingResults": [{"markdown": {"text": ""}}]}})
    odd = b"%PDF-" + bytes(range(256))
    for text in (base64.b64encode(odd), base64.urlsafe_b64encode(odd)):
        document = {"type": "document_url", "document_url": f"data:application/pdf;base64,{text.decode()}"}
        assert read(office, document).status == 200
        assert base64.b64decode(upstream.requests[-1].json["file"]) == odd


WRONG: list[Any] = [
    None, "a.pdf", [], 7, {}, {"type": "file", "file_id": "f"}, {"type": "document_url"},
    {"type": "document_url", "document_url": 7}, {"type": "image_url", "image_url": {"url": None}},
    {"type": ["document_url"], "document_url": "https://x"}, {"type": "image_url", "document_url": "https://x"},
    {**DOCUMENT, "document_name": 7}, {"type": "document_url", "document_url": ""},
]  # fmt: skip


@pytest.mark.parametrize("dialect", ["mistral_ocr", "paddleocr"])
@pytest.mark.parametrize("document", WRONG, ids=str)
def test_what_is_no_document_is_refused(office: Office, upstream: FakeUpstream, dialect: str, document: Any) -> None:
    reads(office, dialect)
    reply = read(office, document)
    assert (reply.status, reply.error["code"] in ("invalid_request", "bad_request")) == (400, True)
    assert upstream.total_calls == 0


@pytest.mark.parametrize(
    ("document", "more", "says"),
    [
        (ADDRESS, {}, "data URL"),
        ({**DOCUMENT, "document_url": "data:application/pdf;base64,####"}, {}, "malformed"),
        ({**DOCUMENT, "document_url": "data:application/pdf;base64,AAAAA"}, {}, "Base64"),
        ({**DOCUMENT, "document_url": "data:text/plain;base64,AAAA"}, {}, "PDF or a picture"),
        (DOCUMENT, {"pages": [1]}, "pages"),
        (DOCUMENT, {"stream": True}, "stream"),
    ],
)
def test_what_another_format_cannot_do_is_said(
    office: Office, upstream: FakeUpstream, document: Any, more: dict[str, Any], says: str
) -> None:
    reads(office, "paddleocr")
    reply = read(office, document, **more)
    assert reply.status == 400
    assert says in reply.error["message"]
    assert upstream.total_calls == 0


def test_a_chat_model_reads_no_documents(office: Office, upstream: FakeUpstream) -> None:
    reply = office.ask(PATH, {"model": "fake-chat", "document": DOCUMENT})
    assert (reply.status, reply.error["code"]) == (400, "wrong_model_type")
    assert office.ask(PATH, {"document": DOCUMENT}).error["param"] == "model"


def test_a_failure_is_told_and_booked(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.LLM_MAX_RETRIES = 1
    reads(office, "mistral_ocr")
    upstream.status("/ocr", 500, {"message": "Oops"})
    reply = read(office)
    assert (reply.status, reply.error["code"]) == (502, "server_failed")
    upstream.raw("/ocr", b'{"pages": [', content_type="application/json")
    assert read(office).error["code"] == "bad_reply"
    assert [record.outcome for record in office.records()] == [Outcome.ERROR] * 2
    assert [len(record.attempts) for record in office.records()] == [2, 1]
    assert all(record.usage.pages is None and record.cost is None for record in office.records())


def test_answers_are_what_mistrals_client_reads(office: Office, upstream: FakeUpstream) -> None:
    """Its types require these names: https://github.com/mistralai/client-python, OCRResponse and OCRPageObject."""
    reads(office, "paddleocr")
    upstream.status("/layout-parsing", 200, {"result": {"layoutParsingResults": [{"markdown": {"text": "x"}}]}})
    data = json.loads(read(office).body)
    assert {"pages", "model", "usage_info"} <= set(data)
    assert {"index", "markdown", "images", "dimensions"} <= set(data["pages"][0])
