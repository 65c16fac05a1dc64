"""What all drivers declare fits together."""

from __future__ import annotations

import inspect

import pytest

from providers import dialects, signers
from providers.base_urls import clean_base_url
from providers.errors import BadRequest
from providers.quirks import Quirks
from runtimes.drivers import installed
from runtimes.drivers.base import CAPABILITIES, VERBS, Driver
from runtimes.drivers.steps import Steps
from runtimes.models import LLMService
from tests.runtimes.playing import play

DRIVERS = list(installed().values())
SETTABLE = {"vllm": {"load", "unload"}}  # what a look at the server may find beside what is declared


def steps(driver: Driver, verb: str) -> Steps[None]:
    method = getattr(driver, "import_" if verb == "import" else verb)
    given = {"path": "/a", "remembered": {}, "options": {}, "detail": {}}
    wanted = set(inspect.signature(method).parameters) & set(given)
    result: Steps[None] = method("a-model", **{name: given[name] for name in wanted})
    return result


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.type)
def test_a_driver_declares_what_exists(driver: Driver) -> None:
    assert driver.capabilities <= set(CAPABILITIES)
    assert dialects.get(driver.dialect).name == driver.dialect
    assert signers.get(driver.signer)
    Quirks.from_data(dict(driver.quirks))
    for url in driver.default_urls:
        assert clean_base_url(url, in_process=driver.in_process) == url
    assert driver.label
    assert driver.checked_against
    assert LLMService._meta.get_field("type").max_length >= len(driver.type)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.type)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_a_runtime_has_not_is_refused_before_anything_is_sent(driver: Driver, verb: str) -> None:
    if driver.can(verb):
        assert getattr(type(driver), "import_" if verb == "import" else verb) is not getattr(
            Driver, "import_" if verb == "import" else verb
        )
    elif verb not in SETTABLE.get(driver.type, set()):
        with pytest.raises(BadRequest) as caught:
            play(steps(driver, verb), []).get()
        assert driver.label in str(caught.value)
        assert caught.value.step == "build"


def test_only_the_mock_runtime_is_inside_this_process() -> None:
    assert [driver.type for driver in DRIVERS if driver.in_process] == ["mock"]
    for driver in DRIVERS:
        service = LLMService(name="x", type=driver.type, urls=["inproc://mock"])
        if driver.in_process:
            service.clean()
        else:
            with pytest.raises(Exception, match="Not a base URL"):
                service.clean()
