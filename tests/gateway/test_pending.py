"""Work that an upstream hands over in a later call, through the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import natives
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import make_office

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("loopback_allowed")]
MODEL = "meta/fake-chat"


def test_a_prediction_that_takes_its_time_is_asked_for_until_it_is_done(tmp_path: Path) -> None:
    with FakeUpstream(models=[MODEL]) as upstream:
        natives.replicate(upstream)
        quirks = {"version_path": "/v1", "name_map": {"fake-chat": MODEL}}
        office = make_office(upstream, tmp_path, dialect="replicate", quirks=quirks)
        reply = office.chat()
    assert reply.status == 200
    assert reply.data["choices"][0]["message"]["content"] == "You said: Hello"
    assert [(one.method, one.path) for one in upstream.requests] == [
        ("POST", f"/models/{MODEL}/predictions"),
        ("GET", "/predictions/p1"),
    ]
    assert len(office.records()) == 1
