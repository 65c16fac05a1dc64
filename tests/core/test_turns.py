from __future__ import annotations

import asyncio

from core.turns import Turns


class Noted:
    def __init__(self, said: list[str], name: str) -> None:
        self.said, self.name = said, name

    def flush(self) -> None:
        self.said.append(self.name)


def test_writers_flush_together_after_all_that_was_about_to_run() -> None:
    said: list[str] = []

    async def handler(name: str) -> None:
        Turns.running().flush_soon(Noted(said, f"{name} flushes"))
        said.append(f"{name} ran")

    async def main() -> None:
        await asyncio.gather(handler("one"), handler("two"))
        await asyncio.sleep(0)
        assert said == ["one ran", "two ran", "one flushes", "two flushes"]

    asyncio.run(main())


def test_a_writer_that_comes_during_a_flush_has_its_turn_next() -> None:
    said: list[str] = []

    class Again(Noted):
        def flush(self) -> None:
            super().flush()
            if len(said) < 3:
                Turns.running().flush_soon(self)

    async def main() -> None:
        Turns.running().flush_soon(Again(said, "again"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert said == ["again"] * 3

    asyncio.run(main())


def test_a_writer_that_fails_keeps_no_other_from_writing() -> None:
    said: list[str] = []

    class Fails(Noted):
        def flush(self) -> None:
            raise ValueError(self.name)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: said.append(str(told["exception"])))
        Turns.running().flush_soon(Fails(said, "broken"))
        Turns.running().flush_soon(Noted(said, "whole"))
        await asyncio.sleep(0)
        assert said == ["broken", "whole"]

    asyncio.run(main())


def test_each_loop_has_its_own() -> None:
    async def own() -> Turns:
        return Turns.running()

    kept = asyncio.run(own())
    assert asyncio.run(own()) is not kept
